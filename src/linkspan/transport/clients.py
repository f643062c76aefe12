"""The httpx clients of one :class:`~linkspan.transport.HttpClient`, created on demand, one per event loop."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import weakref
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import httpx

from linkspan.errors import ConfigurationError
from linkspan.locks import fork_waits
from linkspan.transport.environment import proxies_of_environment, shared_tls_context

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from linkspan.transport.asyncio_network import AsyncioBackend
    from linkspan.transport.connections import SyncBackend
    from linkspan.transport.transports import SyncTransport

__all__ = ["Clients", "running_loop", "sent_by"]

_Client = TypeVar("_Client", httpx.Client, httpx.AsyncClient)


class _SyncClient(NamedTuple):
    client: httpx.Client
    transports: tuple[SyncTransport, ...]
    backend: SyncBackend


class _LoopClient(NamedTuple):
    client: httpx.AsyncClient
    keeper: AsyncGenerator[None, None]


class Clients:
    """Returns the sync client, and the async client of the running event loop.

    Clients passed in are used instead of creating some, and never closed. An async one must be used on one loop only.
    """

    def __init__(self, http_client: httpx.Client | None, http_async_client: httpx.AsyncClient | None) -> None:
        self.http_client = http_client
        self.http_async_client = http_async_client
        self._reset()

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._sync: _SyncClient | None = None
        self._finalizer: weakref.finalize[..., Clients] | None = None
        # Not weakly keyed: an open client refers to its loop, so the entry would never disappear. See _drop_dead_loops.
        self._by_loop: dict[asyncio.AbstractEventLoop, _LoopClient] = {}
        self._pid = os.getpid()  # set last: another thread that sees it assumes that the rest belongs to this process

    def _leave_parent_process(self) -> None:
        """Drop a parent process's clients: two processes must not share a connection."""
        if self._pid != os.getpid():  # pragma: no cover  # in a forked child, which coverage does not see
            if self._finalizer is not None:
                self._finalizer.detach()
            self._reset()

    def sync(self) -> httpx.Client:
        """Return the client for sync calls."""
        if self.http_client is not None:
            return _usable(self.http_client, "http_client")
        self._leave_parent_process()
        entry = self._sync
        if entry is None:
            with self._lock:
                entry = self._sync
                if entry is None:  # pragma: no branch  # another thread may have been first, or not
                    entry = self._sync = _new_sync_client()
                    self._finalizer = weakref.finalize(self, _close_here, entry, os.getpid())
        return entry.client

    async def for_running_loop(self) -> httpx.AsyncClient:
        """Return the client for async calls on the running event loop.

        Raises:
            ConfigurationError: The event loop is not asyncio's.
        """
        loop = running_loop()
        if self.http_async_client is not None:
            return _usable(self.http_async_client, "http_async_client")
        self._leave_parent_process()
        entry = self._by_loop.get(loop)
        if entry is None or entry.client.is_closed:
            entry = _new_loop_client(loop)
            with self._lock:
                self._drop_dead_loops()
                self._by_loop[loop] = entry
            await anext(entry.keeper)
        return entry.client

    def _drop_dead_loops(self) -> None:
        for loop in [loop for loop in self._by_loop if loop.is_closed()]:
            del self._by_loop[loop]

    def close(self) -> None:
        """Close the sync client, and let each event loop close its own. Running calls end with it."""
        self._leave_parent_process()
        with self._lock:
            entry, self._sync = self._sync, None
            if self._finalizer is not None:
                self._finalizer.detach()
                self._finalizer = None
            self._by_loop.clear()  # event loops close keepers that nobody holds
        if entry is not None:
            # First, because a thread that waits for a closed socket would wait until its timeout.
            entry.backend.connections.shut_down()
            entry.client.close()

    async def aclose(self) -> None:
        """Close the async client of the running event loop, then do the same as :meth:`close`."""
        loop = running_loop()
        self._leave_parent_process()
        with self._lock:
            entry = self._by_loop.pop(loop, None)
        if entry is not None:
            await entry.keeper.aclose()
            await entry.client.aclose()  # under nest_asyncio its keeper has not done so
        self.close()


def _close_here(entry: _SyncClient, pid: int) -> None:
    """Close a client that is no longer used, or whose process ends.

    Not in a forked child, where the connections are the parent's. Not during calls of daemon threads, which must not
    print errors because the process ends.
    """
    if os.getpid() == pid and all(transport.is_idle() for transport in entry.transports):
        entry.client.close()


def running_loop() -> asyncio.AbstractEventLoop:
    """Return the running event loop.

    Raises:
        ConfigurationError: No asyncio event loop is running.
    """
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        raise ConfigurationError(
            "Async calls need an asyncio event loop, and none is running here. Under trio, make sync calls in "
            "threads (trio.to_thread.run_sync)"
        ) from None


def _new_sync_client() -> _SyncClient:
    with fork_waits:
        from linkspan.transport.connections import SyncBackend  # noqa: PLC0415  # httpcore comes with the first call
        from linkspan.transport.transports import sync_transports  # noqa: PLC0415

        backend = SyncBackend()
        transport, mounts = sync_transports(backend, shared_tls_context(), proxies_of_environment())
        client = httpx.Client(transport=transport, mounts=mounts)
        proxied = [mounted for mounted in mounts.values() if mounted is not None]
        return _SyncClient(client, (transport, *proxied), backend)


def _new_loop_client(loop: asyncio.AbstractEventLoop) -> _LoopClient:
    with fork_waits:
        from linkspan.transport.transports import async_transports  # noqa: PLC0415  # as above

        backend = None
        if isinstance(loop, asyncio.BaseEventLoop):  # linkspan's connections are tested on no other loops
            from linkspan.transport.asyncio_network import AsyncioBackend  # noqa: PLC0415

            backend = AsyncioBackend()
        transport, mounts = async_transports(backend, shared_tls_context(), proxies_of_environment())
        client = httpx.AsyncClient(transport=transport, mounts=mounts)
        return _LoopClient(client, _keep_open(client, backend))


async def _keep_open(client: httpx.AsyncClient, backend: AsyncioBackend | None) -> AsyncGenerator[None, None]:
    """Hold a client, and close it when the event loop ends or the client is no longer used.

    Connections must be closed on their own loop. Loops track async generators: they close those that are dropped and,
    at their end (``asyncio.run`` and all runners call ``shutdown_asyncgens``), those that remain. Under nest_asyncio,
    loops do not. Then the garbage collector ends the generator outside of any loop, where nothing can be awaited: the
    connections are shut down here, and the loop or the collector closes them.
    """
    is_looked_after = sys.get_asyncgen_hooks().finalizer is not None
    try:
        yield
    finally:
        if is_looked_after:
            if backend is not None:
                backend.abort()  # first, because a loop that ends cancels this: asyncio.run does
            await client.aclose()
        elif backend is not None:
            backend.connections.shut_down()


def sent_by(client: httpx.Client | httpx.AsyncClient) -> dict[str, str]:
    """Return what a user's client adds to requests: parameters, headers, cookies and Basic authentication."""
    sent = {**client.params, **client.headers}
    if isinstance(client.auth, httpx.BasicAuth):
        request = next(client.auth.auth_flow(httpx.Request("GET", "http://localhost")))
        sent["authorization"] = request.headers["authorization"]
    if len(client.cookies):
        sent["cookie"] = "; ".join(f"{cookie.name}={cookie.value}" for cookie in client.cookies.jar)
    return sent


def _usable(client: _Client, name: str) -> _Client:
    if client.is_closed:
        raise ConfigurationError(f"{name} is closed: pass an open one, or leave it out")
    return client
