"""Normalize the finish reasons of all APIs.

The values are those of langchain-core 1.8.4: ``stop``, ``length``, ``tool_call``, ``refusal`` and ``other``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from linkspan.providers.filters.blocked import BLOCKED_FINISH_REASONS
from linkspan.tool_arguments import CUT_OFF_REASONS

if TYPE_CHECKING:
    from typing import TypeAlias

    FinishReason: TypeAlias = Literal["stop", "length", "tool_call", "refusal", "other"]

__all__ = ["normalized_finish_reason"]

#: Finish reasons of Chat Completions servers and their imitators.
_WORDS: dict[str, FinishReason] = {
    "stop": "stop",
    # TGI's and LightLLM's own, which remain if an answer was not read to its end.
    "eos_token": "stop",
    "stop_sequence": "stop",
    **dict.fromkeys(CUT_OFF_REASONS, "length"),
    "tool_calls": "tool_call",
    "function_call": "tool_call",
    **dict.fromkeys(BLOCKED_FINISH_REASONS, "refusal"),
}


def normalized_finish_reason(word: str, *, calls_tools: bool, is_refusal: bool) -> FinishReason:
    """Return the normalized form of an API's finish reason; unknown ones become ``"other"``.

    Some servers send ``stop`` for answers that call tools.
    """
    if is_refusal:
        return "refusal"
    normalized = _WORDS.get(word, "other")
    return "tool_call" if normalized == "stop" and calls_tools else normalized
