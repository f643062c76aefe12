"""Read async generators so that only their reader closes them."""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from types import TracebackType

    from typing_extensions import Self

__all__ = ["OwnedGenerator"]

ItemT = TypeVar("ItemT")


class OwnedGenerator(AsyncGenerator[ItemT, None]):
    """Reads an async generator in an ``async with`` block, which closes it.

    Event loops track async generators: ``asyncio.run`` closes all that remain, each in a separate task. If another
    generator reads and closes one as well, the two closings collide, and one fails ("asynchronous generator is already
    running"). So the loop sees only the outermost generator, which its user may forget to close. The generator must not
    have started.
    """

    __slots__ = ("_generator", "_next")

    def __init__(self, generator: AsyncGenerator[ItemT, None]) -> None:
        self._generator = generator
        self._next: Callable[[], Coroutine[Any, Any, ItemT]] = self._begin

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None
    ) -> None:
        await self.aclose()

    def __anext__(self) -> Coroutine[Any, Any, ItemT]:
        return self._next()

    def _begin(self) -> Coroutine[Any, Any, ItemT]:
        self._next = self._generator.__anext__
        return self._unseen(self._generator.__anext__)

    def asend(self, value: None) -> Coroutine[Any, Any, ItemT]:
        """Send a value in; see ``AsyncGenerator``."""
        return self._unseen(lambda: self._generator.asend(value))

    def athrow(self, typ: Any, val: Any = None, tb: Any = None) -> Coroutine[Any, Any, ItemT]:
        """Raise an exception inside; see ``AsyncGenerator``."""
        return self._unseen(lambda: self._generator.athrow(typ, val, tb))

    def aclose(self) -> Coroutine[Any, Any, None]:
        """Close the generator."""
        return self._unseen(self._generator.aclose)

    def _unseen(self, begin: Callable[[], Coroutine[Any, Any, Any]]) -> Coroutine[Any, Any, Any]:
        """Run one step; the first one runs without the event loop's hooks."""
        hooks = sys.get_asyncgen_hooks()
        sys.set_asyncgen_hooks(None, _leave_to_reader)
        try:
            return begin()
        finally:
            sys.set_asyncgen_hooks(*hooks)


def _leave_to_reader(generator: object) -> None:
    """Do nothing: a collected generator is closed by its reader, which is collected with it."""
