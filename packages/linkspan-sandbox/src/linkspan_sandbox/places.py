"""The limit on concurrent calls of a server."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from starlette.types import ASGIApp, Receive, Scope, Send

__all__ = ["Places"]


class Places:
    """Counts calls from acceptance until their answers are sent.

    Args:
        count: Most concurrent calls.
    """

    def __init__(self, count: int) -> None:
        self._free = count

    @property
    def all_taken(self) -> bool:
        """Whether one more call would exceed the limit."""
        return self._free <= 0

    async def occupied_by(self, answering: Awaitable[ASGIApp]) -> ASGIApp:
        """Take a place for a call and return its answer, which releases the place when it ends."""
        self._free -= 1
        try:
            app = await answering
        except BaseException:
            self._free += 1
            raise

        async def answer(scope: Scope, receive: Receive, send: Send) -> None:
            try:
                await app(scope, receive, send)
            finally:
                self._free += 1

        return answer
