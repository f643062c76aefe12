"""An answer that arrives as events: how its opening is judged, how it is read on, how it ends."""

from __future__ import annotations

import logging
import re
from time import monotonic
from typing import TYPE_CHECKING, cast

import httpx

from linkspan.transport.cancellation import finished
from linkspan.transport.deadline import AsyncReadDeadline, ReadDeadline
from linkspan.transport.failures import answer_error, connection_error, interruption, with_retry_after
from linkspan.transport.messages import HttpResponse
from linkspan.transport.sse import SSEDecoder

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence

    from linkspan.errors import LinkspanError
    from linkspan.transport.messages import HttpRequest

__all__ = ["AsyncEventStream", "EventStream", "looks_like_events"]

#: Seconds that a finished stream is read on, so that its connection can be used again.
DRAIN_SECONDS = 0.1
#: Bytes that are kept of a body that is not an event stream.
LONGEST_FOREIGN_BODY = 1024 * 1024

_log = logging.getLogger("linkspan.transport")
_FIELD = re.compile(rb"(?:data|event|id|retry)?:")
_FIELD_STARTS = (b"data", b"event", b"id", b"retry")
_JSON_OR_MARKUP = (b"{", b"[", b'"', b"<")


def looks_like_events(head: bytes, content_type: str) -> bool | None:
    """Tell by its first bytes whether a body is an event stream; ``None``: not to be told yet.

    The bytes decide, because servers and proxies mislabel streams in both directions; the content type only where the
    bytes leave it open.
    """
    head = head.removeprefix(b"\xef\xbb\xbf").lstrip(b" \t\r\n")
    if not head:
        return None
    if _FIELD.match(head):
        return True
    if content_type.partition(";")[0].strip().lower() == "text/event-stream":
        return not head.startswith(_JSON_OR_MARKUP)
    if any(name.startswith(head) or head == name for name in _FIELD_STARTS):
        return None
    return False


class _Stream:
    """What sync and async streams share: everything but the loops over chunks.

    A stream opens with its first event. Until then its body is kept, because it may turn out to be something else.
    """

    __slots__ = (
        "_closed",
        "_deadline",
        "_decoder",
        "_head",
        "_head_size",
        "_is_events",
        "_pending",
        "_request",
        "_response",
        "_started",
        "headers",
    )
    _deadline_class = ReadDeadline

    def __init__(self, request: HttpRequest, response: httpx.Response) -> None:
        self.headers = response.headers
        self._request = request
        self._response = response
        self._decoder = SSEDecoder()
        # Some servers send comments for as long as a model takes to start: the first event has the whole timeout.
        self._deadline = self._deadline_class(response, request.timeout)
        self._started = monotonic()
        self._closed = False
        self._pending: Sequence[bytes] = ()
        self._head: list[bytes] = []
        self._head_size = 0
        self._is_events: bool | None = None if response.is_success else False

    def _take_opening(self, chunk: bytes) -> bool:
        """Take a chunk before the first event. Return whether that is settled: here it is, or there will be none."""
        full = self._keep(chunk)
        if self._is_events is None:
            chunk = b"".join(self._head)
            self._is_events = looks_like_events(chunk, self.headers.get("content-type", ""))
            if self._is_events is None and full:
                self._is_events = False
            if not self._is_events:
                return self._is_events is not None
        self._pending = self._decoder.feed(chunk)
        if not self._pending:
            self._check_deadline()
        return bool(self._pending)

    def _keep(self, chunk: bytes) -> bool:
        """Keep a chunk of a body that may not be an event stream. Return whether that is all that is kept."""
        if self._head_size < LONGEST_FOREIGN_BODY:
            self._head.append(chunk[: LONGEST_FOREIGN_BODY - self._head_size])
            self._head_size += len(self._head[-1])
        return self._head_size >= LONGEST_FOREIGN_BODY

    def _end_opening(self) -> None:
        """Take note that the body ended before its first event."""
        if self._is_events:
            self._pending = self._decoder.flush()
        self._is_events = bool(self._pending)

    def _opening_error(self, exc: httpx.RequestError) -> LinkspanError | None:
        """Return the error of a body that broke off; ``None`` if the status says more than that."""
        if not self._response.is_success:
            return None
        return connection_error(exc, self._request, monotonic() - self._started)

    def _judge_opening(self) -> None:
        """Raise unless the body is an event stream whose first event is no error."""
        request, response = self._request, self._response
        if not self._pending:
            answer = HttpResponse(response.status_code, self.headers, b"".join(self._head), request.url)
            raise answer_error(request, answer)
        error = request.event_error(self._pending[0]) if request.event_error is not None else None
        if error is not None:
            raise with_retry_after(error, self.headers)
        self._head.clear()
        if request.stall_timeout is not None:
            self._deadline.allow(request.stall_timeout)
        self._deadline.restart = True

    def _check_deadline(self) -> None:
        """Raise if the deadline has passed while something, but no event, arrived."""
        if self._deadline.passed():
            raise httpx.ReadTimeout("No event came in time")

    def _interruption(self, exc: httpx.RequestError) -> LinkspanError:
        return interruption(exc, self._request, self.headers, self._deadline.waited())

    def _release(self) -> bool:
        """Let go of the connection, once. Return whether the response is still to be closed."""
        first = not self._closed
        self._closed = True
        self._deadline.detach()
        return first


class EventStream(_Stream):
    """The events of an answer, in order, each handed out as soon as its bytes are there.

    Made by :meth:`linkspan.transport.HttpClient.stream`. Iterating raises ``InterruptedStreamError`` if the connection
    breaks or nothing comes for too long. Attributes: ``headers``, those of the answer.
    """

    __slots__ = ("_chunks",)

    def __init__(self, request: HttpRequest, response: httpx.Response) -> None:
        super().__init__(request, response)
        self._chunks = _chunks(response)

    def open(self) -> None:
        """Read up to the first event, or all of an answer that is not a stream.

        Raises:
            LinkspanError: No event came, or the first one is an error.
        """
        try:
            if self._is_events is None:
                for chunk in self._chunks:
                    if self._take_opening(chunk):
                        break
                else:
                    self._end_opening()
            if not self._is_events:
                for chunk in self._chunks:
                    if self._keep(chunk):
                        break
        except httpx.RequestError as exc:
            error = self._opening_error(exc)
            if error is not None:
                raise error from exc
        self._judge_opening()

    def __iter__(self) -> Iterator[bytes]:
        for events in self.batches():
            yield from events

    def batches(self) -> Iterator[Sequence[bytes]]:
        """Return the same events, those of one read together: a generator's step per read is less than one per event.

        No event waits for another: each batch is what was there already.
        """
        events, self._pending = self._pending, ()
        yield events
        if self._closed:
            return
        feed, deadline = self._decoder.feed, self._deadline
        try:
            for chunk in self._chunks:
                events = feed(chunk)
                if events:
                    deadline.restart = True
                    yield events
                else:
                    self._check_deadline()
        except httpx.RequestError as exc:
            raise self._interruption(exc) from exc
        self.close()
        yield self._decoder.flush()

    def drain(self) -> None:
        """Read on for a moment after the last event that matters, so that the connection can be used again.

        Events that still come are dropped. A server that does not end the stream in time has it closed.
        """
        if self._closed:
            return
        if self._deadline.attached:
            self._deadline.end_in(DRAIN_SECONDS)
            try:
                for _ in self._chunks:
                    pass
            except httpx.RequestError as exc:
                _log.debug("the stream did not end with its end marker (%s): closed", type(exc).__name__)
        self.close()

    def close(self) -> None:
        """Close the stream. The server sees it unless the stream had ended."""
        if self._release():
            self._response.close()


class AsyncEventStream(_Stream):
    """The events of an answer: the async twin of :class:`EventStream`."""

    __slots__ = ("_chunks",)
    _deadline_class = AsyncReadDeadline

    def __init__(self, request: HttpRequest, response: httpx.Response) -> None:
        super().__init__(request, response)
        self._chunks = _async_chunks(response)

    async def open(self) -> None:
        """Read up to the first event, or all of an answer that is not a stream.

        Raises:
            LinkspanError: No event came, or the first one is an error.
        """
        try:
            if self._is_events is None:
                async for chunk in self._chunks:
                    if self._take_opening(chunk):
                        break
                else:
                    self._end_opening()
            if not self._is_events:
                async for chunk in self._chunks:
                    if self._keep(chunk):
                        break
        except httpx.RequestError as exc:
            error = self._opening_error(exc)
            if error is not None:
                raise error from exc
        self._judge_opening()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for events in self.batches():
            for event in events:
                yield event

    async def batches(self) -> AsyncIterator[Sequence[bytes]]:
        """Return the same events, those of one read together: see :meth:`EventStream.batches`."""
        events, self._pending = self._pending, ()
        yield events
        if self._closed:
            return
        feed, deadline = self._decoder.feed, self._deadline
        try:
            async for chunk in self._chunks:
                events = feed(chunk)
                if events:
                    deadline.restart = True
                    yield events
                else:
                    self._check_deadline()
        except httpx.RequestError as exc:
            raise self._interruption(exc) from exc
        await self.aclose()
        yield self._decoder.flush()

    async def drain(self) -> None:
        """Read on for a moment after the last event that matters: see :meth:`EventStream.drain`."""
        if self._closed:
            return
        if self._deadline.attached:
            self._deadline.end_in(DRAIN_SECONDS)
            try:
                async for _ in self._chunks:
                    pass
            except httpx.RequestError as exc:
                _log.debug("the stream did not end with its end marker (%s): closed", type(exc).__name__)
        await self.aclose()

    async def aclose(self) -> None:
        """Close the stream. The server sees it unless the stream had ended."""
        if self._release():
            await finished(self._response.aclose())


class _Borrowed(httpx.SyncByteStream, httpx.AsyncByteStream):
    """A response's stream lent to another response, which decompresses it and must not close it."""

    def __init__(self, stream: httpx.SyncByteStream | httpx.AsyncByteStream) -> None:
        self._stream = stream

    def __iter__(self) -> Iterator[bytes]:
        return iter(cast("httpx.SyncByteStream", self._stream))

    def __aiter__(self) -> AsyncIterator[bytes]:
        return aiter(cast("httpx.AsyncByteStream", self._stream))


def _chunks(response: httpx.Response) -> Iterator[bytes]:
    if response.is_stream_consumed:  # by an event hook of the user's own client
        return iter((response.content,))
    if _is_compressed(response):
        return _decompressed(response).iter_bytes()
    # Straight from the connection: iter_raw() and iter_bytes() add layers per chunk, and close the response (and so
    # give its connection back) before the deadline is detached from it.
    return iter(cast("httpx.SyncByteStream", response.stream))


def _async_chunks(response: httpx.Response) -> AsyncIterator[bytes]:
    if response.is_stream_consumed:
        return _once(response.content)
    if _is_compressed(response):
        return _decompressed(response).aiter_bytes()
    return aiter(cast("httpx.AsyncByteStream", response.stream))


async def _once(chunk: bytes) -> AsyncIterator[bytes]:
    yield chunk


def _is_compressed(response: httpx.Response) -> bool:
    return response.headers.get("content-encoding", "identity").strip().lower() not in {"", "identity"}


def _decompressed(response: httpx.Response) -> httpx.Response:
    encoding = {"content-encoding": response.headers["content-encoding"]}
    return httpx.Response(response.status_code, headers=encoding, stream=_Borrowed(response.stream))
