"""Chunks of an unfinished answer, and the tool arguments parsed so far."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llama_index.core.base.llms.types import ChatResponse
from pydantic import PrivateAttr

from linkspan.tool_arguments import parse_arguments, read_unfinished

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["PartialChatResponse", "PartialReader"]

#: Parse a text again after it has grown by a quarter. Parsing is linear, so the total cost is a few times the length.
_GROWTH = 1.25


class PartialReader:
    """Parses the unfinished arguments of one stream's calls, in time linear in their length.

    Core's lenient parser reads the whole text, and agents request the calls of every chunk. So most requests return the
    result of an earlier parse.
    """

    __slots__ = ("_read",)

    def __init__(self) -> None:
        #: By position: the parsed length and its result.
        self._read: dict[int, tuple[int, dict[str, Any]]] = {}

    def read(self, place: int, arguments: str) -> dict[str, Any]:
        """Return the arguments of the call at this position, as parsed now or a little earlier."""
        length, found = self._read.get(place, (0, {}))
        if not length or len(arguments) >= length * _GROWTH or len(arguments) < length:
            found = _partial(arguments)
            self._read[place] = (len(arguments), found)
        return dict(found)


class PartialChatResponse(ChatResponse):
    """A chunk with tool calls before the last one. Their arguments may be unfinished and must not run."""

    _reader: PartialReader | None = PrivateAttr(default=None)

    def read_by(self, reader: PartialReader) -> Self:
        """Set the reader that the stream's chunks share, and return this chunk."""
        self._reader = reader
        return self

    def read_arguments(self, place: int, arguments: str) -> dict[str, Any]:
        """Return the arguments parsed so far of the call at this position; an empty dict if there are none."""
        return (self._reader or PartialReader()).read(place, arguments)


def _partial(arguments: str) -> dict[str, Any]:
    whole = parse_arguments(arguments)
    read = read_unfinished(arguments) if whole is None else whole
    return read if isinstance(read, dict) else {}
