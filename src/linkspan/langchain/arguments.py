"""Arguments as users write them: per-call keywords, near misses, and errors of pydantic that are really ours."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from linkspan.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pydantic import ValidationError

    from linkspan.langchain.chat_model import LinkspanChatModel

__all__ = ["call_parameters", "configuration_error", "near_match"]

#: Fields that a call may override beside the sampling parameters.
_CALL_FIELDS = frozenset({"model", "extra_body", "stream_usage", "data_role", "send_reasoning", "timeout"})
#: Bound by LangChain itself or by ``bind_tools``; never part of the body as they are.
_OWN_KEYWORDS = frozenset(
    {"tools", "tool_choice", "response_format", "stream", "strict", "ls_structured_output_format"}
)


def call_parameters(model: LinkspanChatModel, kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Return the sampling parameters of one call: the instance's, over them the call's; nothing that is unset.

    Raises:
        ConfigurationError: For a keyword that belongs to the constructor, or nearly is one that is known.
    """
    parameters = {name: getattr(model, name) for name in model.sampling_parameters}
    for name, value in kwargs.items():
        if name not in _CALL_FIELDS and name not in _OWN_KEYWORDS:
            _check_keyword(type(model), name)
            parameters[name] = value
    return {name: value for name, value in parameters.items() if value is not None}


def _check_keyword(cls: type[LinkspanChatModel], name: str) -> None:
    if name in cls.sampling_parameters:
        return
    if name in cls.model_fields:
        raise ConfigurationError(f"{name} is an argument of {cls.__name__}(...), not of a call.")
    hint = near_match(name, [*cls.sampling_parameters, *_CALL_FIELDS, *_OWN_KEYWORDS], cutoff=0.85)
    if hint:
        raise ConfigurationError(
            f"The keyword {name!r} of the call is none that is known.{hint} To send it as it is, use extra_body."
        )


def near_match(name: str, known: Iterable[str], cutoff: float = 0.6) -> str:
    """Return a hint at the known name that is most like this one, ``""`` if none is."""
    close = get_close_matches(name, sorted(known), n=1, cutoff=cutoff)
    return f" Did you mean {close[0]!r}?" if close else ""


def configuration_error(error: ValidationError) -> ConfigurationError | None:
    """Return the ConfigurationError that a validator raised, if it was one."""
    for detail in error.errors(include_url=False, include_input=False):
        inner = detail.get("ctx", {}).get("error")
        if isinstance(inner, ConfigurationError):
            return inner
    return None
