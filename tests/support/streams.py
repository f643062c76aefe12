"""Streamed answers one delta at a time, and events one at a time; the library itself reads them in batches."""

from __future__ import annotations

from contextlib import aclosing, closing
from typing import TYPE_CHECKING, TypeVar

from linkspan.assembler import Assembler

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator, Iterable

    from linkspan.conversation import Completion, Delta
    from linkspan.endpoint import Endpoint

__all__ = ["assemble", "astream_deltas", "stream_deltas"]

RequestT = TypeVar("RequestT")


def stream_deltas(
    endpoint: Endpoint[RequestT], request: RequestT, *, assembler: Assembler | None = None
) -> Generator[Delta, None, None]:
    """Ask for a streamed answer. Each delta has gone into ``assembler`` before it is handed out."""
    assembler = assembler or Assembler()
    with closing(endpoint.batches(request, assembler)) as batches:
        for deltas in batches:
            for delta in deltas:
                assembler.add(delta)
                yield delta


async def astream_deltas(
    endpoint: Endpoint[RequestT], request: RequestT, *, assembler: Assembler | None = None
) -> AsyncGenerator[Delta, None]:
    """Ask for a streamed answer. Each delta has gone into ``assembler`` before it is handed out."""
    assembler = assembler or Assembler()
    async with aclosing(endpoint.abatches(request, assembler)) as batches:
        async for deltas in batches:
            for delta in deltas:
                assembler.add(delta)
                yield delta


def assemble(deltas: Iterable[Delta]) -> Completion:
    """Put a whole stream together."""
    assembler = Assembler()
    for delta in deltas:
        assembler.add(delta)
    return assembler.completion()
