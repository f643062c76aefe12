"""Write a request's body as JSON; the error for one that cannot be written names the field."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from linkspan.errors import InvalidRequestError

__all__ = ["encode_json"]

#: Most names in the path to a wrong value, because finding each one encodes its whole level.
_DEEPEST_PATH = 20


def encode_json(body: Mapping[str, Any], provider: str) -> bytes:
    """Encode a body as compact UTF-8 JSON.

    Raises:
        InvalidRequestError: A value has no JSON form (NaN, a lone surrogate, an object).
    """
    try:
        return json.dumps(body, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode("utf-8")
    except UnicodeEncodeError:
        reason = (
            "a text has a lone surrogate (half of a UTF-16 pair): clean it, for example with "
            "text.encode('utf-8', 'replace').decode()"
        )
        raise _unwritable(provider, reason) from None
    except (TypeError, ValueError, RecursionError) as error:
        field = _unwritable_field(body)
        raise _unwritable(provider, f"{field!r}: {error}" if field else str(error)) from error


def _unwritable(provider: str, reason: str) -> InvalidRequestError:
    return InvalidRequestError(f"{provider}: the request cannot be written as JSON: {reason}", provider=provider)


def _unwritable_field(body: Mapping[str, Any]) -> str:
    """Return the dotted path of the first field that JSON cannot carry; ``""`` if there is none."""
    path: list[str] = []
    value: Any = body
    while isinstance(value, Mapping) and len(path) < _DEEPEST_PATH:
        wrong = [name for name, item in value.items() if not _is_writable({name: item})]
        if not wrong:
            break
        path.append(str(wrong[0]))
        value = value[wrong[0]]
    return ".".join(path)


def _is_writable(value: Any) -> bool:
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        return False
    return True
