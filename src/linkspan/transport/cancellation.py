"""Work that ends properly in a task that is cancelled more than once.

asyncio cancels a task once, and httpcore shields its cleaning up from anyio's cancel scopes. Between the two lies a
gap: a cancel scope (Starlette's, when a browser leaves) cancels its task again at each turn of the loop, and where that
task waits for another one (LangChain runs each step of a chain in a task of its own), all of it arrives there as plain
cancellation, against which no scope shields. httpcore's cleaning up then breaks off: the connection stays open, so that
the server goes on generating, and its place in the pool is lost. Hence what must not break off runs in a task that
nobody else knows.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

__all__ = ["cancelled_once", "run_to_end"]

ResultT = TypeVar("ResultT")


async def cancelled_once(
    work: Coroutine[Any, Any, ResultT], undo: Callable[[ResultT], Coroutine[Any, Any, None]]
) -> ResultT:
    """Do something that may be cancelled, but not again while it cleans up.

    Args:
        work: What to do.
        undo: What to do with its result where that came too late.
    """
    task = asyncio.ensure_future(work)
    try:
        await _wait_shielded(task)
    except asyncio.CancelledError:
        task.cancel()
        await _wait_uncancelled(task)
        if not task.cancelled() and task.exception() is None:
            await run_to_end(undo(task.result()))
        raise
    return task.result()


async def run_to_end(work: Coroutine[Any, Any, None]) -> None:
    """Do something to its end, even if this task is cancelled meanwhile. That is raised afterwards."""
    task = asyncio.ensure_future(work)
    cancellation = await _wait_uncancelled(task)
    if cancellation is not None:
        raise cancellation
    task.result()


async def _wait_uncancelled(task: asyncio.Future[Any]) -> asyncio.CancelledError | None:
    """Wait until a task is over; return the latest cancellation that came in the meantime."""
    cancellation = None
    while not task.done():
        try:
            await _wait_shielded(task)
        except asyncio.CancelledError as exc:  # noqa: PERF203  # it may come more than once
            cancellation = exc
    if not task.cancelled():
        task.exception()  # seen, so that asyncio does not complain of it
    return cancellation


async def _wait_shielded(task: asyncio.Future[Any]) -> None:
    """Wait for the task without raising its result. Cancelling the wait does not cancel the task.

    As ``asyncio.wait`` does for any number of tasks; for one it costs half of that.
    """
    waiter = task.get_loop().create_future()

    def wake(_: asyncio.Future[Any]) -> None:
        if not waiter.done():
            waiter.set_result(None)

    task.add_done_callback(wake)
    try:
        await waiter
    finally:
        task.remove_done_callback(wake)
