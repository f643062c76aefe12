"""How many calls a server works on at the same time."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from starlette.types import ASGIApp, Receive, Scope, Send

__all__ = ["Places"]


class Places:
    """Counts calls from their acceptance until their answers are sent.

    Args:
        count: The most at the same time.
    """

    def __init__(self, count: int) -> None:
        self._free = count

    @property
    def all_taken(self) -> bool:
        """Whether one more call is too many."""
        return self._free <= 0

    async def occupied_by(self, answering: Awaitable[ASGIApp]) -> ASGIApp:
        """Take a place for a call, and return its answer, which gives the place back at its end."""
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
