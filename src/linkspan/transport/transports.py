"""httpx transports over connection pools that use linkspan's own connections.

httpx has no argument for ``network_backend``, so these classes create their pools. ``_pool`` is the only private name
used, and ``tests/transport/test_transports.py`` fails if a later httpx no longer reads it.
"""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Any

import httpcore
import httpx

from linkspan.transport.pooled_connection import PooledConnection

if TYPE_CHECKING:
    import ssl

    from linkspan.transport.asyncio_network import AsyncioBackend
    from linkspan.transport.connections import SyncBackend
    from linkspan.transport.environment import Proxies

__all__ = ["AsyncTransport", "SyncTransport", "async_transports", "sync_transports"]

#: At most 1000 calls run at once and the rest wait, up to their timeout, because many systems limit a process to 1024
#: file descriptors. Few idle connections are kept, because httpcore 1.0's pool compares all pairs of them at each call:
#: with 100 idle ones, a call costs ten times as much as with 20 (measured).
MAX_CONNECTIONS = 1000
_LIMITS = {"max_keepalive_connections": 20, "keepalive_expiry": 30.0}


class SyncTransport(httpx.HTTPTransport):
    """Sends sync requests.

    ``direct`` is the transport for hosts without a proxy, and a function that identifies them.
    """

    def __init__(
        self,
        backend: SyncBackend,
        context: ssl.SSLContext,
        proxy: httpx.Proxy | None = None,
        direct: tuple[SyncTransport, Proxies] | None = None,
    ) -> None:
        self._direct = direct
        settings = _pool_settings(backend, context, proxy)
        if proxy is None:
            self._pool = httpcore.ConnectionPool(**settings)
        elif proxy.url.scheme.startswith("socks"):
            self._pool = httpcore.SOCKSProxy(**settings)
        else:
            self._pool = httpcore.HTTPProxy(**settings)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request."""
        if self._direct is not None and self._direct[1].is_direct(request.url.host):
            return self._direct[0].handle_request(request)
        return _without_reason(super().handle_request(request))

    def is_idle(self) -> bool:
        """Return whether no request is running."""
        return all(connection.is_idle() for connection in self._pool.connections)


class AsyncTransport(httpx.AsyncHTTPTransport):
    """Sends async requests; see :class:`SyncTransport`.

    Without a ``backend``, httpcore opens the connections: for event loops other than asyncio's.
    """

    def __init__(
        self,
        backend: AsyncioBackend | None,
        context: ssl.SSLContext,
        proxy: httpx.Proxy | None = None,
        direct: tuple[AsyncTransport, Proxies] | None = None,
    ) -> None:
        self._direct = direct
        settings = _pool_settings(backend, context, proxy)
        if proxy is None:
            self._pool = _Pool(**settings)
        elif proxy.url.scheme.startswith("socks"):
            self._pool = _SOCKSProxy(**settings)
        else:
            self._pool = _HTTPProxy(**settings)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request."""
        if self._direct is not None and self._direct[1].is_direct(request.url.host):
            return await self._direct[0].handle_async_request(request)
        try:
            return _without_reason(await super().handle_async_request(request))
        except asyncio.CancelledError:
            for connection in self._pool.connections:
                if isinstance(connection, PooledConnection):
                    connection.drop_unused()
            raise


class _PooledConnections:
    """Mixin for httpcore's pools: each connection is linkspan's."""

    def create_connection(self, origin: httpcore.Origin) -> httpcore.AsyncConnectionInterface:
        return PooledConnection(super().create_connection(origin))  # type: ignore[misc]  # the pool's


class _Pool(_PooledConnections, httpcore.AsyncConnectionPool):
    pass


class _HTTPProxy(_PooledConnections, httpcore.AsyncHTTPProxy):
    pass


class _SOCKSProxy(_PooledConnections, httpcore.AsyncSOCKSProxy):
    pass


def sync_transports(
    backend: SyncBackend, context: ssl.SSLContext, proxies: Proxies
) -> tuple[SyncTransport, dict[str, SyncTransport | None]]:
    """Return the transport without a proxy, and httpx's ``mounts`` for those with one."""
    direct = SyncTransport(backend, context)
    by_network = (direct, proxies) if proxies.direct_networks else None
    return direct, {
        pattern: None if proxy is None else SyncTransport(backend, context, proxy, by_network)
        for pattern, proxy in proxies.by_pattern.items()
    }


def async_transports(
    backend: AsyncioBackend | None, context: ssl.SSLContext, proxies: Proxies
) -> tuple[AsyncTransport, dict[str, AsyncTransport | None]]:
    """Return the transport without a proxy, and httpx's ``mounts`` for those with one."""
    direct = AsyncTransport(backend, context)
    by_network = (direct, proxies) if proxies.direct_networks else None
    return direct, {
        pattern: None
        if proxy is None
        else AsyncTransport(backend if _can_reach(proxy) else None, context, proxy, by_network)
        for pattern, proxy in proxies.by_pattern.items()
    }


def _without_reason(response: httpx.Response) -> httpx.Response:
    """Remove the reason phrase of the status line, because httpx logs it and a server may repeat a key there."""
    response.extensions.pop("reason_phrase", None)
    return response


def _can_reach(proxy: httpx.Proxy) -> bool:
    """Return whether asyncio supports it: TLS to a server within TLS to its proxy needs Python 3.11."""
    return proxy.url.scheme != "https" or sys.version_info >= (3, 11)


def _pool_settings(backend: Any, context: ssl.SSLContext, proxy: httpx.Proxy | None) -> dict[str, Any]:
    settings = {
        "ssl_context": context,
        "network_backend": backend,
        "max_connections": MAX_CONNECTIONS,
        **_LIMITS,
    }
    if proxy is None:
        return settings
    settings["proxy_url"] = httpcore.URL(
        scheme=proxy.url.raw_scheme, host=proxy.url.raw_host, port=proxy.url.port, target=proxy.url.raw_path
    )
    settings["proxy_auth"] = proxy.raw_auth
    if not proxy.url.scheme.startswith("socks"):
        settings["proxy_headers"] = proxy.headers.raw
    return settings
