"""Build LangChain's profile of a model, from the catalogue or for a server of the user's own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from langchain_core.language_models import ModelProfile

if TYPE_CHECKING:
    from linkspan.providers.catalog import ModelInfo

__all__ = ["profile_of", "profile_of_server"]

#: An installed core warns about keys that it does not know yet.
_KNOWN_KEYS = frozenset(ModelProfile.__annotations__)


def profile_of(info: ModelInfo, *, tools: bool) -> ModelProfile:
    """Return what is known of a model as a new profile, and whether it calls tools over the API in use."""
    return _known(_facts(info, tools))


def profile_of_server(*, tools: bool, context_window: int | None) -> ModelProfile:
    """Return a new profile with what holds for any model of the user's own server."""
    return _known(
        {
            "max_input_tokens": context_window,
            "text_inputs": True,
            "text_outputs": True,
            "tool_calling": tools,
            "tool_choice": tools,
            "tool_call_streaming": tools,
            "structured_output": False,
        }
    )


def _known(facts: dict[str, Any]) -> ModelProfile:
    known = {name: fact for name, fact in facts.items() if fact is not None and name in _KNOWN_KEYS}
    return cast("ModelProfile", known)


def _facts(info: ModelInfo, tools: bool) -> dict[str, Any]:
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
        "reasoning_effort_levels": list(info.reasoning_efforts) or None,
        "reasoning_effort_default": info.default_reasoning_effort,
        "tool_calling": tools,
        "tool_choice": tools,
        "tool_call_streaming": tools,
        # Agents read it as "a schema may be sent beside tools". vLLM then holds the first answer to the schema, and no
        # tool is ever called; without this word agents ask for the object as a tool, which works everywhere.
        "structured_output": False,
    }
