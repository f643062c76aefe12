"""A moving deadline for the reads of one response.

httpcore takes the read timeout once per body, so it can bound the silence between two *reads* but not between two
*events*: a server's keep-alive comments would hide a stalled model for ever. The response, however, hands out the very
object that the connection reads from (the documented ``network_stream`` extension), and that object's ``read`` is
looked up for each read. For as long as the response is read, this module puts its own ``read`` in front.
"""

from __future__ import annotations

import asyncio
from math import inf
from time import monotonic
from typing import TYPE_CHECKING, Any

import httpx

from linkspan.transport.cancellation import finished

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["AsyncReadDeadline", "ReadDeadline"]


class ReadDeadline:
    """Bounds how long the reads of one response may take together.

    Args:
        response: The response whose body is about to be read.
        limit: Seconds allowed from one restart to the next; ``None``: no limit.

    Attributes:
        restart: Set to ``True`` when an event was handed out: the clock starts anew at the next read, so the time
            that the reader takes for itself does not count.
        attached: Whether single reads are bounded. Otherwise (HTTP/2, where one connection carries many responses, or
            a transport that is no socket) only :meth:`passed` tells, between two chunks.
    """

    __slots__ = ("_at", "_limit", "_network_stream", "_read", "_response", "attached", "restart")

    def __init__(self, response: httpx.Response, limit: float | None) -> None:
        self._response = response
        self._limit = inf if limit is None else limit
        self._at = inf
        self._network_stream: Any = None
        self._read: Callable[..., Any]
        self.restart = True
        self.attached = False
        if response.extensions.get("http_version", b"").startswith(b"HTTP/1"):
            self._attach(response.extensions.get("network_stream"))

    def _attach(self, network_stream: Any) -> None:
        read = getattr(network_stream, "read", None)
        if read is None:
            return
        try:
            network_stream.read = self._bounded_read
        except AttributeError:  # an object with slots: the check between chunks has to do
            return
        self._network_stream, self._read, self.attached = network_stream, read, True

    def _bounded_read(self, max_bytes: int, timeout: float | None = None) -> Any:
        # An async connection's read returns an awaitable, which is handed on.
        now = monotonic()
        if self.restart:
            self.restart = False
            self._at = now + self._limit
        remaining = self._at - now
        if remaining <= 0:
            raise httpx.ReadTimeout("The deadline passed")
        if remaining < (inf if timeout is None else timeout):
            timeout = remaining
        return self._read(max_bytes, timeout)

    def allow(self, limit: float) -> None:
        """Allow this many seconds from the next restart on."""
        self._limit = limit

    def passed(self) -> bool:
        """Tell whether the deadline has passed; starts the clock if nothing else has."""
        now = monotonic()
        if self.restart:
            self.restart = False
            self._at = now + self._limit
        return now >= self._at

    def waited(self) -> float | None:
        """Return the seconds since the clock started, ``None`` if there is no limit or it has not started."""
        return None if self._at == inf else monotonic() - self._at + self._limit

    def end_in(self, seconds: float) -> None:
        """Allow this many seconds more, whatever arrives."""
        self.restart = False
        self._limit = seconds
        self._at = monotonic() + seconds

    def detach(self) -> None:
        """Give the connection its own ``read`` back. To be called before the connection goes back to its pool."""
        if self.attached:
            self.attached = False
            del self._network_stream.read
            self._network_stream = None


class AsyncReadDeadline(ReadDeadline):
    """The same for async connections; a read that is cancelled closes the response, too, before anyone sees it.

    httpcore would do so next, but in the cancelled task, where it may be cancelled again:
    :mod:`linkspan.transport.cancellation`.
    """

    __slots__ = ()

    async def _bounded_read(self, max_bytes: int, timeout: float | None = None) -> Any:
        try:
            return await super()._bounded_read(max_bytes, timeout)
        except asyncio.CancelledError:
            await finished(self._response.aclose())
            raise
