"""Decode a response around its items: its fields and its finish reason."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from linkspan.providers.wire import as_name, as_object

if TYPE_CHECKING:
    from collections.abc import Mapping

    from linkspan.conversation import Usage

__all__ = ["RESPONSE_FIELDS", "finish_reason_of"]

#: Fields that are read, and fields that repeat the request.
RESPONSE_FIELDS = frozenset(
    {
        *("completed_at", "created_at", "error", "id", "incomplete_details", "model", "object", "output"),
        *("output_text", "status", "usage"),
        *("background", "conversation", "frequency_penalty", "include", "input", "instructions", "max_output_tokens"),
        *("max_tool_calls", "metadata", "parallel_tool_calls", "presence_penalty", "previous_response_id", "prompt"),
        *("prompt_cache_key", "reasoning", "safety_identifier", "store", "stream", "temperature", "text"),
        *("tool_choice", "tools", "top_logprobs", "top_p", "truncation", "user"),
    }
)
#: Finish reasons of incomplete answers, in Chat Completions' terms if it has one.
_FINISH_REASONS: Mapping[str, str] = {"max_output_tokens": "length", "max_tokens": "length"}


def finish_reason_of(
    response: Mapping[str, Any], status: str, usage: Usage | None, limit: int | None, *, calls: bool
) -> str:
    """Return the finish reason, in Chat Completions' terms.

    ``limit`` is the request's limit of generated tokens. A message or call can be incomplete in a completed response.
    """
    if status == "incomplete":
        reason = as_name(as_object(response.get("incomplete_details"), "incomplete_details").get("reason"), "reason")
        return _FINISH_REASONS.get(reason or "", reason or status)
    made = None if usage is None else usage.output_tokens
    if limit is not None and made is not None and made >= limit and "incomplete_details" not in response:
        # llama.cpp reports every answer as completed, without a reason.
        return "length"
    if any(item.get("status") == "incomplete" for item in response.get("output") or ()):
        return "incomplete"
    return "tool_calls" if calls else "stop"
