"""Make several calls with bounded concurrency, and return their results in order.

The first error ends the whole operation: no further call starts. Sync calls use threads, async calls use tasks.
"""

from __future__ import annotations

import asyncio
import contextvars
from concurrent.futures import FIRST_EXCEPTION, CancelledError, ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

__all__ = ["LoopGates", "acall_each", "call_each"]

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")


class LoopGates:
    """One semaphore of ``limit`` per event loop, shared by concurrent calls."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._gates: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = WeakKeyDictionary()

    def current(self) -> asyncio.Semaphore:
        """Return the running loop's semaphore."""
        loop = asyncio.get_running_loop()
        gate = self._gates.get(loop)
        if gate is None:
            gate = self._gates[loop] = asyncio.Semaphore(self._limit)
        return gate


def call_each(items: Sequence[ItemT], call: Callable[[ItemT], ResultT], max_concurrency: int) -> list[ResultT]:
    """Call a function with each item, at most ``max_concurrency`` at once; return results in the order of the items.

    After an error, no further call starts. Running calls cannot be interrupted: they finish before the error is
    raised.
    """
    if len(items) <= 1 or max_concurrency == 1:
        return [call(item) for item in items]
    errors: list[BaseException] = []

    def one(item: ItemT) -> ResultT:
        if errors:
            raise CancelledError
        try:
            return call(item)
        except BaseException as error:
            errors.append(error)
            raise

    with ThreadPoolExecutor(min(max_concurrency, len(items)), thread_name_prefix="linkspan") as pool:
        # Each thread gets the caller's context variables, because tracing depends on them.
        futures = [pool.submit(contextvars.copy_context().run, one, item) for item in items]
        try:
            wait(futures, return_when=FIRST_EXCEPTION)
        finally:
            # Needed if the caller is interrupted; no effect if all calls are done.
            pool.shutdown(wait=True, cancel_futures=True)
    if errors:
        raise errors[0]
    return [future.result() for future in futures]


async def acall_each(
    items: Sequence[ItemT], call: Callable[[ItemT], Awaitable[ResultT]], gate: asyncio.Semaphore
) -> list[ResultT]:
    """Await a function with each item, at most as many at once as ``gate`` allows; return results in order.

    After an error, or if the caller is cancelled, all other calls are cancelled and awaited.
    """

    async def one(item: ItemT) -> ResultT:
        async with gate:
            return await call(item)

    tasks: list[asyncio.Task[Any]] = [asyncio.ensure_future(one(item)) for item in items]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
