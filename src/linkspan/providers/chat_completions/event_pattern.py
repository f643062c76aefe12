"""Reading events that differ from the one before in nothing but a text, without parsing all of them anew.

In most streams each event repeats the id, the model, the choice's index and a handful of nulls around a few letters of
text. Bytes that are equal mean the same, so once an event has been parsed, only the text of the next has to be.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from pydantic_core import from_json

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["EventPattern"]

_STRING = re.compile(rb'"[^"\\\x00-\x1f]*(?:\\.[^"\\\x00-\x1f]*)*"')
#: Strings, and between them a byte that none can hold.
_STRINGS = re.compile(b"%b(?:\x00%b)*" % (_STRING.pattern, _STRING.pattern))
#: In place of the text of an event, to see whether that is where the text stands.
_PROBE = "\x00probe"
_PROBE_LITERAL = b'"\\u0000probe"'
#: Patterns learned in a row without a use before it is given up: this stream changes more than its texts.
_PATIENCE = 4


class EventPattern:
    """The bytes before and after the text of an event."""

    __slots__ = ("_after", "_before", "_patience")

    def __init__(self) -> None:
        self._before = b""
        self._after = b""
        self._patience = _PATIENCE

    def text_of(self, data: bytes) -> str | None:
        """Return the text of an event that is otherwise equal to the one that was learned; ``None`` of any other."""
        before, after = self._before, self._after
        if not before or not data.startswith(before) or not data.endswith(after):
            return None
        literal = data[len(before) : len(data) - len(after)]
        # Exactly one string between equal bytes: then the whole event has the structure of the one that was learned.
        if literal[:1] != b'"':
            return None
        try:
            text = from_json(literal)
        except ValueError:
            return None
        if not isinstance(text, str):
            return None
        self._patience = _PATIENCE
        return text

    def texts_of(self, events: Sequence[bytes]) -> list[str] | None:
        """Return the texts of several events that are all otherwise equal to the one that was learned, else ``None``.

        Compared and parsed together, a burst of them costs half of what each by itself does.
        """
        before, after = self._before, self._after
        if not before:
            return None
        start, end = len(before), -len(after)
        literals = [data[start:end] for data in events]
        if b"\n".join(events) != before + (after + b"\n" + before).join(literals) + after:
            return None
        # Each must be a string by itself: two broken ones may be good JSON together.
        lines = b"\0".join(literals)
        if lines.count(b"\0") != len(events) - 1 or _STRINGS.fullmatch(lines) is None:
            return None
        try:
            texts: list[str] = from_json(b"[%b]" % b",".join(literals))
        except ValueError:
            return None
        self._patience = _PATIENCE
        return texts

    def learn(self, data: bytes, field: str, read: Callable[[Any], Any]) -> None:
        """Take an event as the pattern of the next ones.

        Args:
            data: The event.
            field: The key whose value is its text.
            read: Finds that text in a parsed event.
        """
        if self._patience == 0:
            return
        self._patience -= 1
        self._before = b""
        start = data.find(b'"%s":' % field.encode()) + len(field) + 3
        while data[start : start + 1] == b" ":
            start += 1
        found = _STRING.match(data, start)
        if found is None:
            return
        before, after = data[:start], data[found.end() :]
        try:
            stands_there = read(from_json(before + _PROBE_LITERAL + after)) == _PROBE
        except (ValueError, LookupError, TypeError, AttributeError):
            return
        if stands_there:
            self._before, self._after = before, after
