"""A connection in httpcore's pool that always frees its slot, even if its call is cancelled.

httpcore 1.0 shields its clean-up from anyio's cancel scopes, but not from ``Task.cancel()``. If that happens in the
loop iteration in which httpcore takes a connection, or removes one after a failure, the connection stays in the pool
forever, neither reused nor closed. ``create_connection`` is the pool's public hook for connections.
"""

from __future__ import annotations

import asyncio
from functools import partial

import httpcore

from linkspan.transport.bodies import END_OF_CONNECTION
from linkspan.transport.cancellation import run_to_end

__all__ = ["PooledConnection"]


class PooledConnection(httpcore.AsyncConnectionInterface):
    """One of httpcore's connections."""

    def __init__(self, connection: httpcore.AsyncConnectionInterface) -> None:
        self._connection = connection
        self._is_unused = True
        self._is_dropped = False
        self._answer: object | None = None  # placeholder while an answer is being read

    async def handle_async_request(self, request: httpcore.Request) -> httpcore.Response:
        """Send a request."""
        if self._is_dropped:
            raise httpcore.ConnectionNotAvailable
        self._is_unused = False
        self._answer = None
        try:
            response = await self._connection.handle_async_request(request)
        except asyncio.CancelledError:
            await run_to_end(self.aclose())
            raise
        self._answer = answer = object()
        response.extensions[END_OF_CONNECTION] = partial(self._end, answer)
        return response

    async def _end(self, answer: object) -> None:
        """Close after an answer, unless the connection can be reused or is in use."""
        if self._answer is answer and not (self.is_idle() or self.is_closed()):
            await self.aclose()

    def drop_unused(self) -> None:
        """Free the slot if nothing was ever sent. A call that is about to send gets another connection."""
        self._is_dropped = self._is_dropped or self._is_unused

    async def aclose(self) -> None:
        """Close."""
        await self._connection.aclose()

    def info(self) -> str:
        """Return httpcore's description."""
        return self._connection.info()

    def can_handle_request(self, origin: httpcore.Origin) -> bool:
        """Return whether a request to this server may use this connection."""
        return self._connection.can_handle_request(origin)

    def is_available(self) -> bool:
        """Return whether a request can be sent now."""
        return self._connection.is_available()

    def has_expired(self) -> bool:
        """Return whether an idle connection must not be reused."""
        return self._connection.has_expired()

    def is_idle(self) -> bool:
        """Return whether no request is running."""
        return self._connection.is_idle()

    def is_closed(self) -> bool:
        """Return whether the slot is free for another connection."""
        return self._is_dropped or self._connection.is_closed()
