"""Connections of asyncio's own for httpx clients on its event loop.

httpcore reads asynchronously through anyio, which for each read opens a cancel scope and has the loop's selector watch
the socket anew. Where a model generates and each event is read for itself, that is a third of a stream's CPU. asyncio's
transports watch the socket once, and a read here waits for one future. Everything above the bytes (pool, HTTP, TLS
context, proxies, the client's interface) stays httpx's and httpcore's.
"""

from __future__ import annotations

import asyncio
from math import inf
from typing import TYPE_CHECKING, Any, cast

import anyio
import httpcore

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterable

    import httpx

__all__ = ["use_asyncio_connections"]

#: Unread bytes beyond which a connection is read no further, so that a slow reader slows its server.
_MOST_UNREAD = 256 * 1024
#: Seconds before the next address of a host is tried beside the one before (RFC 8305).
_NEXT_ADDRESS_DELAY = 0.25


def use_asyncio_connections(client: httpx.AsyncClient) -> None:
    """Have a new client connect through asyncio itself where it connects without a proxy.

    The client stays as it is on event loops that are not asyncio's own (uvloop knows no happy eyeballs), and should a
    later httpx keep its pool elsewhere.
    """
    pool = getattr(getattr(client, "_transport", None), "_pool", None)
    is_asyncio = isinstance(asyncio.get_running_loop(), asyncio.BaseEventLoop)
    if is_asyncio and isinstance(pool, httpcore.AsyncConnectionPool) and hasattr(pool, "_network_backend"):
        pool._network_backend = _AsyncioBackend()  # noqa: SLF001  # httpx has no public way to hand it over


class _AsyncioBackend(httpcore.AsyncNetworkBackend):
    """Opens connections. Unix sockets and retries of connecting, which linkspan's clients do without, are left out."""

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109  # httpcore's signature, here and below
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        loop = asyncio.get_running_loop()
        try:
            with anyio.fail_after(timeout):
                _, connection = await loop.create_connection(
                    lambda: _Connection(loop),
                    host,
                    port,
                    local_addr=None if local_address is None else (local_address, 0),
                    happy_eyeballs_delay=_NEXT_ADDRESS_DELAY,
                )
        except TimeoutError as exc:
            raise httpcore.ConnectTimeout(str(exc)) from exc
        except OSError as exc:
            raise httpcore.ConnectError(str(exc)) from exc
        for option in socket_options or ():
            connection.get_extra_info("socket").setsockopt(*option)
        return connection


class _Connection(asyncio.Protocol, httpcore.AsyncNetworkStream):
    """One connection: what asyncio delivers to it is kept until httpcore reads it."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._transport: asyncio.Transport
        self._unread = b""
        self._is_paused = False
        self._has_ended = False
        self._failure: Exception | None = None
        self._arrival: asyncio.Future[None] | None = None
        self._deadline = inf
        self._alarm: asyncio.TimerHandle | None = None
        self._may_write = asyncio.Event()
        self._may_write.set()

    # ------------------------------------------------------------------ called by asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Keep bytes, and wake their reader."""
        self._unread = self._unread + data if self._unread else data
        if len(self._unread) > _MOST_UNREAD and not self._is_paused:
            self._is_paused = True
            self._transport.pause_reading()
        self._wake_reader()

    def eof_received(self) -> None:
        """Note that the other side ended; asyncio then closes the transport."""
        self._has_ended = True
        self._wake_reader()

    def connection_lost(self, exc: Exception | None) -> None:
        """Note the end, and wake whoever waits."""
        self._has_ended = True
        self._failure = exc
        self._wake_reader()
        if self._alarm is not None:
            self._alarm.cancel()
        self._may_write.set()

    def pause_writing(self) -> None:
        """Let writers wait: the other side does not take what was sent."""
        self._may_write.clear()

    def resume_writing(self) -> None:
        """Let writers go on."""
        self._may_write.set()

    # ------------------------------------------------------------------ called by httpcore

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109
        if not self._unread and not self._has_ended:
            await self._wait_for_bytes(timeout)
        data = self._unread
        if not data and self._failure is not None:
            raise httpcore.ReadError(str(self._failure)) from self._failure
        self._unread = data[max_bytes:]
        if self._is_paused and len(self._unread) <= _MOST_UNREAD // 2:
            self._is_paused = False
            self._transport.resume_reading()
        return data[:max_bytes]

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109
        if not buffer:
            return
        if not self._transport.is_closing():
            self._transport.write(buffer)
            if not self._may_write.is_set():
                await self._wait_for_room(timeout)
        if self._transport.is_closing():
            raise httpcore.WriteError(str(self._failure or "The connection is closed")) from self._failure

    async def aclose(self) -> None:
        self._transport.abort()  # nothing that is still to be sent matters, nor a farewell in TLS
        await asyncio.sleep(0)  # the loop closes the socket at its next turn

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
            self._transport.abort()
            raise httpcore.ConnectTimeout(str(exc)) from exc
        except OSError as exc:  # those of TLS included
            self._transport.abort()
            raise httpcore.ConnectError(str(exc)) from exc
        except asyncio.CancelledError:
            self._transport.abort()
            raise
        if transport is None:
            raise httpcore.ConnectError("The connection was closed during the TLS handshake")
        self._transport = transport
        return self

    def get_extra_info(self, info: str) -> Any:
        if info == "is_readable":  # asked of idle connections: has the other side ended?
            return bool(self._unread) or self._has_ended or self._transport.is_closing()
        names = {"client_addr": "sockname", "server_addr": "peername"}
        return self._transport.get_extra_info(names.get(info, info))

    # ------------------------------------------------------------------ waiting

    def _wake_reader(self) -> None:
        if self._arrival is not None and not self._arrival.done():
            self._arrival.set_result(None)

    async def _wait_for_bytes(self, seconds: float | None) -> None:
        self._arrival = self._loop.create_future()
        self._deadline = inf if seconds is None else self._loop.time() + seconds
        self._set_alarm()
        try:
            await self._arrival
        finally:
            self._arrival = None

    def _set_alarm(self) -> None:
        """See to it that an alarm rings at the deadline, or before.

        One that rings too early is set anew, since each read moves the deadline: to set and cancel one for each costs a
        tenth of the CPU of a stream whose events come one by one.
        """
        if self._alarm is not None and self._alarm.when() > self._deadline:
            self._alarm.cancel()
            self._alarm = None
        if self._alarm is None and self._deadline < inf:
            self._alarm = self._loop.call_at(self._deadline, self._ring, self._deadline)

    def _ring(self, time: float) -> None:
        self._alarm = None
        if self._arrival is None or self._arrival.done():
            return
        if self._deadline > time:
            self._set_alarm()
        else:
            self._arrival.set_exception(httpcore.ReadTimeout())

    async def _wait_for_room(self, seconds: float | None) -> None:
        try:
            with anyio.fail_after(seconds):
                await self._may_write.wait()
        except TimeoutError as exc:
            raise httpcore.WriteTimeout(str(exc)) from exc
