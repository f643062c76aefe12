"""Read an answer that arrives as events: open, iterate, drain and close it."""

from __future__ import annotations

import asyncio
import logging
from time import monotonic
from typing import TYPE_CHECKING, Any

import httpx

from linkspan.transport.bodies import (
    LARGEST_FOREIGN_BODY,
    Body,
    async_chunks,
    chunks,
    close_response,
    owns_connection,
    too_large,
)
from linkspan.transport.cancellation import run_to_end
from linkspan.transport.deadline import Deadline
from linkspan.transport.failures import answer_error, connection_error, interruption, with_retry_after
from linkspan.transport.http_messages import HttpResponse
from linkspan.transport.sse import BLANKS, SSEDecoder, looks_like_events

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence
    from threading import Timer

    from linkspan.errors import LinkspanError
    from linkspan.transport.http_messages import HttpRequest

__all__ = ["AsyncEventStream", "EventStream"]

#: Longest time in seconds to drain a finished stream so that its connection can be reused.
DRAIN_SECONDS = 0.1

_log = logging.getLogger("linkspan.transport")


class _Stream:
    """Base of sync and async streams: everything except the loops over chunks.

    A stream opens with its first event. Until then its body is kept, because it may not be a stream.
    """

    __slots__ = (
        "_beginning",
        "_closed",
        "_connection",
        "_deadline",
        "_decoder",
        "_eventless",
        "_head",
        "_is_events",
        "_pending",
        "_request",
        "_response",
        "_started",
        "_was_silence",
        "headers",
    )

    def __init__(self, request: HttpRequest, response: httpx.Response) -> None:
        self.headers = response.headers
        self._request = request
        self._response = response
        self._decoder = SSEDecoder()
        # Some servers send comments while a model starts: the first event has the whole timeout.
        self._deadline = Deadline(request.timeout)
        self._connection: Any = response.extensions.get("network_stream") if owns_connection(response) else None
        if self._connection is not None:
            self._connection.deadline = self._deadline
        self._started = monotonic()
        self._closed = False
        self._was_silence = False
        self._eventless = 0  # bytes since the last event with content
        self._pending: Sequence[bytes] = ()
        self._head = Body(LARGEST_FOREIGN_BODY)
        self._beginning = b""  # of the body, without blanks, while it is undecided
        self._is_events: bool | None = None if response.is_success else False

    def silence(self) -> None:
        """Mark the latest batch as empty, so that its events do not hide a stall."""
        self._was_silence = True

    def _take_opening(self, chunk: bytes) -> bool:
        """Process a chunk before the first event. Return whether the event arrived, or cannot arrive."""
        if self._is_events is None:
            self._beginning += chunk
            self._is_events = looks_like_events(self._beginning, self.headers.get("content-type", ""))
            if self._is_events:
                chunk = self._head.content() + chunk
            else:
                is_full = self._head.add(chunk)
                if self._is_events is None and is_full:
                    self._is_events = False
                # Any number of blanks may arrive one by one, so they are not scanned again.
                elif self._is_events is None and not self._beginning.strip(BLANKS):
                    self._beginning = b""
                return self._is_events is not None
        self._pending = self._decoder.feed(chunk)
        if not self._pending:
            self._count_eventless(chunk)
        return bool(self._pending)

    def _end_opening(self) -> None:
        """Note that the body ended before its first event."""
        if self._is_events:
            self._pending = self._decoder.flush()
        self._is_events = bool(self._pending)

    def _opening_error(self, exc: httpx.RequestError) -> LinkspanError | None:
        """Return the error for an interrupted body; ``None`` if the status is more informative."""
        if not self._response.is_success:
            return None
        return connection_error(exc, self._request, monotonic() - self._started)

    def _judge_opening(self) -> None:
        """Raise unless the body is an event stream whose first event is not an error."""
        request, response = self._request, self._response
        if not self._pending:
            answer = HttpResponse(response.status_code, self.headers, self._head.content(), request.url)
            raise answer_error(request, answer)
        error = request.event_error(self._pending[0]) if request.event_error is not None else None
        if error is not None:
            raise with_retry_after(error, self.headers)
        self._head = Body(0)
        self._eventless = 0
        if request.stall_timeout is not None:
            self._deadline.allow(request.stall_timeout)
        self._deadline.restart = True

    def _count_eventless(self, chunk: bytes) -> None:
        """Count bytes without an event, or with an empty one.

        Raises:
            httpx.ReadTimeout: The deadline has passed.
            InvalidResponseError: There are too many.
        """
        self._eventless += len(chunk)
        if self._eventless > self._request.max_response_bytes:
            raise too_large(self._request, "an event, or something between two events,")
        if self._deadline.passed():
            raise httpx.ReadTimeout("No event came in time")

    def _interruption(self, exc: httpx.RequestError) -> LinkspanError:
        return interruption(exc, self._request, self.headers, self._deadline.waited())

    def _release(self) -> bool:
        """Release the connection, once. Return whether the response must still be closed."""
        first = not self._closed
        self._closed = True
        if self._connection is not None:
            self._connection.deadline = self._connection = None
        return first

    def _can_drain(self) -> bool:
        """Return whether the connection carries only this answer; an HTTP/2 connection carries many."""
        return self._connection is not None or self._response.extensions.get("http_version", b"")[:6] == b"HTTP/1"


class EventStream(_Stream):
    """The events of an answer, in order, each yielded as soon as its bytes arrive.

    Created by :meth:`linkspan.transport.HttpClient.stream`. Reading raises ``InterruptedStreamError`` if the
    connection breaks or stalls. ``headers`` has the answer's headers.
    """

    __slots__ = ("_chunks",)

    def __init__(self, request: HttpRequest, response: httpx.Response) -> None:
        super().__init__(request, response)
        self._chunks = chunks(response)

    def open(self) -> None:
        """Read up to the first event, or the whole answer if it is not a stream.

        Raises:
            LinkspanError: No event arrived, or the first one is an error.
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
                    if self._head.add(chunk):
                        break
        except httpx.RequestError as exc:
            error = self._opening_error(exc)
            if error is not None:
                raise error from exc
        self._judge_opening()

    def batches(self) -> Iterator[Sequence[bytes]]:
        """Yield the events in one batch per read, which costs less than one step per event.

        No event waits for another: a batch has only events that have arrived.
        """
        events, self._pending = self._pending, ()
        yield events
        if self._closed:
            return
        self._was_silence = False  # the first event begins the stream, whatever it carries
        feed, deadline = self._decoder.feed, self._deadline
        try:
            for chunk in self._chunks:
                events = feed(chunk)
                if events:
                    yield events
                    if not self._was_silence:
                        deadline.restart = True
                        self._eventless = 0
                        continue
                    self._was_silence = False
                self._count_eventless(chunk)
        except httpx.RequestError as exc:
            raise self._interruption(exc) from exc
        self.close()
        yield self._decoder.flush()

    def drain(self) -> None:
        """Drain the body briefly after the last relevant event, so that the connection can be reused.

        Further events are dropped. If the server does not end the stream in time, it is closed.
        """
        if self._closed:
            return
        if self._can_drain():
            self._deadline.end_in(DRAIN_SECONDS)
            alarm: Timer | None = None
            if self._connection is None:
                from linkspan.transport.connections import shut_down_later  # noqa: PLC0415  # httpcore is loaded by now

                alarm = shut_down_later(self._response, DRAIN_SECONDS)
            try:
                for _ in self._chunks:
                    if self._deadline.passed():
                        break
            except httpx.RequestError as exc:
                _log.debug("the stream did not end with its end marker (%s): closed", type(exc).__name__)
            if alarm is not None:
                alarm.cancel()
        self.close()

    def close(self) -> None:
        """Close the stream. The server notices unless the stream has ended."""
        if self._release():
            self._response.close()


class AsyncEventStream(_Stream):
    """The events of an answer: the async twin of :class:`EventStream`."""

    __slots__ = ("_chunks",)

    def __init__(self, request: HttpRequest, response: httpx.Response) -> None:
        super().__init__(request, response)
        self._chunks = async_chunks(response)
        if self._connection is not None:
            self._connection.on_cancel = response.aclose

    async def open(self) -> None:
        """Read up to the first event, or the whole answer if it is not a stream.

        Raises:
            LinkspanError: No event arrived, or the first one is an error.
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
                    if self._head.add(chunk):
                        break
        except httpx.RequestError as exc:
            error = self._opening_error(exc)
            if error is not None:
                raise error from exc
        self._judge_opening()

    async def batches(self) -> AsyncIterator[Sequence[bytes]]:
        """Yield the events in one batch per read; see :meth:`EventStream.batches`."""
        events, self._pending = self._pending, ()
        yield events
        if self._closed:
            return
        self._was_silence = False  # the first event begins the stream, whatever it carries
        feed, deadline = self._decoder.feed, self._deadline
        try:
            async for chunk in self._chunks:
                events = feed(chunk)
                if events:
                    yield events
                    if not self._was_silence:
                        deadline.restart = True
                        self._eventless = 0
                        continue
                    self._was_silence = False
                self._count_eventless(chunk)
        except httpx.RequestError as exc:
            raise self._interruption(exc) from exc
        await self.aclose()
        yield self._decoder.flush()

    async def drain(self) -> None:
        """Drain the body briefly after the last relevant event; see :meth:`EventStream.drain`."""
        if self._closed:
            return
        if self._can_drain():
            self._deadline.end_in(DRAIN_SECONDS)
            try:
                if self._connection is not None:
                    await self._read_on()
                else:
                    await asyncio.wait_for(self._read_on(), DRAIN_SECONDS)
            except (httpx.RequestError, asyncio.TimeoutError) as exc:
                _log.debug("the stream did not end with its end marker (%s): closed", type(exc).__name__)
        await self.aclose()

    async def _read_on(self) -> None:
        async for _ in self._chunks:
            if self._deadline.passed():
                break

    async def aclose(self) -> None:
        """Close the stream. The server notices unless the stream has ended."""
        connection = self._connection
        if self._release():
            if connection is not None:
                connection.on_cancel = None
            await run_to_end(close_response(self._response))
