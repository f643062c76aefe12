"""Read an answer's body, decompressed in small pieces and up to a limit."""

from __future__ import annotations

import asyncio
import zlib
from typing import TYPE_CHECKING, cast

import httpx

from linkspan.errors import ConfigurationError, InvalidResponseError
from linkspan.transport.cancellation import cancelled_once

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator

    from linkspan.transport.http_messages import HttpRequest

__all__ = [
    "ACCEPTED_ENCODINGS",
    "LARGEST_FOREIGN_BODY",
    "TOO_LARGE",
    "Body",
    "async_chunks",
    "chunks",
    "close_response",
    "owns_connection",
]

#: Encodings that can be decompressed piece by piece. httpx's decoders of others may expand a small chunk to gigabytes.
ACCEPTED_ENCODINGS = "gzip, deflate"
#: Most bytes kept of an unexpected body.
LARGEST_FOREIGN_BODY = 1024 * 1024
#: Error code of an answer that exceeds ``max_response_bytes``.
TOO_LARGE = "response_too_large"
#: Response extension: a function that closes the connection unless it can be reused.
END_OF_CONNECTION = "linkspan_end_of_connection"
#: Most bytes decompressed at once.
_PIECE = 64 * 1024
#: Bytes that distinguish deflate with its header from raw deflate, and a member of gzip from padding.
_HEADER = 2
_GZIP_MAGIC = b"\x1f\x8b"


class Body:
    """A body, or its first ``limit`` bytes."""

    __slots__ = ("_left", "_pieces")

    def __init__(self, limit: int) -> None:
        self._left = limit
        self._pieces: list[bytes] = []

    def add(self, chunk: bytes) -> bool:
        """Add a chunk. Return whether the body exceeds the limit."""
        self._pieces.append(chunk[: self._left])
        self._left -= len(chunk)
        return self._left < 0

    def content(self) -> bytes:
        """Return the bytes kept."""
        return b"".join(self._pieces)


def too_large(request: HttpRequest, what: str) -> InvalidResponseError:
    """Return the error for an answer that exceeds the limit."""
    return InvalidResponseError(
        f"{request.host} sent {what} of more than {request.max_response_bytes} bytes (decompressed). If you expect "
        "that, raise max_response_bytes",
        provider=request.provider,
        code=TOO_LARGE,
    )


def owns_connection(response: httpx.Response) -> bool:
    """Return whether an answer came over one of linkspan's own connections."""
    return hasattr(response.extensions.get("network_stream"), "deadline")


async def close_response(response: httpx.Response) -> None:
    """Close a response, and its connection if a cancellation interrupted httpcore's closing."""
    await response.aclose()
    end = response.extensions.get(END_OF_CONNECTION)
    if end is not None:
        await end()


def chunks(response: httpx.Response) -> Iterator[bytes]:
    """Return the body's bytes as they arrive."""
    if response.is_stream_consumed:  # by an event hook of the user's client
        return iter((_kept(response),))
    # Read directly from the connection: iter_raw() and iter_bytes() add layers per chunk. They also close the response,
    # and so return its connection to the pool, before its deadline is removed.
    raw = iter(cast("httpx.SyncByteStream", response.stream))
    return _decompressed(raw, response) if _is_encoded(response) else raw


def async_chunks(response: httpx.Response) -> AsyncIterator[bytes]:
    """Return the body's bytes as they arrive."""
    if response.is_stream_consumed:
        return _once(_kept(response))
    raw = aiter(cast("httpx.AsyncByteStream", response.stream))
    if not owns_connection(response):
        raw = _each_cancelled_once(raw)
    return _decompressed_async(raw, response) if _is_encoded(response) else raw


def _kept(response: httpx.Response) -> bytes:
    try:
        return response.content
    except httpx.ResponseNotRead:
        raise ConfigurationError(
            "A hook of the http client passed in did not keep the answer that it read: use response.read() there"
        ) from None


async def _once(chunk: bytes) -> AsyncIterator[bytes]:
    yield chunk


async def _each_cancelled_once(raw: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Read each chunk in a separate task, whose clean-up is not cancelled again."""
    while True:
        chunk = await cancelled_once(_next(raw))
        if chunk is None:
            return
        yield chunk


async def _next(raw: AsyncIterator[bytes]) -> bytes | None:
    return await anext(raw, None)


def _is_encoded(response: httpx.Response) -> bool:
    return response.headers.get("content-encoding", "identity").strip().lower() not in {"", "identity"}


def _decompressed(raw: Iterator[bytes], response: httpx.Response) -> Iterator[bytes]:
    decoders = _decoders(response)
    for chunk in raw:
        yield from _through(decoders, chunk)


async def _decompressed_async(raw: AsyncIterator[bytes], response: httpx.Response) -> AsyncIterator[bytes]:
    decoders = _decoders(response)
    async for chunk in raw:
        is_first = True
        for piece in _through(decoders, chunk):
            if not is_first:
                await asyncio.sleep(0)  # a chunk that expands a thousandfold must not block the event loop
            is_first = False
            yield piece


def _through(decoders: list[_Inflater], chunk: bytes) -> Iterator[bytes]:
    pieces: Iterable[bytes] = (chunk,)
    for decoder in decoders:
        pieces = decoder.pieces_of(pieces)
    return iter(pieces)


def _decoders(response: httpx.Response) -> list[_Inflater]:
    """Return the decoders of the body's encodings, the last one first."""
    encodings = [name.strip().lower() for name in response.headers.get("content-encoding", "").split(",")]
    decoders = []
    for name in reversed(encodings):
        if name in {"gzip", "x-gzip", "deflate"}:
            decoders.append(_Inflater(is_gzip=name != "deflate"))
        elif name not in {"", "identity"}:
            raise httpx.DecodingError(f"only {ACCEPTED_ENCODINGS} were asked for")
    return decoders


class _Inflater:
    """Decompresses gzip or deflate, a piece at a time."""

    def __init__(self, *, is_gzip: bool) -> None:
        self._is_gzip = is_gzip
        self._may_be_raw = not is_gzip  # some servers send raw deflate, without its header
        self._may_follow = False  # whether a further member of gzip may begin here
        self._is_over = False
        self._held = b""
        self._zlib = zlib.decompressobj(zlib.MAX_WBITS | 16 if is_gzip else zlib.MAX_WBITS)

    def pieces_of(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        for chunk in chunks:
            yield from self._pieces(chunk)

    def _pieces(self, data: bytes) -> Iterator[bytes]:
        has_more = True
        while has_more and not self._is_over:
            piece = self._inflate(data)
            if piece:
                yield piece
            data = self._after_end() if self._zlib.eof else self._zlib.unconsumed_tail
            # After a full piece, more output may follow even if all input was consumed.
            has_more = bool(data) or len(piece) == _PIECE

    def _after_end(self) -> bytes:
        """Return what follows the end of the compressed data: of gzip, perhaps a further member (RFC 1952, 2.2)."""
        rest = self._zlib.unused_data
        self._is_over = not self._is_gzip
        self._may_follow = self._is_gzip
        self._zlib = zlib.decompressobj(zlib.MAX_WBITS | 16)
        return rest

    def _inflate(self, data: bytes) -> bytes:
        if self._may_be_raw or self._may_follow:
            data = self._held + data
            if len(data) < _HEADER:
                self._held = data
                return b""
            self._held = b""
        if self._may_follow:
            self._is_over = data[:_HEADER] != _GZIP_MAGIC  # padding, which is ignored
            if self._is_over:
                return b""
            self._may_follow = False
        try:
            piece = self._zlib.decompress(data, _PIECE)
        except zlib.error as error:
            if not self._may_be_raw:
                raise httpx.DecodingError(str(error)) from error
            self._zlib = zlib.decompressobj(-zlib.MAX_WBITS)
            self._may_be_raw = False
            return self._inflate(data)
        self._may_be_raw = False
        return piece
