"""Why an answer ended, in one vocabulary for all APIs.

The words are those of langchain-core 1.8.4: ``stop``, ``length``, ``tool_call``, ``refusal`` and ``other``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from linkspan.providers.filters.blocked import BLOCKED_FINISH_REASONS
from linkspan.tool_arguments import CUT_OFF_REASONS

if TYPE_CHECKING:
    from typing import TypeAlias

    FinishReason: TypeAlias = Literal["stop", "length", "tool_call", "refusal", "other"]

__all__ = ["normalized_finish_reason"]

#: What servers of Chat Completions say, and those that learned it from them.
_WORDS: dict[str, FinishReason] = {
    "stop": "stop",
    # TGI and LightLLM, whose own words stay where an answer was not read to its end.
    "eos_token": "stop",
    "stop_sequence": "stop",
    **dict.fromkeys(CUT_OFF_REASONS, "length"),
    "tool_calls": "tool_call",
    "function_call": "tool_call",
    **dict.fromkeys(BLOCKED_FINISH_REASONS, "refusal"),
}


def normalized_finish_reason(word: str, *, calls_tools: bool, is_refusal: bool) -> FinishReason:
    """Return in which of five ways an answer ended.

    Args:
        word: The API's own word; one that is not known gives ``"other"``.
        calls_tools: Whether the answer calls tools: some servers say ``stop`` of those.
        is_refusal: Whether it holds a refusal.
    """
    if is_refusal:
        return "refusal"
    normalized = _WORDS.get(word, "other")
    return "tool_call" if normalized == "stop" and calls_tools else normalized
