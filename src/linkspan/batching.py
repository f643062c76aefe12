"""Split inputs into batches, send them with bounded concurrency, and return the answers in order.

The first error ends the whole operation: no further batch starts. Sync calls use threads, async calls use tasks.
"""

from __future__ import annotations

import asyncio
import contextvars
from concurrent.futures import FIRST_EXCEPTION, CancelledError, ThreadPoolExecutor, wait
from itertools import pairwise
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

__all__ = ["LoopGates", "batches_of", "run_batches", "run_batches_async"]

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


def batches_of(
    items: Sequence[ItemT], size: int, *, most: int | None = None, weigh: Callable[[ItemT], int] | None = None
) -> list[Sequence[ItemT]]:
    """Split a sequence into batches of at most ``size`` items with a total weight of at most ``most``.

    An item that weighs more than ``most`` is a batch of its own.
    """
    if weigh is None or most is None:
        return [items[start : start + size] for start in range(0, len(items), size)]
    starts, weight = [0], 0
    for place, item in enumerate(items):
        weight += weigh(item)
        if place > starts[-1] and (weight > most or place - starts[-1] == size):
            starts.append(place)
            weight = weigh(item)
    return [items[start:end] for start, end in pairwise([*starts, len(items)])] if items else []


def run_batches(
    batches: Sequence[Sequence[ItemT]], call: Callable[[Sequence[ItemT]], ResultT], max_concurrency: int
) -> list[ResultT]:
    """Call a function with each batch, at most ``max_concurrency`` at once; return results in the order of the batches.

    After an error, no further batch starts. Running calls cannot be interrupted: they finish before the error is
    raised.
    """
    if len(batches) <= 1 or max_concurrency == 1:
        return [call(batch) for batch in batches]
    errors: list[BaseException] = []

    def one(batch: Sequence[ItemT]) -> ResultT:
        if errors:
            raise CancelledError
        try:
            return call(batch)
        except BaseException as error:
            errors.append(error)
            raise

    with ThreadPoolExecutor(min(max_concurrency, len(batches)), thread_name_prefix="linkspan") as pool:
        # Each thread gets the caller's context variables, because tracing depends on them.
        futures = [pool.submit(contextvars.copy_context().run, one, batch) for batch in batches]
        try:
            wait(futures, return_when=FIRST_EXCEPTION)
        finally:
            # Needed if the caller is interrupted; no effect if all batches are done.
            pool.shutdown(wait=True, cancel_futures=True)
    if errors:
        raise errors[0]
    return [future.result() for future in futures]


async def run_batches_async(
    batches: Sequence[Sequence[ItemT]], call: Callable[[Sequence[ItemT]], Awaitable[ResultT]], gate: asyncio.Semaphore
) -> list[ResultT]:
    """Await a function with each batch, at most as many at once as ``gate`` allows; return results in batch order.

    After an error, or if the caller is cancelled, all other calls are cancelled and awaited.
    """

    async def one(batch: Sequence[ItemT]) -> ResultT:
        async with gate:
            return await call(batch)

    tasks: list[asyncio.Task[Any]] = [asyncio.ensure_future(one(batch)) for batch in batches]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
