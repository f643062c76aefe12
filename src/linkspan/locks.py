"""Locks for processes that fork: one kind is free in the child, another one makes the fork wait."""

from __future__ import annotations

import os
import threading
import weakref
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["ForkSafeLock", "fork_waits"]

#: Held by a thread that imports modules or creates objects for all threads; ``os.fork`` waits for it. A child forked
#: during an import would wait for that module forever.
fork_waits = threading.RLock()


class ForkSafeLock:
    """A ``threading.Lock`` for ``with`` blocks that is free in a forked child.

    A child has only the thread that forked. It would never release a plain lock that another thread held at that
    moment, and the child's first call would wait forever.
    """

    __slots__ = ("__weakref__", "_lock")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        _locks.add(self)

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._lock.release()

    def renew(self) -> None:
        """Replace the lock by a new one."""
        self._lock = threading.Lock()


_locks: weakref.WeakSet[ForkSafeLock] = weakref.WeakSet()


def _renew_all() -> None:
    for lock in list(_locks):
        lock.renew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_all)
    os.register_at_fork(
        before=fork_waits.acquire, after_in_parent=fork_waits.release, after_in_child=fork_waits.release
    )
