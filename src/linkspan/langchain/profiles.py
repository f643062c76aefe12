"""What the catalogue knows of a model, as LangChain's profile."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from langchain_core.language_models import ModelProfile

from linkspan.providers.catalog import model_info

if TYPE_CHECKING:
    from linkspan.providers.catalog import ModelInfo

__all__ = ["model_profile"]

#: An installed core warns about keys that it does not know yet.
_KNOWN_KEYS = frozenset(ModelProfile.__annotations__)


def model_profile(provider: str, model: str) -> ModelProfile | None:
    """Return a new profile of the model, ``None`` if the catalogue does not know it."""
    info = model_info(provider, model)
    if info is None:
        return None
    facts = {name: fact for name, fact in _facts(info).items() if fact is not None and name in _KNOWN_KEYS}
    return cast("ModelProfile", facts)


def _facts(info: ModelInfo) -> dict[str, Any]:
    return {
        "name": info.id,
        "status": info.status,
        "max_input_tokens": info.context_window,
        "max_output_tokens": info.max_output_tokens,
        "text_inputs": True,
        "text_outputs": True,
        "image_inputs": info.vision,
        "image_url_inputs": info.vision,
        "reasoning_output": info.reasoning,
        "tool_calling": info.tools,
        "tool_choice": info.tools,
        "tool_call_streaming": info.tools,
        "structured_output": info.structured_output,
    }
