"""Network backend of async calls, directly on asyncio's transports.

httpcore reads through anyio, which opens a cancel scope and re-registers the socket for each read. When events arrive
one by one, that is a third of a stream's CPU. asyncio's transports register the socket once, and a read here waits for
one future. Everything above the bytes (pool, HTTP, TLS context, proxies, client interface) is httpx's and httpcore's.
"""

from __future__ import annotations

import asyncio
from functools import partial
from math import inf
from time import monotonic
from typing import TYPE_CHECKING, Any, cast

import anyio
import httpcore

from linkspan.transport.cancellation import run_to_end
from linkspan.transport.connections import OpenConnections, Unread
from linkspan.transport.deadline import Deadline
from linkspan.transport.happy_eyeballs import addresses_of, first_connected

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Coroutine, Iterable

__all__ = ["AsyncioBackend"]

#: With more unread bytes than this, reading pauses, so that a slow reader slows down its server.
_MOST_UNREAD = 256 * 1024
#: A request counts as sent when at most this many bytes are still buffered.
_MOST_UNSENT = 64 * 1024
#: Seconds between two checks of how much of a long request was sent; asyncio's TLS does not report it.
_UNSENT_INTERVAL = 0.01


class AsyncioBackend(httpcore.AsyncNetworkBackend):
    """Opens connections. Unix sockets and connection retries are not supported, because linkspan does not use them.

    Attributes:
        connections: The open connections.
    """

    def __init__(self) -> None:
        self.connections = OpenConnections()
        anyio.current_time()  # loads anyio's asyncio backend now, while a fork waits for it

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109  # httpcore's signature, here and below
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Open a connection."""
        try:
            with anyio.fail_after(timeout):
                addresses = await addresses_of(host, port)
                connection = await first_connected(
                    [partial(self._connect, address, port, local_address) for address in addresses], _Connection.abort
                )
        except TimeoutError as exc:
            raise httpcore.ConnectTimeout(str(exc)) from exc
        except OSError as exc:
            raise httpcore.ConnectError(str(exc)) from exc
        for option in socket_options or ():
            connection.get_extra_info("socket").setsockopt(*option)
        try:
            self.connections.add(connection)
        except httpcore.ConnectError:
            connection.abort()
            raise
        return connection

    def abort(self) -> None:
        """Close all connections at once; those that are being opened are dropped."""
        self.connections.closed = True
        for connection in self.connections:
            connection.abort()

    async def _connect(self, address: str, port: int, local_address: str | None) -> _Connection:
        loop = asyncio.get_running_loop()
        local = None if local_address is None else (local_address, 0)
        _, connection = await loop.create_connection(lambda: _Connection(loop, self), address, port, local_addr=local)
        return connection


class _Connection(asyncio.Protocol, httpcore.AsyncNetworkStream):
    """One connection: buffers what asyncio delivers until httpcore reads it."""

    def __init__(self, loop: asyncio.AbstractEventLoop, backend: AsyncioBackend) -> None:
        self._loop = loop
        self._backend = backend
        self._transport: asyncio.Transport
        self._socket_transport: asyncio.Transport  # the same, or the one below TLS
        self._unread = Unread()
        self._is_paused = False
        self._has_ended = False
        self._failure: Exception | None = None
        self._arrival: asyncio.Future[None] | None = None
        self._alarm_due = inf
        self._alarm: asyncio.TimerHandle | None = None
        #: Deadline of the answer being read. Without one, the first read after a request sets it, so that neither a
        #: slow head nor "100 Continue" extends the time until the answer begins.
        self.deadline: Deadline | None = None
        #: Called when a read is cancelled, before the cancellation propagates. httpcore would clean up next, but in the
        #: cancelled task, where it may be cancelled again: see linkspan.transport.cancellation.
        self.on_cancel: Callable[[], Coroutine[Any, Any, None]] | None = None

    # ------------------------------------------------------------------ called by asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport."""
        self._transport = self._socket_transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Buffer bytes and wake the reader."""
        self._unread.add(data)
        if len(self._unread) > _MOST_UNREAD and not self._is_paused:
            self._is_paused = True
            self._transport.pause_reading()
        self._wake_reader()

    def eof_received(self) -> None:
        """Note that the peer ended; asyncio then closes the transport."""
        self._has_ended = True
        self._wake_reader()

    def connection_lost(self, exc: Exception | None) -> None:
        """Note the end and wake all waiters."""
        self._has_ended = True
        self._failure = exc
        self._wake_reader()
        if self._alarm is not None:
            self._alarm.cancel()

    # ------------------------------------------------------------------ called by httpcore

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109
        if self.deadline is None:
            self.deadline = Deadline(timeout)
        timeout = self.deadline.bound(timeout)
        if timeout is not None and timeout <= 0:
            raise httpcore.ReadTimeout("The deadline passed")
        try:
            if not self._unread and not self._has_ended:
                await self._wait_for_bytes(timeout)
            else:
                await asyncio.sleep(0)  # a server that is faster than its reader must not block the event loop
        except asyncio.CancelledError:
            if self.on_cancel is not None:
                await run_to_end(self.on_cancel())
            raise
        if not self._unread and self._failure is not None:
            raise httpcore.ReadError(str(self._failure)) from self._failure
        data = self._unread.take(max_bytes)
        if self._is_paused and len(self._unread) <= _MOST_UNREAD // 2:
            self._is_paused = False
            self._transport.resume_reading()
        return data

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109
        self.deadline = None
        if not buffer:
            return
        if not self._transport.is_closing():
            self._transport.write(buffer)
            if self._unsent() > _MOST_UNSENT:
                await self._wait_until_sent(timeout)
        if self._transport.is_closing():
            raise httpcore.WriteError(str(self._failure or "The connection is closed")) from self._failure

    async def aclose(self) -> None:
        self.abort()
        await asyncio.sleep(0)  # the loop closes the socket in its next iteration

    def abort(self) -> None:
        """Close at once, without sending buffered bytes or TLS's close_notify."""
        self._backend.connections.discard(self)
        self._transport.abort()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109
    ) -> httpcore.AsyncNetworkStream:
        try:
            with anyio.fail_after(timeout):
                transport = await self._loop.start_tls(
                    self._transport, self, ssl_context, server_hostname=server_hostname
                )
        except TimeoutError as exc:
            self.abort()
            raise httpcore.ConnectTimeout(str(exc)) from exc
        except OSError as exc:  # those of TLS included
            self.abort()
            raise httpcore.ConnectError(str(exc)) from exc
        except asyncio.CancelledError:
            self.abort()
            raise
        if transport is None:
            self.abort()
            raise httpcore.ConnectError("The connection was closed during the TLS handshake")
        self._transport = transport
        return self

    def get_extra_info(self, info: str) -> Any:
        if info == "is_readable":  # checked on idle connections: has the peer ended?
            unread = self._unread
            return bool(unread) or unread.is_suspect or self._has_ended or self._transport.is_closing()
        names = {"client_addr": "sockname", "server_addr": "peername"}
        return self._transport.get_extra_info(names.get(info, info))

    # ------------------------------------------------------------------ waiting

    def _wake_reader(self) -> None:
        if self._arrival is not None and not self._arrival.done():
            self._arrival.set_result(None)

    async def _wait_for_bytes(self, seconds: float | None) -> None:
        self._arrival = self._loop.create_future()
        self._alarm_due = inf if seconds is None else self._loop.time() + seconds
        self._set_alarm()
        try:
            await self._arrival
        finally:
            self._arrival = None

    def _set_alarm(self) -> None:
        """Set an alarm for the deadline, or earlier.

        An early alarm is rescheduled, because each read moves the deadline. One alarm per read would cost a tenth of
        the CPU of a stream whose events arrive one by one.
        """
        if self._alarm is not None and self._alarm.when() > self._alarm_due:
            self._alarm.cancel()
            self._alarm = None
        if self._alarm is None and self._alarm_due < inf:
            self._alarm = self._loop.call_at(self._alarm_due, self._ring, self._alarm_due)

    def _ring(self, time: float) -> None:
        self._alarm = None
        if self._arrival is None or self._arrival.done():
            return
        if self._alarm_due > time:
            self._set_alarm()
        else:
            self._arrival.set_exception(httpcore.ReadTimeout())

    def _unsent(self) -> int:
        return self._socket_transport.get_write_buffer_size()

    async def _wait_until_sent(self, seconds: float | None) -> None:
        """Wait until nearly all is sent. The timeout bounds a pause of the reader, not the whole."""
        left, since = self._unsent(), monotonic()
        while left > _MOST_UNSENT and not self._transport.is_closing():
            await asyncio.sleep(_UNSENT_INTERVAL)
            now = monotonic()
            if self._unsent() < left:
                left, since = self._unsent(), now
            elif seconds is not None and now - since >= seconds:
                raise httpcore.WriteTimeout("The server does not read the request")
