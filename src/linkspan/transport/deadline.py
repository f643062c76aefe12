"""The time by which the next event of a stream must arrive."""

from __future__ import annotations

from math import inf
from time import monotonic

__all__ = ["Deadline", "finite"]

#: Seconds beyond which a limit is none: sockets cannot wait for more than 24 days.
_LONGEST = 2_000_000


def finite(seconds: float | None) -> float | None:
    """Return a limit that a socket can wait for; ``None``, for no limit, if it is longer."""
    return None if seconds is None or seconds > _LONGEST else seconds


class Deadline:
    """Bounds the total time of several reads of one answer.

    httpcore bounds the silence between two *reads*. Between two *events*, a server may send comments, which would hide
    a stalled model forever. linkspan's own connections check the deadline before each read, so a stall is noticed in
    time. On connections of a passed client, or through a proxy that needs TLS within TLS where asyncio lacks it,
    :meth:`passed` is checked between two reads. Then a stall is noticed at the first bytes after the deadline, or after
    the whole read timeout.

    Args:
        limit: Seconds allowed from one restart to the next; ``None``: no limit.

    Attributes:
        restart: Set to ``True`` when an event was yielded. The clock restarts at the next read, so the consumer's own
            time does not count.
    """

    __slots__ = ("_at", "_limit", "restart")

    def __init__(self, limit: float | None) -> None:
        self.allow(limit)
        self._at = inf
        self.restart = True

    def bound(self, timeout: float | None) -> float | None:
        """Return the time for the next read: the time left or ``timeout``; 0 or less if the deadline passed."""
        if self._limit == inf:
            return timeout
        now = monotonic()
        if self.restart:
            self.restart = False
            self._at = now + self._limit
        remaining = self._at - now
        return remaining if timeout is None or remaining < timeout else timeout

    def allow(self, limit: float | None) -> None:
        """Allow this many seconds from the next restart on."""
        limit = finite(limit)
        self._limit = inf if limit is None else limit

    def passed(self) -> bool:
        """Return whether the deadline has passed; starts the clock if nothing else has."""
        remaining = self.bound(None)
        return remaining is not None and remaining <= 0

    def waited(self) -> float | None:
        """Return the seconds since the clock started, ``None`` if there is no limit or it has not started."""
        return None if self._at == inf else monotonic() - self._at + self._limit

    def end_never(self) -> None:
        """Remove the limit: each read then has its own timeout."""
        self._limit = self._at = inf

    def end_in(self, seconds: float) -> None:
        """Allow this many seconds more, whatever arrives."""
        self.restart = False
        self._limit = seconds
        self._at = monotonic() + seconds
