"""Register linkspan's classes: for ``init_chat_model("scaleway:MODEL")``, and for loading serialized models."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from linkspan.errors import ConfigurationError

if TYPE_CHECKING:
    from langchain_core.load.serializable import Serializable

__all__ = ["CHAT_MODELS", "register", "serializable_classes"]

_PACKAGE = "linkspan.langchain"
#: Chat classes by provider name.
CHAT_MODELS = {
    "scaleway": "ChatScaleway",
    "gray_swan": "ChatGraySwan",
    "llm_engine": "ChatLLMEngine",
    "datacrunch": "ChatDataCrunch",
}
_EMBEDDINGS = {"scaleway": "ScalewayEmbeddings"}
_COMPLETION_MODELS = ("DataCrunch", "LLMEngine")

#: LangChain's registries: module, name. They are private, but there is no public hook.
_REGISTRIES = (
    ("langchain.chat_models.base", CHAT_MODELS),
    ("langchain.embeddings.base", _EMBEDDINGS),
)


def register() -> None:
    """Register linkspan's providers for LangChain's ``init_chat_model``, ``init_embeddings`` and ``create_agent``.

    Afterwards ``init_chat_model("scaleway:MODEL", temperature=0)`` and ``create_agent("scaleway:MODEL", tools)`` work;
    the names are ``scaleway``, ``gray_swan``, ``llm_engine`` and ``datacrunch``, for embeddings ``scaleway``. Calling
    it again does nothing. LangChain has no public hook for this, so linkspan never does it without this call; the
    classes work without it. The deprecated ``init_chat_model`` of ``langchain_classic`` has a fixed list of providers.

    Raises:
        ConfigurationError: ``langchain`` is not installed, its registry has moved (tested with 1.4), or it already has
            another entry under one of the names.
    """
    entries = [(_registry(module), name, cls) for module, classes in _REGISTRIES for name, cls in classes.items()]
    for registry, name, _ in entries:
        present = registry.get(name)
        if present is not None and present[0] != _PACKAGE:
            raise ConfigurationError(
                f"LangChain knows {name!r} already, as {present[1]} of {present[0]}. Use linkspan's class itself."
            )
    for registry, name, cls in entries:
        registry[name] = (_PACKAGE, cls, _make)


def serializable_classes() -> list[type[Serializable]]:
    """Return linkspan's serializable classes, for ``allowed_objects`` of ``langchain_core.load.load``.

    Example::

        from langchain_core.load import dumps, loads

        again = loads(
            dumps(model),
            allowed_objects=serializable_classes(),
            valid_namespaces=["linkspan"],
            secrets_from_env=True,  # keys are not written: they come from the environment
        )
    """
    package = import_module(_PACKAGE)
    return [getattr(package, name) for name in (*CHAT_MODELS.values(), *_COMPLETION_MODELS)]


def _registry(module: str) -> dict[str, Any]:
    advice = "Pass an object instead of a name: create_agent(ChatScaleway(...), ...)."
    try:
        found = getattr(import_module(module), "_BUILTIN_PROVIDERS", None)
    except ImportError as error:
        raise ConfigurationError(f"register() needs the package langchain, which is not installed. {advice}") from error
    if not isinstance(found, dict) or not all(isinstance(row, tuple) and len(row) == 3 for row in found.values()):
        raise ConfigurationError(f"This version of langchain stores its providers in another way than 1.4. {advice}")
    return found


def _make(cls: type[Any], **arguments: Any) -> Any:
    return cls(**arguments)
