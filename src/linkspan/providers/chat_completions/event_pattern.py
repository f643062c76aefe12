"""Read the text of an event that equals an earlier one except for its text, without parsing the rest."""

from __future__ import annotations

import re

from pydantic_core import from_json

__all__ = ["EventPattern"]

#: Matches the first string under the key ``content``.
_CONTENT = re.compile(rb'"content": *("[^"\\\x00-\x1f]*(?:\\.[^"\\\x00-\x1f]*)*")')
#: Replaces the string in a copy of the event. If the parsed copy has it as its text, the match was the text.
_PROBE = "\x00probe"
_PROBE_LITERAL = b'"\\u0000probe"'
#: Stop learning after so many unused patterns in a row: more than the text changes between events.
_PATIENCE = 4


class EventPattern:
    """The bytes before and after the text of an event.

    In most streams each event repeats the id, the model, the choice's index and a few nulls around a few letters of
    text. Equal bytes mean the same, so after one event is parsed, only the text of the next one must be.
    """

    __slots__ = ("_after", "_before", "_patience")

    def __init__(self) -> None:
        self._before = b""
        self._after = b""
        self._patience = _PATIENCE

    def text_of(self, data: bytes) -> str | None:
        """Return the text of an event that equals the learned one except for its text; ``None`` for any other event."""
        before, after = self._before, self._after
        if not before or not data.startswith(before) or not data.endswith(after):
            return None
        literal = data[len(before) : -len(after)]
        # Exactly one string between equal bytes, so the event has the structure of the learned one.
        if literal[:1] != b'"':
            return None
        try:
            text: str = from_json(literal)
        except ValueError:
            return None
        self._patience = _PATIENCE
        return text

    def learn(self, data: bytes) -> None:
        """Learn an event with a text as the pattern of the next events."""
        if self._patience == 0:
            return
        self._patience -= 1
        self._before = b""
        found = _CONTENT.search(data)
        if found is None:
            return
        before, after = data[: found.start(1)], data[found.end(1) :]
        try:
            choice = from_json(before + _PROBE_LITERAL + after)["choices"][0]
            probed = choice["delta"]["content"] == _PROBE
        except (ValueError, LookupError, TypeError):
            return
        if probed:
            self._before, self._after = before, after
