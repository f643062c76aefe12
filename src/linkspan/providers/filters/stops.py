"""Stop texts enforced on this side, for servers that do not know them, overlook them or leave them in the answer."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Protocol

from linkspan.conversation import Delta
from linkspan.providers.codec import StreamDecoder, WrappedDecoder
from linkspan.providers.filters.blocked import BLOCKED_FINISH_REASONS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from linkspan.conversation import Completion, TokenLogprob

__all__ = ["EndableDecoder", "StopCutter", "StoppingDecoder", "cut_at_stops"]

#: The finish reason of an answer that ended at a stop text, as servers call it.
_STOPPED = "stop"


class StopCutter:
    """Cut a text that comes in pieces before the first stop text, also where that spans pieces.

    A tail that may be the beginning of a stop text is held back until the next piece, or the end, decides.

    Attributes:
        matched: The stop text that was found, ``None`` so far.
        held: The tail that is held back.
    """

    __slots__ = ("_beginnings", "_stops", "held", "matched")

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = tuple(stop for stop in stops if stop)
        self._beginnings = tuple(dict.fromkeys(stop[0] for stop in self._stops))
        self.held = ""
        self.matched: str | None = None

    def feed(self, piece: str) -> str:
        """Take the next piece and return what certainly belongs to the answer: nothing after a stop text."""
        if self.matched is not None:
            return ""
        text = self.held + piece
        for character in self._beginnings:
            if character in text:
                return self._cut(text)
        return text  # nearly every piece: no stop text begins in it

    def _cut(self, text: str) -> str:
        # The one that is complete first wins, whatever the pieces were; of two that end together, the longer one.
        found = [(place + len(stop), place, stop) for stop in self._stops if (place := text.find(stop)) >= 0]
        if found:
            _, place, self.matched = min(found)
            self.held = ""
            return text[:place]
        keep = max(_overlap(text, stop) for stop in self._stops)
        self.held = text[len(text) - keep :]
        return text[: len(text) - keep]

    def flush(self) -> str:
        """Take the end of the text and return what was held back."""
        held, self.held = self.held, ""
        return held


def _overlap(text: str, stop: str) -> int:
    """Return the length of the longest end of ``text`` with which ``stop`` begins, but is not yet complete."""
    # Most ends hold not even the first character of a stop text, which one search tells.
    start = text.find(stop[0], max(0, len(text) - len(stop) + 1))
    while start >= 0:
        if stop.startswith(text[start:]):
            return len(text) - start
        start = text.find(stop[0], start + 1)
    return 0


def cut_at_stops(completion: Completion, stops: Sequence[str], *, server_stops: bool = False) -> Completion:
    """End a whole answer, and each of its alternatives, before its first stop text.

    What follows the text (tool calls) goes with it. Token counts and ``raw`` stay the server's own, and so does a
    finish reason that says that the answer was blocked.

    Args:
        completion: The answer, changed in place.
        stops: The stop texts.
        server_stops: Whether the server ends its answers at stop texts itself, and leaves them in. Where it did, the
            finish reason stays its own too.
    """
    for answer in (completion, *completion.alternatives):
        cutter = StopCutter(stops)
        text = cutter.feed(answer.text)
        if cutter.matched is None:
            continue
        ended_there = server_stops and any(answer.text == text + stop for stop in stops)
        answer.text = text
        answer.tool_calls = []
        if not ended_there and answer.finish_reason not in BLOCKED_FINISH_REASONS:
            answer.finish_reason = _STOPPED
        if answer.logprobs is not None:
            answer.logprobs = _scores_within(answer.logprobs, len(text))
    return completion


class EndableDecoder(StreamDecoder, Protocol):
    """A decoder that can be told that the answer ends before the server says so."""

    def end(self) -> None:
        """Take the answer for whole, so that ``close`` hands out what is known of it."""


class _Choice:
    """Where one choice stands."""

    __slots__ = ("beyond", "cutter", "scored", "scores")

    def __init__(self, stops: Sequence[str]) -> None:
        self.cutter = StopCutter(stops)
        #: Log probabilities of tokens whose text is held back.
        self.scores: list[TokenLogprob] = []
        #: Characters held back of tokens whose log probabilities are handed out already.
        self.scored = 0
        #: Characters that the server said after the text that is handed out.
        self.beyond = 0


class StoppingDecoder(WrappedDecoder[EndableDecoder]):
    """A stream decoder that ends each choice before its first stop text, also where that spans pieces.

    Only text is searched; reasoning, tool calls and refusals pass as they come, until the stop text. A tail of text
    that may begin a stop text is held back, with the log probabilities of its tokens, until the next text, a tool call
    or the end decides.

    Args:
        inner: The API's own decoder.
        stops: The stop texts.
        choices: How many answers were asked for.
        server_stops: Whether the server ends its answers at stop texts itself, except where one ends inside a token.
            Then a stream that met one is read on for its counts and finish reason, until the server says more. If not,
            the stream is cut short as soon as every choice has met one.
    """

    __slots__ = ("_asked", "_choices", "_id", "_server_stops", "_stopped", "_went_on")

    def __init__(
        self, inner: EndableDecoder, stops: Sequence[str], *, choices: int = 1, server_stops: bool = False
    ) -> None:
        super().__init__(inner)
        self._asked = choices
        self._choices = defaultdict[int, _Choice](lambda: _Choice(stops))
        self._server_stops = server_stops
        self._stopped: set[int] = set()
        self._went_on = False
        self._id: str | None = None

    @property
    def _all_stopped(self) -> bool:
        return len(self._stopped) >= self._asked

    @property
    def complete(self) -> bool:
        """Whether the answer is whole: also as soon as every choice is at a stop text."""
        return self._inner.complete or self._all_stopped

    @property
    def cut_short(self) -> bool:
        """Whether every choice has met a stop text, and the server goes on or may do so."""
        return self._went_on if self._server_stops else self._all_stopped

    def feed(self, data: bytes) -> Sequence[Delta]:
        """Take the data of one event."""
        return [delta for delta in self._inner.feed(data) if self._keeps(delta)]

    def close(self) -> Sequence[Delta]:
        """Take the end of the stream; choices that met a stop text end with ``"stop"``.

        Raises:
            InterruptedStreamError: The answer is not whole.
        """
        if self._all_stopped and not self._inner.complete:
            self._inner.end()
        ending = self._inner.close()
        deltas = [
            Delta(text=held, id=self._id, choice=index, logprobs=choice.scores or None)
            for index, choice in sorted(self._choices.items())
            if (held := choice.cutter.flush())
        ]
        deltas.extend(Delta(finish_reason=_STOPPED, id=self._id, choice=index) for index in sorted(self._stopped - {0}))
        for delta in ending:
            if delta.last:
                if 0 in self._stopped:
                    delta.finish_reason = self._finish_reason(self._choices[0], delta.finish_reason)
                deltas.append(delta)
            elif delta.choice not in self._stopped:
                deltas.append(delta)
        return deltas

    def _finish_reason(self, choice: _Choice, servers: str | None) -> str:
        """Return the finish reason of a choice that met a stop text."""
        if servers is None:
            return _STOPPED
        ended_there = self._server_stops and not self._went_on and choice.beyond <= len(choice.cutter.matched or "")
        return servers if ended_there or servers in BLOCKED_FINISH_REASONS else _STOPPED

    def _keeps(self, delta: Delta) -> bool:
        """Cut a delta in place. Return whether anything of it is left."""
        self._id = self._id or delta.id
        if delta.choice in self._stopped:
            if self._server_stops and delta.text and self._all_stopped:
                self._went_on = True
                self._inner.end()
            return False
        if delta.text or delta.tool_calls:
            self._cut(delta, self._choices[delta.choice])
        return bool(delta.text or delta.reasoning or delta.tool_calls or delta.refusal or delta.logprobs)

    def _cut(self, delta: Delta, choice: _Choice) -> None:
        said = len(delta.text)
        delta.text = choice.cutter.feed(delta.text)
        if choice.cutter.matched is not None:
            delta.tool_calls = ()
            self._stopped.add(delta.choice)
            if self._all_stopped and not self._server_stops:
                self._inner.end()
        elif delta.tool_calls:
            delta.text += choice.cutter.flush()
        choice.beyond += said - len(delta.text)
        if delta.logprobs or choice.scores:
            self._hand_out_scores(delta, choice)

    def _hand_out_scores(self, delta: Delta, choice: _Choice) -> None:
        choice.scores.extend(delta.logprobs or ())
        delta.logprobs = None
        if delta.text:
            scores, choice.scores = choice.scores, []
            if choice.cutter.matched is not None:
                scores = _scores_within(scores, len(delta.text) - choice.scored)
            delta.logprobs = scores or None
            choice.scored = len(choice.cutter.held)


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
