"""A stream whose text passes through a filter: one that cuts it, or one that parts reasoning from it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from linkspan.conversation import Delta
from linkspan.providers.wrapped_decoder import WrappedDecoder

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from linkspan.providers.codec import StreamDecoder

__all__ = ["FilteredDecoder", "TextFilter"]


class TextFilter(Protocol):
    """What one answer's text passes through, in pieces. Each step returns text and reasoning that are decided."""

    def feed(self, piece: str) -> tuple[str, str]:
        """Take the next piece."""

    def flush(self) -> tuple[str, str]:
        """Take the end of the text and hand out what was held back."""


class FilteredDecoder(WrappedDecoder["StreamDecoder"]):
    """A stream decoder that passes the text of each choice through a filter of its own.

    What a filter holds back comes before the next tool call, finish reason or the end. Everything else of a delta
    passes as it is: log probabilities travel with the piece that brought them.

    Args:
        inner: The API's decoder.
        make_filter: Makes a filter for one choice.
    """

    __slots__ = ("_filters", "_id", "_make_filter")

    def __init__(self, inner: StreamDecoder, make_filter: Callable[[], TextFilter]) -> None:
        super().__init__(inner)
        self._make_filter = make_filter
        self._filters: dict[int, TextFilter] = {}
        self._id: str | None = None

    def feed(self, data: bytes) -> Sequence[Delta]:
        """Take the data of one event."""
        deltas = self._inner.feed(data)
        if len(deltas) == 1:  # the usual case, without a list of lists
            return self._passed(deltas[0])
        return [passed for delta in deltas for passed in self._passed(delta)]

    def close(self) -> Sequence[Delta]:
        """Take the end of the stream.

        Raises:
            InterruptedStreamError: The answer is not whole.
        """
        deltas = [passed for delta in self._inner.close() for passed in self._passed(delta)]
        rest = [held for choice in list(self._filters) for held in self._flushed(choice)]
        # The last delta stays the last one.
        return [*deltas[:-1], *rest, *deltas[-1:]] if rest else deltas

    def _passed(self, delta: Delta) -> Sequence[Delta]:
        choice = delta.choice
        self._id = self._id or delta.id
        if delta.text:
            text_filter = self._filters.get(choice)
            if text_filter is None:
                text_filter = self._filters[choice] = self._make_filter()
            delta.text, reasoning = text_filter.feed(delta.text)
            if reasoning:
                delta.reasoning += reasoning
            if not (delta.text or delta.reasoning or _says_more(delta)):
                return ()
        if (delta.tool_calls or delta.finish_reason is not None or delta.last) and choice in self._filters:
            return self._with_held(delta, ends=delta.finish_reason is not None or delta.last)
        return (delta,)

    def _with_held(self, delta: Delta, *, ends: bool) -> Sequence[Delta]:
        held = self._flushed(delta.choice, forget=ends)
        if not held or not delta.text:
            return (*held, delta)
        # The delta's own text comes before what was held back of it.
        delta.text += held[0].text
        delta.reasoning += held[0].reasoning
        return (delta,)

    def _flushed(self, choice: int, *, forget: bool = True) -> list[Delta]:
        text, reasoning = self._filters[choice].flush()
        if forget:
            del self._filters[choice]
        return [Delta(text=text, reasoning=reasoning, id=self._id, choice=choice)] if text or reasoning else []


def _says_more(delta: Delta) -> bool:
    return bool(
        delta.tool_calls
        or delta.refusal
        or delta.finish_reason is not None
        or delta.usage is not None
        or delta.logprobs
        or delta.extra
        or delta.last
    )
