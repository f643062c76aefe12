"""Streams of events (interface only in this commit)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    import httpx

    from linkspan.transport.sse import ServerSentEvent

__all__ = ["AsyncEventStream", "EventStream"]


class EventStream:
    headers: httpx.Headers

    def __iter__(self) -> Iterator[ServerSentEvent]:
        raise NotImplementedError

    def drain(self) -> None:
        raise NotImplementedError


class AsyncEventStream:
    headers: httpx.Headers

    def __aiter__(self) -> AsyncIterator[ServerSentEvent]:
        raise NotImplementedError

    async def drain(self) -> None:
        raise NotImplementedError
