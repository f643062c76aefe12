"""A stream decoder around another one: what those share that change an answer on its way."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Sequence

    from linkspan.conversation import Delta
    from linkspan.providers.codec import StreamDecoder

__all__ = ["WrappedDecoder"]

InnerT = TypeVar("InnerT", bound="StreamDecoder")


class WrappedDecoder(Generic[InnerT]):
    """Hands out what the inner decoder does; a subclass says where it differs.

    Args:
        inner: The decoder that reads the stream.
    """

    __slots__ = ("_inner",)

    def __init__(self, inner: InnerT) -> None:
        self._inner = inner

    @property
    def finished(self) -> bool:
        """Whether nothing more will come: the end mark was seen, or the answer was ended on this side."""
        return self._inner.finished

    @property
    def complete(self) -> bool:
        """Whether the answer is whole."""
        return self._inner.complete

    @property
    def cut_short(self) -> bool:
        """Whether the answer was ended on this side, while the server would go on."""
        return self._inner.cut_short

    def feed(self, data: bytes) -> Sequence[Delta]:
        """Take the data of one event."""
        return self._inner.feed(data)

    def close(self) -> Sequence[Delta]:
        """Take the end of the stream.

        Raises:
            InterruptedStreamError: The answer is not whole.
        """
        return self._inner.close()
