"""Close a stream's connection when its consumer stops, even if LlamaIndex's callbacks keep references to it.

Core's callback decorators wrap a stream in a generator that never closes it. Only the garbage collector would, unless a
handler keeps the exception of the early end, as ``LlamaDebugHandler`` does.
"""

from __future__ import annotations

import functools
import inspect
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, TypeVar

from linkspan.owned_generator import OwnedGenerator

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator

__all__ = ["closes_stream", "owned"]

MethodT = TypeVar("MethodT", bound="Callable[..., Any]")
StreamT = TypeVar("StreamT")

_owned_streams: ContextVar[list[Any]] = ContextVar("linkspan_opened_stream")


def owned(stream: StreamT) -> StreamT:
    """Pass the stream to the :func:`closes_stream` around the caller, which closes it."""
    _owned_streams.get([]).append(stream)
    return stream


def closes_stream(method: MethodT) -> MethodT:
    """Close the stream that the method registers by :func:`owned` when the returned generator closes.

    Apply it outside of core's callback decorator.
    """
    if inspect.iscoroutinefunction(method):

        @functools.wraps(method)
        async def astream(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, None]:
            sources: list[Any] = []
            token = _owned_streams.set(sources)
            try:
                chunks = await method(*args, **kwargs)
            finally:
                _owned_streams.reset(token)
            return _aowning(chunks, sources)

        return astream  # type: ignore[return-value]  # the same signature

    @functools.wraps(method)
    def stream(*args: Any, **kwargs: Any) -> Generator[Any, None, None]:
        sources: list[Any] = []
        token = _owned_streams.set(sources)
        try:
            chunks = method(*args, **kwargs)
        finally:
            _owned_streams.reset(token)
        return _owning(chunks, sources)

    return stream  # type: ignore[return-value]  # the same signature


def _owning(chunks: Generator[Any, None, None], sources: list[Any]) -> Generator[Any, None, None]:
    try:
        yield from chunks
    finally:
        for source in sources:
            source.close()


async def _aowning(chunks: AsyncGenerator[Any, None], sources: list[Any]) -> AsyncGenerator[Any, None]:
    try:
        async with OwnedGenerator(chunks) as opened:
            async for chunk in opened:
                yield chunk
    finally:
        for source in sources:
            await source.aclose()
