"""uvicorn's server as the sandbox needs it: it signals that it listens, stops at once, and can cut one connection."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

if TYPE_CHECKING:
    import asyncio
    import socket
    import threading
    from collections.abc import Mapping

__all__ = ["SignallingServer", "protocol_that_registers_in"]


class SignallingServer(uvicorn.Server):
    """uvicorn's server; it signals when it listens, and stops without waiting for clients."""

    def __init__(
        self, config: uvicorn.Config, started: threading.Event, connections: Mapping[Any, asyncio.Transport]
    ) -> None:
        super().__init__(config)
        self._told_when_started = started
        self._open_connections = connections

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, and signal it."""
        await super().startup(sockets)
        self._told_when_started.set()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop, without waiting for clients."""
        for transport in list(self._open_connections.values()):
            transport.close()
        await super().shutdown(sockets)


def protocol_that_registers_in(connections: dict[Any, asyncio.Transport]) -> type[asyncio.Protocol]:
    """Return a protocol for HTTP that keeps the open connections in ``connections``."""

    class RegisteringProtocol(H11Protocol):
        """Registers open connections by the client's address, so that one can be cut on request."""

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
            super().connection_made(transport)
            connections[self.client] = transport

        def connection_lost(self, exc: Exception | None) -> None:
            connections.pop(self.client, None)
            super().connection_lost(exc)

    return RegisteringProtocol
