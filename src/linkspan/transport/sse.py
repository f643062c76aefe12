"""Bytes to server-sent events, by the WHATWG rules (HTML standard, "Server-sent events", 9.2.6), without I/O.

Lines end at LF, CR LF or CR, and only there: U+2028, U+2029 and U+0085 are text. Bytes are cut into lines before
anything is decoded, so that a character may be split between chunks anywhere.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["SSEDecoder", "ServerSentEvent"]

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


@dataclass(slots=True)
class ServerSentEvent:
    r"""One event.

    Attributes:
        data: The values of its ``data`` fields joined by ``\n``, undecoded: JSON parsers take bytes.
        event: Its type.
        id: The last event id that the stream has set so far.
    """

    data: bytes
    event: str = "message"
    id: str | None = None


class SSEDecoder:
    r"""Cuts a byte stream into events. How the bytes are cut into chunks makes no difference.

    >>> decoder = SSEDecoder()
    >>> decoder.feed(b"data: {\"a\"")
    []
    >>> decoder.feed(b":1}\r\n\r\n")
    [ServerSentEvent(data=b'{"a":1}', event='message', id=None)]
    """

    __slots__ = ("_at_start", "_data", "_event", "_id", "_idle", "_partial", "_skip_lf")

    def __init__(self) -> None:
        self._at_start = True
        self._partial: list[bytes] = []  # pieces of a line whose end has not come: joined once, so big events are cheap
        self._data: list[bytes] = []
        self._event = ""
        self._id: str | None = None
        self._skip_lf = False  # the last chunk ended with CR: an LF that follows belongs to it
        self._idle = False  # between two events, with nothing pending: what the short cut in feed() asks for

    def feed(self, chunk: bytes) -> list[ServerSentEvent]:
        """Take the next bytes and return the events that they complete."""
        # Servers nearly always send whole events, each one data line and one blank line: one per chunk, or several.
        if self._idle and chunk[:5] == b"data:" and chunk[-2:] == b"\n\n" and b"\r" not in chunk:
            mark = b"data: " if chunk[5] == 32 else b"data:"
            if chunk.find(b"\n") == len(chunk) - 2:
                return [ServerSentEvent(chunk[len(mark) : -2], "message", self._id)]
            texts = chunk[len(mark) : -2].split(b"\n\n" + mark)
            # An LF too many is a line or an event of another shape; a space after a mark without one is no text.
            if chunk.count(b"\n") == 2 * len(texts) and (mark[-1] == 32 or b"\n\ndata: " not in chunk):
                last_id = self._id
                return [ServerSentEvent(text, "message", last_id) for text in texts]
        return self._feed_lines(chunk)

    def flush(self) -> list[ServerSentEvent]:
        """Return the last event if the stream ended without its blank line. The decoder is then as new."""
        events: list[ServerSentEvent] = []
        self._take_lines([b"".join(self._partial), b""], events)
        self.__init__()  # type: ignore[misc]  # a decoder without state is exactly a new one
        return events

    def _feed_lines(self, chunk: bytes) -> list[ServerSentEvent]:
        if not chunk:
            return []
        if self._skip_lf and chunk[0] == 10:
            chunk = chunk[1:]
            self._skip_lf = False
            if not chunk:
                return []
        self._skip_lf = chunk[-1] == 13
        if b"\r" in chunk:
            chunk = chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        lines = chunk.split(b"\n")
        rest = lines.pop()
        events: list[ServerSentEvent] = []
        if lines:
            if self._partial:
                self._partial.append(lines[0])
                lines[0] = b"".join(self._partial)
                self._partial.clear()
            self._take_lines(lines, events)
        if rest:
            self._partial.append(rest)
        self._idle = not (self._partial or self._data or self._event or self._skip_lf or self._at_start)
        return events

    def _take_lines(self, lines: list[bytes], events: list[ServerSentEvent]) -> None:
        if self._at_start:
            self._at_start = False
            lines[0] = lines[0].removeprefix(_BYTE_ORDER_MARK)
        data = self._data
        for line in lines:
            if line[:6] == b"data: ":
                data.append(line[6:])
            elif line:
                self._field(line)
            else:
                if data:
                    joined = data[0] if len(data) == 1 else b"\n".join(data)
                    events.append(ServerSentEvent(joined, self._event or "message", self._id))
                    data.clear()
                self._event = ""

    def _field(self, line: bytes) -> None:
        name, _, value = line.partition(b":")
        if value[:1] == b" ":
            value = value[1:]
        if name == b"data":
            self._data.append(value)
        elif name == b"event":
            self._event = value.decode("utf-8", "replace")
        elif name == b"id" and b"\0" not in value:
            self._id = value.decode("utf-8", "replace")
        # Comments have an empty name. `retry` is for readers that reconnect: a model's answer cannot be resumed.
