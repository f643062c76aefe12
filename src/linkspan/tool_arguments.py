"""Reading the JSON text that a model writes as the arguments of a tool call."""

from __future__ import annotations

import json
from typing import Any

__all__ = ["as_json_text", "is_complete_json", "parse_arguments", "unwrap_json_string"]


def as_json_text(arguments: Any) -> str:
    """Return arguments as JSON text, whatever the server sent: text, an object, or nothing."""
    if arguments is None:
        return ""
    if isinstance(arguments, str):
        return arguments
    return json.dumps(arguments, ensure_ascii=False)


def is_complete_json(text: str) -> bool:
    """Whether the text is one whole JSON value."""
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def unwrap_json_string(text: str) -> str:
    """Undo a second layer of encoding: vLLM can send arguments as a JSON string that holds the JSON object."""
    if not text.lstrip().startswith('"'):
        return text
    try:
        inner = json.loads(text)
    except ValueError:
        return text
    return inner if isinstance(inner, str) and inner.lstrip().startswith("{") else text


def parse_arguments(arguments: str) -> dict[str, Any] | None:
    """Return the arguments as a dict; empty text and ``null`` mean no arguments. ``None`` if it is not an object."""
    if not arguments.strip():
        return {}
    try:
        # Models write raw newlines into strings; ``strict=False`` takes them.
        value = json.loads(unwrap_json_string(arguments), strict=False)
    except ValueError:
        return None
    if value is None:
        return {}
    return value if isinstance(value, dict) else None
