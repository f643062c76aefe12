"""Keep-alive comments between the events of a stream."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

__all__ = ["with_pings"]


async def with_pings(
    chunks: AsyncGenerator[bytes, None],
    ping: Callable[[], bytes],
    seconds: float,
    *,
    only_in_silence: bool = False,
) -> AsyncGenerator[bytes, None]:
    """Yield the chunks as they arrive, and a ping every ``seconds``, the first after one interval.

    Args:
        chunks: The stream to keep alive; always closed at the end.
        ping: Returns the bytes of a ping.
        seconds: Seconds between two pings.
        only_in_silence: Whether a chunk restarts the interval. Otherwise pings ignore chunks.
    """
    loop = asyncio.get_running_loop()
    due = loop.time() + seconds
    async with contextlib.aclosing(chunks):
        waiting = asyncio.ensure_future(anext(chunks, None))
        try:
            while True:
                await asyncio.wait({waiting}, timeout=max(0.0, due - loop.time()))
                if not waiting.done():
                    yield ping()
                    due = loop.time() + seconds
                    continue
                chunk = waiting.result()
                if chunk is None:
                    return
                yield chunk
                if only_in_silence:
                    due = loop.time() + seconds
                waiting = asyncio.ensure_future(anext(chunks, None))
        finally:
            if not waiting.done():
                waiting.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await waiting
