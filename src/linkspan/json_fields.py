"""Find the field of a body that JSON cannot carry."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["unwritable_field"]


def unwritable_field(body: Mapping[str, Any]) -> str:
    """Return the dotted path of the first field that JSON cannot carry; ``""`` if there is none."""
    name = next((name for name, value in body.items() if not _is_writable({name: value})), "")
    inner = unwritable_field(body[name]) if name and isinstance(body[name], dict) else ""
    return f"{name}.{inner}" if inner else str(name)


def _is_writable(value: Any) -> bool:
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        return False
    return True
