"""Bytes to the data of server-sent events, by the WHATWG rules (HTML standard, 9.2.6), without I/O.

Lines end at LF, CR LF or CR, and only there: U+2028, U+2029 and U+0085 are text. Bytes are cut into lines before
anything is decoded, so that a character may be split between chunks anywhere. Event types and ids are passed over: none
of the APIs says anything by them, and a model's answer cannot be resumed.
"""

from __future__ import annotations

__all__ = ["SSEDecoder"]

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class SSEDecoder:
    r"""Cuts a byte stream into events. How the bytes are cut into chunks makes no difference.

    An event is the values of its ``data`` fields joined by ``\n``, undecoded: JSON parsers take bytes.

    >>> decoder = SSEDecoder()
    >>> decoder.feed(b"data: {\"a\"")
    []
    >>> decoder.feed(b":1}\r\n\r\n")
    [b'{"a":1}']
    """

    __slots__ = ("_at_start", "_data", "_idle", "_partial", "_skip_lf")

    def __init__(self) -> None:
        self._at_start = True
        self._partial: list[bytes] = []  # pieces of a line whose end has not come: joined once, so big events are cheap
        self._data: list[bytes] = []
        self._skip_lf = False  # the last chunk ended with CR: an LF that follows belongs to it
        self._idle = False  # between two events, with nothing pending: what the short cut in feed() asks for

    def feed(self, chunk: bytes) -> list[bytes]:
        """Take the next bytes and return the events that they complete."""
        # Servers nearly always send whole events, each one data line and one blank line: one per chunk, or several.
        if self._idle and chunk[:5] == b"data:" and chunk[-1:] == b"\n":
            plain = chunk.replace(b"\r\n", b"\n") if b"\r" in chunk else chunk
            if plain[-2:] == b"\n\n" and b"\r" not in plain:
                mark = b"data: " if plain[5] == 32 else b"data:"
                texts = plain[len(mark) : -2].split(b"\n\n" + mark)
                # An LF too many is a line or an event of another shape; a space after a mark without one is no text.
                if plain.count(b"\n") == 2 * len(texts) and (mark[-1] == 32 or b"\n\ndata: " not in plain):
                    return texts
        return self._feed_lines(chunk)

    def flush(self) -> list[bytes]:
        """Return the last event if the stream ended without its blank line. The decoder is then as new."""
        events: list[bytes] = []
        self._take_lines([b"".join(self._partial), b""], events)
        self.__init__()  # type: ignore[misc]  # a decoder without state is exactly a new one
        return events

    def _feed_lines(self, chunk: bytes) -> list[bytes]:
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
        events: list[bytes] = []
        if lines:
            if self._partial:
                self._partial.append(lines[0])
                lines[0] = b"".join(self._partial)
                self._partial.clear()
            self._take_lines(lines, events)
        if rest:
            self._partial.append(rest)
        self._idle = not (self._partial or self._data or self._skip_lf or self._at_start)
        return events

    def _take_lines(self, lines: list[bytes], events: list[bytes]) -> None:
        if self._at_start:
            self._at_start = False
            lines[0] = lines[0].removeprefix(_BYTE_ORDER_MARK)
        data = self._data
        for line in lines:
            if line[:6] == b"data: ":
                data.append(line[6:])
            elif line[:5] == b"data:":
                data.append(line[5:])
            elif line == b"data":
                data.append(b"")
            elif not line and data:
                events.append(data[0] if len(data) == 1 else b"\n".join(data))
                data.clear()
