"""Stop texts enforced on this side, in whole answers and in streams, for APIs that do not know ``stop``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from linkspan.conversation import Delta
from linkspan.providers.blocked import BLOCKED_FINISH_REASONS
from linkspan.providers.codec import StreamDecoder
from linkspan.providers.stop_text import StopCutter
from linkspan.providers.wrapped_decoder import WrappedDecoder

if TYPE_CHECKING:
    from collections.abc import Sequence

    from linkspan.conversation import Completion, TokenLogprob

__all__ = ["EndableDecoder", "StoppingDecoder", "cut_at_stops"]

#: The finish reason of an answer that ended at a stop text, as servers call it.
_STOPPED = "stop"


class EndableDecoder(StreamDecoder, Protocol):
    """A decoder that can be told that the answer ends before the server says so."""

    def end(self) -> None:
        """Take the answer for whole, so that ``close`` hands out what is known of it."""


def cut_at_stops(completion: Completion, stops: Sequence[str]) -> Completion:
    """End a whole answer, and each of its alternatives, before its first stop text, as a server would have.

    What would have come after the text (tool calls) goes with it. Token counts and ``raw`` stay the server's own, and
    so does a finish reason that says that the answer was blocked.
    """
    for answer in (completion, *completion.alternatives):
        cutter = StopCutter(stops)
        kept = cutter.feed(answer.text)
        if cutter.matched is not None:
            answer.text = kept
            answer.tool_calls = []
            if answer.finish_reason not in BLOCKED_FINISH_REASONS:
                answer.finish_reason = _STOPPED
            if answer.logprobs is not None:
                answer.logprobs = _scores_within(answer.logprobs, len(kept))
    return completion


class StoppingDecoder(WrappedDecoder[EndableDecoder]):
    """A stream decoder that ends each choice before its first stop text, also where that spans pieces.

    Once every choice has ended, the stream is cut short. Only text is searched; reasoning, tool calls and refusals pass
    as they come, until the stop text. A tail of text that may begin a stop text is held back until the next text, a
    tool call or the end decides; log probabilities travel with the piece that brought them.

    Args:
        inner: The API's own decoder.
        stops: The stop texts.
        choices: How many answers were asked for.
    """

    __slots__ = ("_choices", "_cutters", "_held", "_id", "_stopped", "_stops")

    def __init__(self, inner: EndableDecoder, stops: Sequence[str], *, choices: int = 1) -> None:
        super().__init__(inner)
        self._stops = stops
        self._choices = choices
        self._cutters: dict[int, StopCutter] = {}
        #: Characters held back, by choice.
        self._held: dict[int, int] = {}
        self._stopped: set[int] = set()
        self._id: str | None = None

    @property
    def cut_short(self) -> bool:
        """Whether every choice has met a stop text."""
        return len(self._stopped) >= self._choices

    def feed(self, data: bytes) -> Sequence[Delta]:
        """Take the data of one event."""
        return [delta for delta in self._inner.feed(data) if self._keeps(delta)]

    def close(self) -> Sequence[Delta]:
        """Take the end of the stream; choices that met a stop text end with ``"stop"``.

        Raises:
            InterruptedStreamError: The answer is not whole.
        """
        ending = self._inner.close()
        deltas = [
            Delta(text=held, id=self._id, choice=choice)
            for choice, cutter in sorted(self._cutters.items())
            if cutter.matched is None and (held := cutter.flush())
        ]
        deltas.extend(
            Delta(finish_reason=_STOPPED, id=self._id, choice=choice) for choice in sorted(self._stopped - {0})
        )
        for delta in ending:
            if delta.last:
                if 0 in self._stopped and delta.finish_reason not in BLOCKED_FINISH_REASONS:
                    delta.finish_reason = _STOPPED
                deltas.append(delta)
            elif delta.choice not in self._stopped:
                deltas.append(delta)
        return deltas

    def _keeps(self, delta: Delta) -> bool:
        """Cut a delta in place. Return whether anything of it is left."""
        choice = delta.choice
        self._id = self._id or delta.id
        if choice in self._stopped:
            return False
        if delta.text or delta.tool_calls:
            self._cut(delta, self._cutters.setdefault(choice, StopCutter(self._stops)))
        return bool(delta.text or delta.reasoning or delta.tool_calls or delta.refusal or delta.logprobs)

    def _cut(self, delta: Delta, cutter: StopCutter) -> None:
        choice, piece = delta.choice, delta.text
        held = self._held.get(choice, 0)
        text = cutter.feed(piece)
        if cutter.matched is not None:
            delta.tool_calls = ()
            if delta.logprobs:
                delta.logprobs = _scores_within(delta.logprobs, len(text) - held) or None
            self._end(choice)
        elif delta.tool_calls:
            text += cutter.flush()
        self._held[choice] = held + len(piece) - len(text)
        delta.text = text

    def _end(self, choice: int) -> None:
        self._stopped.add(choice)
        if self.cut_short:
            self._inner.end()


def _scores_within(scores: Sequence[TokenLogprob], length: int) -> list[TokenLogprob]:
    """Return the leading tokens that begin within so many characters."""
    kept: list[TokenLogprob] = []
    begin = 0
    for score in scores:
        if begin >= length:
            break
        kept.append(score)
        begin += len(score.token)
    return kept
