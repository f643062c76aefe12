"""Tasks that are cancelled anew at each turn of the loop, as anyio's cancel scopes do it, through a task between.

The server must see the connection closed, and the pool must have its place back.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from linkspan.transport import HttpClient
from linkspan.transport.cancellation import cancelled_once, run_to_end
from tests.support.loopback import PATIENCE, UntilClosed, event, event_stream, head

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine


async def cancel_again_and_again(task: asyncio.Task[Any]) -> None:
    while not task.done():
        task.cancel()
        await asyncio.sleep(0)
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.fixture
async def client() -> AsyncIterator[HttpClient]:
    """A client with a single connection: if it is not given back, no further call gets one."""
    limits = httpx.Limits(max_connections=1)
    async with httpx.AsyncClient(limits=limits, timeout=httpx.Timeout(PATIENCE, pool=PATIENCE)) as own:
        yield HttpClient(http_async_client=own)


async def read(client: HttpClient, request: Any, begun: asyncio.Event) -> list[bytes]:
    received = []
    async with client.astream(request) as events:
        async for batch in events.batches():
            received.extend(batch)
            begun.set()
    return received


async def assert_usable_again(server: Any, client: HttpClient, request: Any) -> None:
    assert await asyncio.to_thread(server.wait_closed)
    server.answer(*event_stream(b"two"))
    assert (await read(client, request, asyncio.Event()))[0] == b"two"


async def test_between_two_events(server, ask, client):
    server.answer(head(), event(b"one"), UntilClosed())
    begun = asyncio.Event()
    task = asyncio.create_task(read(client, ask(), begun))
    await begun.wait()
    await cancel_again_and_again(task)
    await assert_usable_again(server, client, ask())


@pytest.mark.parametrize("begins", [(), (head(),)], ids=["before the status line", "before the first event"])
@pytest.mark.parametrize("streamed", [False, True])
async def test_before_there_is_an_answer(server, ask, client, begins, streamed):
    server.answer(*begins, UntilClosed())
    work: Coroutine[Any, Any, Any] = read(client, ask(), asyncio.Event()) if streamed else client.asend(ask())
    task = asyncio.create_task(work)
    await asyncio.to_thread(server.wait_requests, 1)
    await cancel_again_and_again(task)
    await assert_usable_again(server, client, ask())


async def test_while_the_reader_is_busy_with_an_event(server, ask, client):
    server.answer(head(), event(b"one"), UntilClosed())
    begun = asyncio.Event()

    async def stop_at_the_first():
        async with client.astream(ask()) as events:
            async for _ in events.batches():
                begun.set()
                await asyncio.Event().wait()

    task = asyncio.create_task(stop_at_the_first())
    await begun.wait()
    await cancel_again_and_again(task)
    await assert_usable_again(server, client, ask())


async def test_a_result_that_came_too_late_is_undone():
    may_end, undone = asyncio.Event(), []

    async def stubborn() -> str:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await may_end.wait()
        return "a response"

    async def undo(result: str) -> None:
        await asyncio.sleep(0)
        undone.append(result)

    task = asyncio.create_task(cancelled_once(stubborn(), undo))
    for _ in range(3):
        await asyncio.sleep(0)
        task.cancel()
    may_end.set()
    await cancel_again_and_again(task)
    assert undone == ["a response"]


async def test_what_must_not_break_off_is_finished_before_the_cancellation_is_raised():
    may_end, done = asyncio.Event(), []

    async def work() -> None:
        await may_end.wait()
        done.append("all of it")

    task = asyncio.create_task(run_to_end(work()))
    for _ in range(3):
        await asyncio.sleep(0)
        task.cancel()
    assert not done
    may_end.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert done == ["all of it"]


async def test_errors_come_through():
    async def fail() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await run_to_end(fail())
    with pytest.raises(ValueError, match="no"):
        await cancelled_once(fail(), lambda _: fail())
