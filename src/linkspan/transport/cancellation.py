"""Run work that must finish in tasks that are cancelled more than once.

asyncio cancels a task once, and httpcore shields its clean-up from anyio's cancel scopes. There is a gap between the
two. A cancel scope (Starlette's, when a browser disconnects) cancels its task again in each iteration of the loop. If
that task waits for another one (LangChain runs each step of a chain in a separate task), the other one gets plain
cancellations, which no scope shields. They interrupt httpcore's clean-up: the connection stays open, so the server
keeps generating, and its slot in the pool is lost. So work that must finish runs in a task that nobody else can cancel.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

__all__ = ["cancelled_once", "run_to_end"]

ResultT = TypeVar("ResultT")


async def cancelled_once(
    work: Coroutine[Any, Any, ResultT], undo: Callable[[ResultT], Coroutine[Any, Any, None]] | None = None
) -> ResultT:
    """Await ``work``; forward the first cancellation, and shield its clean-up from further ones.

    ``undo`` is called with the result if the work finished despite the cancellation; without it, the result is dropped.
    """
    task = asyncio.ensure_future(work)
    try:
        await _wait_shielded(task)
    except asyncio.CancelledError:
        task.cancel()
        await _wait_uncancelled(task)
        if undo is not None and not task.cancelled() and task.exception() is None:
            await run_to_end(undo(task.result()))
        raise
    return task.result()


async def run_to_end(work: Coroutine[Any, Any, None]) -> None:
    """Run ``work`` to completion even if this task is cancelled, then re-raise the cancellation."""
    task = asyncio.ensure_future(work)
    cancellation = await _wait_uncancelled(task)
    if cancellation is not None:
        raise cancellation
    task.result()


async def _wait_uncancelled(task: asyncio.Future[Any]) -> asyncio.CancelledError | None:
    """Wait until a task is done; return the latest cancellation of the wait, if any."""
    cancellation = None
    while not task.done():
        try:
            await _wait_shielded(task)
        except asyncio.CancelledError as exc:  # noqa: PERF203  # it may come more than once
            cancellation = exc
    if not task.cancelled():
        task.exception()  # retrieved, so that asyncio does not log it
    return cancellation


async def _wait_shielded(task: asyncio.Future[Any]) -> None:
    """Wait for the task without raising its result. Cancelling the wait does not cancel the task.

    Does the same as ``asyncio.wait`` for one task, at half the cost.
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
