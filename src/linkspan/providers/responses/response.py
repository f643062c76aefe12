"""Decode a response around its items: usage and finish reason."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from linkspan.conversation import Usage
from linkspan.providers.wire import as_count, as_name, as_object

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["RESPONSE_FIELDS", "finish_reason_of", "usage_of_response"]

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


def usage_of_response(usage: Any) -> Usage | None:
    """Read token counts; missing ones stay ``None``."""
    if usage is None:
        return None
    usage = as_object(usage, "usage")
    return Usage(
        input_tokens=as_count(usage.get("input_tokens"), "usage.input_tokens"),
        output_tokens=as_count(usage.get("output_tokens"), "usage.output_tokens"),
        total_tokens=as_count(usage.get("total_tokens"), "usage.total_tokens"),
        cached_tokens=_detail(usage, "input_tokens_details", "cached_tokens"),
        reasoning_tokens=_detail(usage, "output_tokens_details", "reasoning_tokens"),
        raw=usage,
    )


def _detail(usage: Mapping[str, Any], group: str, name: str) -> int | None:
    return as_count(as_object(usage.get(group), f"usage.{group}").get(name), f"usage.{group}.{name}")


def finish_reason_of(
    response: Mapping[str, Any], status: str, usage: Usage | None, limit: int | None, *, calls: bool
) -> str:
    """Return the finish reason, in Chat Completions' terms.

    Args:
        response: The response.
        status: ``completed`` or ``incomplete``.
        usage: Its token counts.
        limit: The request's limit of generated tokens.
        calls: Whether it calls a function.
    """
    if status == "incomplete":
        reason = as_name(as_object(response.get("incomplete_details"), "incomplete_details").get("reason"), "reason")
        return _FINISH_REASONS.get(reason or "", reason or status)
    made = None if usage is None else usage.output_tokens
    if limit is not None and made is not None and made >= limit and "incomplete_details" not in response:
        # llama.cpp reports every answer as completed, without a reason.
        return "length"
    return "tool_calls" if calls else "stop"
