"""The HTTP client: ``send`` and ``stream``, with sync and async twins over the same request object."""

from __future__ import annotations

import functools
import logging
import re
from contextlib import AbstractAsyncContextManager, contextmanager
from time import monotonic
from typing import TYPE_CHECKING, NoReturn

import httpx

from linkspan import __version__
from linkspan.errors import ConfigurationError
from linkspan.transport.bodies import (
    ACCEPTED_ENCODINGS,
    LARGEST_FOREIGN_BODY,
    Body,
    async_chunks,
    chunks,
    close_response,
    too_large,
)
from linkspan.transport.cancellation import cancelled_once, run_to_end
from linkspan.transport.clients import Clients, running_loop
from linkspan.transport.deadline import finite
from linkspan.transport.failures import answer_error, connection_error, status_error, unusable_address
from linkspan.transport.http_messages import HttpResponse, check_headers
from linkspan.transport.retries import with_retries, with_retries_async
from linkspan.transport.streams import AsyncEventStream, EventStream
from linkspan.transport.urls import public_url

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from types import TracebackType

    from linkspan.transport.http_messages import HttpRequest

__all__ = ["HttpClient"]

#: Limits on kept cookies, which load balancers use for sticky sessions: RFC 6265's 50, with 8 kB of values. Beyond
#: them, all are dropped, so that a server that sets a new one with each answer cannot make requests grow.
_MOST_COOKIES, _LONGEST_COOKIES = 50, 8192
#: What asyncio says, in a RuntimeError without a type of its own, of an object that is used on another loop.
_ANOTHER_LOOP = re.compile("event loop|different loop", re.IGNORECASE)

_parsed = functools.lru_cache(maxsize=64)(httpx.URL)
_log = logging.getLogger("linkspan.transport")


class HttpClient:
    """Sends requests, with retries, timeouts, streams and errors.

    One object serves sync and async calls, any number of threads and event loops, and child processes. It creates its
    httpx clients at the first call and keeps them. It can be used again after ``close()``.

    Args:
        http_client: Use this ``httpx.Client`` instead of creating one. It is never closed.
        http_async_client: The same for async calls. Like any ``httpx.AsyncClient``, it belongs to one event loop.

    Raises:
        ConfigurationError: A client is of the wrong type.

    All four calls raise only subclasses of ``LinkspanError``:

    - ``ConfigurationError``: the URL is invalid or redirects elsewhere, a passed client is closed, an environment
      variable (proxies, certificates) is invalid, or an async call runs outside asyncio.
    - ``APIConnectionError``, ``APITimeoutError``: no answer, after ``max_retries`` retries.
    - ``InterruptedStreamError``: a stream broke or stalled after its first event.
    - ``InvalidResponseError``: the answer cannot be decompressed, or is larger than ``max_response_bytes``.
    - errors from the request's ``decode_error`` and ``event_error``.
    """

    def __init__(
        self,
        *,
        http_client: httpx.Client | None = None,
        http_async_client: httpx.AsyncClient | None = None,
    ) -> None:
        for name, client, cls in (
            ("http_client", http_client, httpx.Client),
            ("http_async_client", http_async_client, httpx.AsyncClient),
        ):
            if client is not None and not isinstance(client, cls):
                raise ConfigurationError(f"{name} must be an httpx.{cls.__name__}, not {type(client).__name__}")
        self._clients = Clients(http_client, http_async_client)

    def send(self, request: HttpRequest) -> HttpResponse:
        """Send a request and return the whole answer, with a 2xx status."""
        return with_retries(self._send_once, request)

    async def asend(self, request: HttpRequest) -> HttpResponse:
        """Send a request and return the whole answer, with a 2xx status."""
        running_loop()
        return await with_retries_async(self._asend_once, request)

    @contextmanager
    def stream(self, request: HttpRequest) -> Iterator[EventStream]:
        """Send a request and stream the events of its answer. Entering the block waits for the first event.

        Leaving the block closes the stream. After the last relevant event, call ``drain()`` so that the connection can
        be reused.
        """
        events = with_retries(self._open_once, request)
        try:
            yield events
        finally:
            events.close()

    def astream(self, request: HttpRequest) -> AbstractAsyncContextManager[AsyncEventStream]:
        """Send a request and stream the events of its answer; see :meth:`stream`."""
        return _AsyncStreaming(self._aopen_once, request)

    def close(self) -> None:
        """Close the connections. Running calls fail or are retried on new ones.

        Event loops close the connections of async calls as soon as they run.
        """
        self._clients.close()

    async def aclose(self) -> None:
        """Close the connections."""
        await self._clients.aclose()

    def _send_once(self, request: HttpRequest) -> HttpResponse:
        response = self._exchange(request, stream=False)
        started = monotonic()
        reader = _WholeAnswer(request, response)
        try:
            for chunk in chunks(response):
                if reader.add(chunk):
                    break
        except httpx.RequestError as exc:
            reader.fail(exc, started)
        finally:
            response.close()
        return reader.answer()

    async def _asend_once(self, request: HttpRequest) -> HttpResponse:
        return await cancelled_once(self._asend_in_task(request))

    async def _asend_in_task(self, request: HttpRequest) -> HttpResponse:
        response = await self._aexchange(request, stream=False)
        started = monotonic()
        reader = _WholeAnswer(request, response)
        try:
            async for chunk in async_chunks(response):
                if reader.add(chunk):
                    break
        except httpx.RequestError as exc:
            reader.fail(exc, started)
        finally:
            await run_to_end(close_response(response))
        return reader.answer()

    def _open_once(self, request: HttpRequest) -> EventStream:
        events = EventStream(request, self._exchange(request, stream=True))
        try:
            events.open()
        except BaseException:
            events.close()
            raise
        return events

    async def _aopen_once(self, request: HttpRequest) -> AsyncEventStream:
        response = await cancelled_once(self._aexchange(request, stream=True), httpx.Response.aclose)
        events = AsyncEventStream(request, response)
        try:
            await events.open()
        except BaseException:
            await events.aclose()
            raise
        return events

    def _exchange(self, request: HttpRequest, *, stream: bool) -> httpx.Response:
        """Send a request and return its answer, with the body unread."""
        is_own = self._clients.http_client is None
        while True:
            client = self._clients.sync()
            message = _message(client, request, stream=stream)
            started = monotonic()
            try:
                response = client.send(message, stream=True, follow_redirects=False)
            except httpx.HTTPStatusError as exc:
                failure = status_error(exc, request)
            except (httpx.RequestError, httpx.InvalidURL, ValueError, OverflowError, RuntimeError) as exc:
                if is_own and client.is_closed and isinstance(exc, RuntimeError):
                    continue  # closed by another thread before anything was sent
                _raise_failure(exc, request, monotonic() - started, is_own=is_own)
            else:
                _log_answer(request, response, started)
                if is_own:
                    _bound_cookies(client, response)
                return response
            # Raised outside of the except block, as httpx's error holds the request with its headers.
            raise failure

    async def _aexchange(self, request: HttpRequest, *, stream: bool) -> httpx.Response:
        """Send a request and return its answer; see :meth:`_exchange`. Needs a task that is cancelled only once."""
        is_own = self._clients.http_async_client is None
        while True:
            client = await self._clients.for_running_loop()
            message = _message(client, request, stream=stream)
            started = monotonic()
            try:
                response = await client.send(message, stream=True, follow_redirects=False)
            except httpx.HTTPStatusError as exc:
                failure = status_error(exc, request)
            except (httpx.RequestError, httpx.InvalidURL, ValueError, OverflowError, RuntimeError) as exc:
                if is_own and client.is_closed and isinstance(exc, RuntimeError):
                    continue
                _raise_failure(exc, request, monotonic() - started, is_own=is_own)
            else:
                _log_answer(request, response, started)
                if is_own:
                    _bound_cookies(client, response)
                return response
            raise failure


class _AsyncStreaming(AbstractAsyncContextManager["AsyncEventStream"]):
    """Opens and closes a stream. Not an async generator, because event loops close those, too."""

    __slots__ = ("_events", "_open", "_request")

    def __init__(self, open_once: Callable[[HttpRequest], Awaitable[AsyncEventStream]], request: HttpRequest) -> None:
        self._open = open_once
        self._request = request

    async def __aenter__(self) -> AsyncEventStream:
        running_loop()
        self._events = await with_retries_async(self._open, self._request)
        return self._events

    async def __aexit__(
        self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None
    ) -> None:
        await self._events.aclose()


class _WholeAnswer:
    """Collects a whole answer, or the beginning of an error."""

    __slots__ = ("_body", "_is_full", "_request", "_response")

    def __init__(self, request: HttpRequest, response: httpx.Response) -> None:
        self._request = request
        self._response = response
        self._body = Body(request.max_response_bytes if response.is_success else LARGEST_FOREIGN_BODY)
        self._is_full = False
        deadline = getattr(response.extensions.get("network_stream"), "deadline", None)
        if deadline is not None:
            deadline.end_never()

    def add(self, chunk: bytes) -> bool:
        """Add a chunk. Return whether that is enough."""
        self._is_full = self._body.add(chunk)
        return self._is_full

    def fail(self, exc: httpx.RequestError, started: float) -> None:
        """Raise the error for an interrupted body, unless the status is more informative."""
        if self._response.is_success:
            raise connection_error(exc, self._request, monotonic() - started) from exc

    def answer(self) -> HttpResponse:
        """Return the answer, or raise its error."""
        request, response = self._request, self._response
        answer = HttpResponse(response.status_code, response.headers, self._body.content(), request.url)
        if not response.is_success:
            raise answer_error(request, answer)
        if self._is_full:
            raise too_large(request, "an answer")
        return answer


def _message(client: httpx.Client | httpx.AsyncClient, request: HttpRequest, *, stream: bool) -> httpx.Request:
    """Build httpx's request.

    Raises:
        ConfigurationError: The URL is invalid, or a header cannot be sent.
    """
    check_headers(request.headers, provider=request.provider)
    given = {name.lower() for name in request.headers}
    own = {"accept-encoding": ACCEPTED_ENCODINGS}
    if stream:
        own["accept"] = "text/event-stream"
    if client.headers.get("user-agent", "").startswith("python-httpx/"):
        own["user-agent"] = f"linkspan/{__version__}"
    headers = {name: value for name, value in own.items() if name not in given} | dict(request.headers)
    silence = finite(request.timeout)
    limits = [seconds for seconds in (finite(request.connect_timeout), silence) if seconds is not None]
    timeout = httpx.Timeout(connect=min(limits, default=None), read=silence, write=silence, pool=silence)
    try:
        return client.build_request(
            request.method, _parsed(request.url), headers=headers, content=request.content, timeout=timeout
        )
    except (httpx.InvalidURL, UnicodeError) as exc:
        raise unusable_address(exc, request) from None


def _raise_failure(exc: Exception, request: HttpRequest, seconds: float, *, is_own: bool) -> NoReturn:
    """Raise linkspan's error for httpx's. Other errors of a passed client may be its user's, and are re-raised."""
    _log.debug("%s %s -> %s after %.0f ms", request.method, public_url(request.url), type(exc).__name__, seconds * 1000)
    if isinstance(exc, httpx.RequestError):
        raise connection_error(exc, request, seconds) from exc
    if isinstance(exc, (httpx.InvalidURL, UnicodeError)) or (is_own and isinstance(exc, (ValueError, OverflowError))):
        raise unusable_address(exc, request) from exc
    if not is_own and isinstance(exc, RuntimeError) and _ANOTHER_LOOP.search(str(exc)):
        raise ConfigurationError(
            f"http_async_client cannot be used on this event loop: {exc}. An httpx.AsyncClient belongs to the loop of "
            "its first call: pass another one, or leave it out, and each loop gets one",
            provider=request.provider,
        ) from exc
    raise exc


def _log_answer(request: HttpRequest, response: httpx.Response, started: float) -> None:
    if _log.isEnabledFor(logging.DEBUG):
        milliseconds = (monotonic() - started) * 1000
        _log.debug(
            "%s %s -> %d in %.0f ms", request.method, public_url(request.url), response.status_code, milliseconds
        )


def _bound_cookies(client: httpx.Client | httpx.AsyncClient, response: httpx.Response) -> None:
    """Drop the cookies of linkspan's own client once they are too many or too long."""
    if "set-cookie" in response.headers:
        jar = client.cookies.jar
        sizes = [len(cookie.name) + len(cookie.value or "") for cookie in jar]
        if len(sizes) > _MOST_COOKIES or sum(sizes) > _LONGEST_COOKIES:
            jar.clear()
