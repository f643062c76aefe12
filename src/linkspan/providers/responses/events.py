"""The events of a Responses stream, and what each carries."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["ENDS", "KINDS", "PIECES", "STARTS", "WHOLE_PARTS"]

#: The channel of each event that carries a piece.
PIECES: Mapping[str, str] = {
    "response.output_text.delta": "text",
    "response.refusal.delta": "refusal",
    "response.reasoning_text.delta": "reasoning",
    "response.reasoning_summary_text.delta": "summary",
    "response.function_call_arguments.delta": "arguments",
}
#: The channel of each event that repeats a whole part, and the field that holds it.
WHOLE_PARTS: Mapping[str, tuple[str, str]] = {
    "response.output_text.done": ("text", "text"),
    "response.refusal.done": ("refusal", "refusal"),
    "response.reasoning_text.done": ("reasoning", "text"),
    "response.reasoning_summary_text.done": ("summary", "text"),
    "response.function_call_arguments.done": ("arguments", "arguments"),
}
#: The kind of item of each channel.
KINDS: Mapping[str, str] = {
    "text": "message",
    "refusal": "message",
    "reasoning": "reasoning",
    "summary": "reasoning",
    "arguments": "function_call",
}
STARTS = frozenset({"response.created", "response.in_progress", "response.queued"})
ENDS = frozenset({"response.completed", "response.incomplete", "response.failed", "response.cancelled"})
