"""Parse request bodies as JSON; anything unreadable, or not encodable in UTF-8, raises ``ValueError``."""

from __future__ import annotations

import json
from typing import Any

__all__ = ["parse_json"]

#: The deepest nesting accepted, because the code that reads and echoes bodies recurses.
_DEEPEST = 200


def parse_json(content: bytes) -> Any:
    """Return a body's JSON value.

    Raises:
        ValueError: The body is not JSON, is nested too deeply, or contains half of a UTF-16 pair.
    """
    try:
        value = json.loads(content)
    except RecursionError:
        raise ValueError("recursion limit exceeded") from None
    if content.count(b"[") + content.count(b"{") > _DEEPEST and _depth(value) > _DEEPEST:
        raise ValueError("recursion limit exceeded")
    if b"\\u" in content:
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            raise ValueError("lone surrogate in a text") from None
    return value


def _depth(value: Any) -> int:
    depth = 0
    level = [value]
    while level:
        level = [
            item
            for one in level
            if isinstance(one, (dict, list))
            for item in (one.values() if isinstance(one, dict) else one)
        ]
        depth += 1
    return depth
