"""The time by which the next event of a stream must be there."""

from __future__ import annotations

from math import inf
from time import monotonic

__all__ = ["Deadline"]


class Deadline:
    """Bounds how long the reads of one answer may take together.

    httpcore bounds the silence between two *reads*. Between two *events* a server may send comments, which would hide
    a stalled model for ever. linkspan's own connections ask a deadline before each read, so that a stall is noticed
    when it is due. On connections of a client that was passed in, or through a proxy to which asyncio cannot speak
    TLS within TLS, :meth:`passed` is asked between two reads: a stall is noticed with the first bytes that come after
    the deadline, or when nothing came for the whole read timeout.

    Args:
        limit: Seconds allowed from one restart to the next; ``None``: no limit.

    Attributes:
        restart: Set to ``True`` when an event was handed out. The clock restarts at the next read, so the time that
            the reader takes for itself does not count.
    """

    __slots__ = ("_at", "_limit", "restart")

    def __init__(self, limit: float | None) -> None:
        self._limit = inf if limit is None else limit
        self._at = inf
        self.restart = True

    def bound(self, timeout: float | None) -> float | None:
        """Return how long the next read may take: the time left or ``timeout``; 0 or less if the deadline passed."""
        if self._limit == inf:
            return timeout
        now = monotonic()
        if self.restart:
            self.restart = False
            self._at = now + self._limit
        remaining = self._at - now
        return remaining if timeout is None or remaining < timeout else timeout

    def allow(self, limit: float) -> None:
        """Allow this many seconds from the next restart on."""
        self._limit = limit

    def passed(self) -> bool:
        """Tell whether the deadline has passed; starts the clock if nothing else has."""
        remaining = self.bound(None)
        return remaining is not None and remaining <= 0

    def waited(self) -> float | None:
        """Return the seconds since the clock started, ``None`` if there is no limit or it has not started."""
        return None if self._at == inf else monotonic() - self._at + self._limit

    def end_never(self) -> None:
        """Allow any time: each read then has its own timeout."""
        self._limit = self._at = inf

    def end_in(self, seconds: float) -> None:
        """Allow this many seconds more, whatever arrives."""
        self.restart = False
        self._limit = seconds
        self._at = monotonic() + seconds
