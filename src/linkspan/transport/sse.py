"""Parse server-sent events from bytes by the WHATWG rules (HTML standard, 9.2.6), without I/O.

Lines end only at LF, CR LF or CR: U+2028, U+2029 and U+0085 are text. Bytes are split into lines before decoding, so
chunks may split a character anywhere. Event types and ids are ignored: no API uses them, and a model's answer cannot be
resumed.
"""

from __future__ import annotations

import re

__all__ = ["BLANKS", "SSEDecoder", "looks_like_events"]

#: White space of a body's beginning.
BLANKS = b" \t\r\n"
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_FIELD = re.compile(rb"(?:data|event|id|retry)?:")
_FIELD_STARTS = (b"data", b"event", b"id", b"retry")
_JSON_OR_MARKUP = (b"{", b"[", b'"', b"<")


def looks_like_events(head: bytes, content_type: str) -> bool | None:
    """Return whether a body is an event stream, by its first bytes; ``None`` if undecided.

    The bytes decide, because servers and proxies mislabel streams in both directions; the content type only breaks
    ties.
    """
    head = head.removeprefix(_BYTE_ORDER_MARK).lstrip(BLANKS)
    if not head:
        return None
    if _FIELD.match(head):
        return True
    if content_type.partition(";")[0].strip().lower() == "text/event-stream":
        return not head.startswith(_JSON_OR_MARKUP)
    if any(name.startswith(head) for name in _FIELD_STARTS):
        return None
    return False


class SSEDecoder:
    r"""Splits a byte stream into events, however the bytes are divided into chunks.

    An event is the values of its ``data`` fields joined by ``\n``, undecoded: JSON parsers take bytes.

    >>> decoder = SSEDecoder()
    >>> decoder.feed(b"data: {\"a\"")
    []
    >>> decoder.feed(b":1}\r\n\r\n")
    [b'{"a":1}']
    """

    __slots__ = ("_at_start", "_data", "_partial", "_skip_lf")

    def __init__(self) -> None:
        self._reset()

    def _reset(self) -> None:
        self._at_start = True
        self._partial: list[bytes] = []  # pieces of an unfinished line, joined once, so that big events are cheap
        self._data: list[bytes] = []
        self._skip_lf = False  # the last chunk ended with CR; a following LF belongs to it

    def flush(self) -> list[bytes]:
        """Return the last event if the stream ended without its blank line; resets the decoder."""
        events: list[bytes] = []
        self._take_lines([b"".join(self._partial), b""], events)
        self._reset()
        return events

    def feed(self, chunk: bytes) -> list[bytes]:
        """Add bytes and return the events that they complete."""
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
