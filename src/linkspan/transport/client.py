"""The HTTP client: ``send`` and ``stream``, with sync and async twins over the same request object."""

from __future__ import annotations

import logging
from contextlib import asynccontextmanager, contextmanager
from time import monotonic
from typing import TYPE_CHECKING, Any

import httpx

from linkspan.errors import ConfigurationError
from linkspan.transport.cancellation import cancelled_once
from linkspan.transport.clients import Clients
from linkspan.transport.failures import answer_error, connection_error
from linkspan.transport.messages import HttpResponse
from linkspan.transport.outgoing import RequestBuilder
from linkspan.transport.retries import with_retries, with_retries_async
from linkspan.transport.streams import AsyncEventStream, EventStream
from linkspan.transport.urls import public_url

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from linkspan.errors import LinkspanError
    from linkspan.transport.messages import HttpRequest

__all__ = ["HttpClient"]

_log = logging.getLogger("linkspan.transport")


class HttpClient:
    """Carries out requests: retries, timeouts, streams and errors included.

    One object serves sync and async calls, any number of threads and event loops, and child processes. Its httpx
    clients are made at the first call and kept for the next ones; copies and unpickled objects make their own. It may
    be used again after it was closed.

    Args:
        http_client: An ``httpx.Client`` to use instead of an own one. It is never closed, nor pickled.
        http_async_client: The same for async calls. Like any ``httpx.AsyncClient`` it belongs to one event loop.

    Raises:
        ConfigurationError: A client is not of its type.

    All four calls raise only subclasses of ``LinkspanError``:

    - ``ConfigurationError``: the address redirects elsewhere, a header cannot be sent, a client that was passed in
      is closed.
    - ``APIConnectionError``, ``APITimeoutError``: no answer, after ``max_retries`` further attempts.
    - ``InterruptedStreamError``: a stream broke or stalled after its first event.
    - ``InvalidResponseError``: the answer cannot be decompressed.
    - whatever ``decode_error`` and ``event_error`` of the request return.
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
        self._requests = RequestBuilder()

    def send(self, request: HttpRequest) -> HttpResponse:
        """Send a request and return the whole answer, whose status is 2xx."""
        return with_retries(self._send_once, request)

    async def asend(self, request: HttpRequest) -> HttpResponse:
        """Send a request and return the whole answer, whose status is 2xx."""
        return await with_retries_async(self._asend_once, request)

    @contextmanager
    def stream(self, request: HttpRequest) -> Iterator[EventStream]:
        """Send a request and hand out the events of its answer. The first one is there when the block is entered.

        Leaving the block closes the stream. After the last event that matters, call ``drain()`` so that the connection
        can be used again.
        """
        events = with_retries(self._open_once, request)
        try:
            yield events
        finally:
            events.close()

    @asynccontextmanager
    async def astream(self, request: HttpRequest) -> AsyncIterator[AsyncEventStream]:
        """Send a request and hand out the events of its answer: see :meth:`stream`."""
        events = await with_retries_async(self._aopen_once, request)
        try:
            yield events
        finally:
            await events.aclose()

    def close(self) -> None:
        """Close the connections. Those of async calls are closed by their event loops as soon as these run."""
        self._clients.close()

    async def aclose(self) -> None:
        """Close the connections."""
        await self._clients.aclose()

    def _send_once(self, request: HttpRequest) -> HttpResponse:
        return _checked(request, self._exchange(request, stream=False))

    async def _asend_once(self, request: HttpRequest) -> HttpResponse:
        return _checked(request, await self._aexchange(request, stream=False))

    def _open_once(self, request: HttpRequest) -> EventStream:
        events = EventStream(request, self._exchange(request, stream=True))
        try:
            events.open()
        except BaseException:
            events.close()
            raise
        return events

    async def _aopen_once(self, request: HttpRequest) -> AsyncEventStream:
        events = AsyncEventStream(request, await self._aexchange(request, stream=True))
        try:
            await events.open()
        except BaseException:
            await events.aclose()
            raise
        return events

    def _exchange(self, request: HttpRequest, *, stream: bool) -> httpx.Response:
        client = self._clients.sync()
        message = self._requests.build(client, request, stream=stream, own=self._clients.http_client is None)
        started = monotonic()
        try:
            response = client.send(message, stream=stream, follow_redirects=False)
        except httpx.RequestError as exc:
            raise _failed(exc, request, monotonic() - started) from exc
        _log_answer(request, response.status_code, started)
        return response

    async def _aexchange(self, request: HttpRequest, *, stream: bool) -> httpx.Response:
        client = await self._clients.for_running_loop()
        message = self._requests.build(client, request, stream=stream, own=self._clients.http_async_client is None)
        started = monotonic()
        try:
            response = await cancelled_once(
                client.send(message, stream=stream, follow_redirects=False), httpx.Response.aclose
            )
        except httpx.RequestError as exc:
            raise _failed(exc, request, monotonic() - started) from exc
        _log_answer(request, response.status_code, started)
        return response

    def __copy__(self) -> HttpClient:
        return HttpClient(http_client=self._clients.http_client, http_async_client=self._clients.http_async_client)

    def __deepcopy__(self, memo: dict[int, Any]) -> HttpClient:
        # Connections cannot be copied, so clients that were passed in are shared.
        return self.__copy__()

    def __reduce__(self) -> tuple[Any, ...]:
        for name in ("http_client", "http_async_client"):
            if getattr(self._clients, name) is not None:
                raise TypeError(
                    f"cannot pickle an object that was given a {name}: its connections live in this process. "
                    f"Leave {name} out, or make the object again in the other process",
                )
        return (HttpClient, ())

    def __repr__(self) -> str:
        own = all(getattr(self._clients, name) is None for name in ("http_client", "http_async_client"))
        return "HttpClient()" if own else "HttpClient(with clients passed in)"


def _checked(request: HttpRequest, response: httpx.Response) -> HttpResponse:
    answer = HttpResponse(response.status_code, response.headers, response.content, request.url)
    if not response.is_success:
        raise answer_error(request, answer)
    return answer


def _failed(exc: httpx.RequestError, request: HttpRequest, seconds: float) -> LinkspanError:
    _log.debug("%s %s -> %s after %.0f ms", request.method, public_url(request.url), type(exc).__name__, seconds * 1000)
    return connection_error(exc, request, seconds)


def _log_answer(request: HttpRequest, status: int, started: float) -> None:
    if _log.isEnabledFor(logging.DEBUG):
        milliseconds = (monotonic() - started) * 1000
        _log.debug("%s %s -> %d in %.0f ms", request.method, public_url(request.url), status, milliseconds)
