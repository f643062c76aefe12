"""The httpx clients behind one :class:`~linkspan.transport.HttpClient`: made when needed, one per event loop."""

from __future__ import annotations

import asyncio
import functools
import os
import threading
import weakref
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import httpx

from linkspan import __version__
from linkspan.errors import ConfigurationError

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncGenerator

__all__ = ["Clients", "shared_tls_context"]

_Client = TypeVar("_Client", httpx.Client, httpx.AsyncClient)

USER_AGENT = f"linkspan/{__version__}"

#: At most 1000 calls run at once and the rest wait, as long as their timeout: each connection takes a file descriptor,
#: of which many systems give a process 1024. Few idle connections are kept, because the pool of httpcore 1.0 goes
#: through all pairs of them at each call: with 100 idle ones a call costs ten times as much as with 20 (measured).
_LIMITS = httpx.Limits(max_connections=1000, max_keepalive_connections=20, keepalive_expiry=30.0)


def shared_tls_context() -> ssl.SSLContext:
    """Return the TLS context of this process: making one takes tens of milliseconds, so all clients share it.

    Certificates are verified as httpx does by default, ``SSL_CERT_FILE`` and ``SSL_CERT_DIR`` included.
    """
    return _tls_context(os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR"))


_tls_lock = threading.Lock()


def _tls_context(cert_file: str | None, cert_dir: str | None) -> ssl.SSLContext:
    with _tls_lock:  # a cache alone would let threads that start together make one each
        return _new_tls_context(cert_file, cert_dir)


@functools.lru_cache(maxsize=4)
def _new_tls_context(cert_file: str | None, cert_dir: str | None) -> ssl.SSLContext:  # noqa: ARG001  # the cache's key
    return httpx.create_ssl_context()


class _LoopClient(NamedTuple):
    client: httpx.AsyncClient
    keeper: AsyncGenerator[None, None]


class Clients:
    """Hands out the sync client, and the async client of the running event loop.

    Args:
        http_client: A client to use instead of an own one. It is never closed.
        http_async_client: The same for async calls; the user answers for using it on one loop only.
    """

    def __init__(self, http_client: httpx.Client | None, http_async_client: httpx.AsyncClient | None) -> None:
        self.http_client = http_client
        self.http_async_client = http_async_client
        self._reset()

    def _reset(self) -> None:
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._sync: httpx.Client | None = None
        self._finalizer: weakref.finalize[..., Clients] | None = None
        # Not weakly keyed: an open client refers to its loop, so such an entry would never go. See _drop_dead_loops.
        self._by_loop: dict[asyncio.AbstractEventLoop, _LoopClient] = {}

    def _leave_parent_process(self) -> None:
        """Forget what a parent process made: two processes must not talk on one connection."""
        if self._pid != os.getpid():
            if self._finalizer is not None:
                self._finalizer.detach()
            self._reset()

    def sync(self) -> httpx.Client:
        """Return the client for sync calls."""
        if self.http_client is not None:
            return _usable(self.http_client, "http_client")
        self._leave_parent_process()
        client = self._sync
        if client is None:
            with self._lock:
                client = self._sync
                if client is None:
                    client = httpx.Client(verify=shared_tls_context(), limits=_LIMITS, headers=_own_headers())
                    self._finalizer = weakref.finalize(self, client.close)
                    self._sync = client
        return client

    async def for_running_loop(self) -> httpx.AsyncClient:
        """Return the client for async calls on the running event loop."""
        if self.http_async_client is not None:
            return _usable(self.http_async_client, "http_async_client")
        self._leave_parent_process()
        loop = asyncio.get_running_loop()
        entry = self._by_loop.get(loop)
        if entry is None or entry.client.is_closed:
            from linkspan.transport.asyncio_network import use_asyncio_connections  # noqa: PLC0415  # async alone

            client = httpx.AsyncClient(verify=shared_tls_context(), limits=_LIMITS, headers=_own_headers())
            use_asyncio_connections(client)
            entry = _LoopClient(client, _keep_open(client))
            with self._lock:
                self._drop_dead_loops()
                self._by_loop[loop] = entry
            await anext(entry.keeper)
        return entry.client

    def _drop_dead_loops(self) -> None:
        for loop in [loop for loop in self._by_loop if loop.is_closed()]:
            del self._by_loop[loop]

    def close(self) -> None:
        """Close the sync client, and let each event loop close its own one."""
        self._leave_parent_process()
        with self._lock:
            client, self._sync = self._sync, None
            if self._finalizer is not None:
                self._finalizer.detach()
                self._finalizer = None
            self._by_loop.clear()  # the event loops see to keepers that nobody holds
        if client is not None:
            client.close()

    async def aclose(self) -> None:
        """Close the async client of the running event loop, then as :meth:`close`."""
        self._leave_parent_process()
        with self._lock:
            entry = self._by_loop.pop(asyncio.get_running_loop(), None)
        if entry is not None:
            await entry.keeper.aclose()
        self.close()


async def _keep_open(client: httpx.AsyncClient) -> AsyncGenerator[None, None]:
    """Hold a client, and close it when the event loop ends or nobody needs it any more.

    Connections must be closed on their own loop. An async generator is what a loop looks after: it closes those that
    are dropped, and at its end (``asyncio.run`` and all runners call ``shutdown_asyncgens``) those that are left.
    """
    try:
        yield
    finally:
        await client.aclose()


def _own_headers() -> dict[str, str]:
    return {"user-agent": USER_AGENT}


def _usable(client: _Client, name: str) -> _Client:
    if client.is_closed:
        raise ConfigurationError(f"{name} is closed: pass one that is open, or none to have it made")
    return client
