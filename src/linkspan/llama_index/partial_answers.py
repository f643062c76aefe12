"""Chunks of an answer that is still on its way, and what can be read of their tool calls."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llama_index.core.base.llms.types import ChatResponse
from pydantic import PrivateAttr

from linkspan.tool_arguments import parse_arguments, read_unfinished

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["PartialChatResponse", "PartialReader"]

#: A text is read again when it has grown by a fourth: reading costs the length, so all readings cost a few lengths.
_GROWTH = 1.25


class PartialReader:
    """Reads half-written arguments of the calls of one stream, in time linear in their length.

    Core's lenient parser walks through the whole text, and agents ask for the calls of every chunk. So between two
    readings a call shows what was read before.
    """

    __slots__ = ("_read",)

    def __init__(self) -> None:
        #: By place: the length that was read, and what was found.
        self._read: dict[int, tuple[int, dict[str, Any]]] = {}

    def read(self, place: int, arguments: str) -> dict[str, Any]:
        """Return what can be read, now or a little earlier, of the arguments of the call at this place."""
        length, found = self._read.get(place, (0, {}))
        if not length or len(arguments) >= length * _GROWTH or len(arguments) < length:
            found = _partial(arguments)
            self._read[place] = (len(arguments), found)
        return dict(found)


class PartialChatResponse(ChatResponse):
    """A chunk with tool calls that is not the last: their arguments may be half-written, and must not run."""

    _reader: PartialReader | None = PrivateAttr(default=None)

    def read_by(self, reader: PartialReader) -> Self:
        """Share the reader of the stream. Returns this chunk."""
        self._reader = reader
        return self

    def read_arguments(self, place: int, arguments: str) -> dict[str, Any]:
        """Return what can be read of the arguments of the call at this place; nothing is an empty dict."""
        return (self._reader or PartialReader()).read(place, arguments)


def _partial(arguments: str) -> dict[str, Any]:
    whole = parse_arguments(arguments)
    read = read_unfinished(arguments) if whole is None else whole
    return read if isinstance(read, dict) else {}
