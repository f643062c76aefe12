"""Reading the JSON text that a model writes as the arguments of a tool call, and judging whether it is whole.

The JSON decides whether a call may run. The finish reason only explains: servers report ``tool_calls`` for calls that
the token limit cut off.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from linkspan.conversation import ToolCall

__all__ = [
    "CUT_OFF_REASONS",
    "as_json_text",
    "is_complete_json",
    "judge_calls",
    "parse_arguments",
    "problem_of_arguments",
    "unwrap_json_string",
]

#: Finish reasons of an answer that the token limit ended.
CUT_OFF_REASONS = ("length", "max_tokens")


def as_json_text(arguments: Any) -> str:
    """Return arguments as JSON text, whatever the server sent: text, an object, or nothing."""
    if arguments is None:
        return ""
    if isinstance(arguments, str):
        return arguments
    return json.dumps(arguments, ensure_ascii=False)


def is_complete_json(text: str) -> bool:
    """Whether the text is one whole JSON value."""
    if text.lstrip()[:1] == "{" and text.rstrip()[-1:] != "}":
        return False  # Known without reading it all.
    try:
        json.loads(text, strict=False)
    except (ValueError, RecursionError):
        return False
    return True


def unwrap_json_string(text: str) -> str:
    """Undo a second layer of encoding: vLLM can send arguments as a JSON string that holds the JSON object."""
    if not text.lstrip().startswith('"'):
        return text
    try:
        inner = json.loads(text)
    except (ValueError, RecursionError):
        return text
    return inner if isinstance(inner, str) and inner.lstrip().startswith("{") else text


def parse_arguments(arguments: str) -> dict[str, Any] | None:
    """Return the arguments as a dict; empty text and ``null`` mean no arguments. ``None`` if it is not an object."""
    if not arguments.strip():
        return {}
    try:
        value = _loads(arguments)
    except (ValueError, RecursionError):
        return None
    if value is None:
        return {}
    return value if isinstance(value, dict) else None


def judge_calls(calls: Iterable[ToolCall], finish_reason: str | None) -> None:
    """Set the ``problem`` of each call of an answer, and write empty arguments as ``{}``.

    Args:
        calls: The calls of one answer, as far as it came.
        finish_reason: Why the answer ended, if that is known.
    """
    for call in calls:
        call.problem = problem_of_arguments(call.name, call.arguments, finish_reason)
        if call.problem is None:
            call.arguments = call.arguments if call.arguments.strip() else "{}"


def problem_of_arguments(name: str, arguments: str, finish_reason: str | None) -> str | None:
    """Return why a call must not run: its arguments are not one whole JSON object. ``None`` if they are.

    Empty arguments count as an object, because servers send them for tools that take none; unless the token limit ended
    the answer, perhaps before their first character.

    Args:
        name: The tool, for the text.
        arguments: The arguments as the model wrote them.
        finish_reason: Why the answer ended, if that is known.
    """
    cut_off = f"The arguments of {name} were cut off by max_tokens: raise it."
    if not arguments.strip():
        return cut_off if finish_reason in CUT_OFF_REASONS else None
    try:
        value = _loads(arguments)
    except (ValueError, RecursionError) as error:
        if finish_reason in CUT_OFF_REASONS:
            return cut_off
        if _ends_early(arguments, error):
            return f"The arguments of {name} end before their JSON object does: perhaps max_tokens cut them off."
        return f"The arguments of {name} are not one whole JSON object: {error}."
    if value is None or isinstance(value, dict):
        return None
    return f"The arguments of {name} are not a JSON object, but of type {type(value).__name__}."


def _loads(arguments: str) -> Any:
    # Models write raw newlines into strings; ``strict=False`` takes them.
    return json.loads(unwrap_json_string(arguments), strict=False)


def _ends_early(arguments: str, error: Exception) -> bool:
    if not isinstance(error, json.JSONDecodeError):
        return False
    return error.pos >= len(arguments.rstrip()) or error.msg.startswith("Unterminated string")
