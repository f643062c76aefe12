"""Parse JSON from the wire, and check the types of its values (texts, counts, numbers, lists, objects).

Servers may send any type for any field. An unambiguous value (a count as text, an id as a number, ``null`` for nothing)
is converted; anything else raises an error with the name of the field.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from pydantic_core import from_json

from linkspan.errors import InvalidResponseError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "as_bytes",
    "as_count",
    "as_flag",
    "as_list",
    "as_name",
    "as_number",
    "as_object",
    "as_text",
    "not_an_object",
    "parse_json",
    "wrong_type",
]

#: Most digits of a count sent as text.
_LONGEST_COUNT = 18

_ESCAPE = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(?P<half>u[dD][89a-fA-F][0-9a-fA-F]{2})|.)"
)


def parse_json(content: bytes, provider: str) -> Any:
    """Parse JSON from the wire.

    Raises:
        InvalidResponseError: The data is not JSON.
    """
    try:
        return from_json(content)
    except ValueError as error:
        failure = error
    mended = _mended(content)
    if mended != content:
        try:
            return from_json(mended)
        except ValueError as error:
            failure = error
    start = content[:80].decode("utf-8", "replace")
    hint = " An HTML page: check base_url." if start.lstrip().startswith("<") else ""
    what = f"not JSON; it begins with {start!r}.{hint}" if content.strip() else "empty."
    raise InvalidResponseError(f"{provider}: the answer is {what}", provider=provider) from failure


def _mended(content: bytes) -> bytes:
    """Return JSON without a byte order mark, and with U+FFFD in place of lone surrogates.

    Gateways that split texts by UTF-16 units send lone surrogates.
    """
    return _ESCAPE.sub(_whole, content.removeprefix(b"\xef\xbb\xbf"))


def _whole(escape: re.Match[bytes]) -> bytes:
    return rb"\ufffd" if escape.lastgroup == "half" else escape[0]


def as_text(value: Any, name: str) -> str:
    """Return a text; ``""`` for nothing."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    raise wrong_type(value, name, "text")


def as_name(value: Any, name: str) -> str | None:
    """Return an id or a name as text, even if it is a number; ``None`` for nothing or an empty text."""
    if isinstance(value, str) or value is None:
        return value or None
    if type(value) in {int, float}:
        return str(value)
    raise wrong_type(value, name, "text")


def as_count(value: Any, name: str) -> int | None:
    """Return a whole number, even if it is text or ends with ``.0``; ``None`` for nothing."""
    if value is None or type(value) is int:
        return value
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, str) and len(value) <= _LONGEST_COUNT and value.isascii() and value.isdigit():
        return int(value)
    raise wrong_type(value, name, "a whole number")


def as_number(value: Any, name: str) -> float | None:
    """Return a number; ``None`` for nothing."""
    if value is None:
        return None
    if type(value) in {int, float}:
        try:
            return float(value)
        except OverflowError:
            raise wrong_type(value, name, "a number that a float can hold") from None
    raise wrong_type(value, name, "a number")


def as_flag(value: Any, name: str) -> bool | None:
    """Return ``True`` or ``False``; ``None`` for nothing."""
    if value is None or isinstance(value, bool):
        return value
    raise wrong_type(value, name, "true or false")


def as_object(value: Any, name: str) -> Mapping[str, Any]:
    """Return an object; empty for nothing or for an empty list (PHP's form of an empty object)."""
    if isinstance(value, dict):
        return value
    if value is None or value == []:
        return {}
    raise wrong_type(value, name, "an object")


def as_list(value: Any, name: str) -> list[Any]:
    """Return a list; empty for nothing."""
    if isinstance(value, list):
        return value
    if value is None:
        return []
    raise wrong_type(value, name, "a list")


def as_bytes(value: Any, name: str) -> list[int] | None:
    """Return a list of bytes as numbers; ``None`` for nothing."""
    if value is None:
        return None
    numbers = as_list(value, name)
    if all(type(number) is int and 0 <= number <= 255 for number in numbers):
        return numbers
    raise wrong_type(value, name, "a list of bytes")


def wrong_type(value: Any, name: str, wanted: str) -> InvalidResponseError:
    """Return the error for a value of the wrong type. The endpoint adds the provider and the answer."""
    kinds = {dict: "an object", list: "a list", str: "text", int: "a number", float: "a number", bool: "a truth value"}
    found = "null" if value is None else kinds.get(type(value), type(value).__name__)
    return InvalidResponseError(f"the answer is malformed: {name} must be {wanted}, and is {found}.")


def not_an_object(value: Any, what: str, provider: str, request_id: str | None = None) -> InvalidResponseError:
    """Return the error for an answer or an event that is other JSON than an object."""
    return InvalidResponseError(
        f"{provider}: {what} is a JSON {type(value).__name__}, not an object.", provider=provider, request_id=request_id
    )
