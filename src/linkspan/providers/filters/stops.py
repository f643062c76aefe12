"""Enforce stop texts in the client, for servers that ignore them, miss them or leave them in the answer."""

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

#: The finish reason of an answer that ended at a stop text.
_STOPPED = "stop"


class StopCutter:
    """Truncates a text in pieces before the first stop text, even if that spans pieces.

    A tail that may start a stop text is held back until the next piece or the end decides.

    Attributes:
        matched: The stop text found so far; ``None`` if none.
        held: The tail held back.
    """

    __slots__ = ("_beginnings", "_stops", "held", "matched")

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = tuple(stop for stop in stops if stop)
        self._beginnings = tuple(dict.fromkeys(stop[0] for stop in self._stops))
        self.held = ""
        self.matched: str | None = None

    def feed(self, piece: str) -> str:
        """Add the next piece and return the text that certainly belongs to the answer: nothing after a stop text."""
        if self.matched is not None:
            return ""
        text = self.held + piece
        for character in self._beginnings:
            if character in text:
                return self._cut(text)
        return text  # the usual piece: no stop text starts in it

    def _cut(self, text: str) -> str:
        # The stop text that ends first wins, whatever the pieces; of two that end together, the longer one.
        found = [(place + len(stop), place, stop) for stop in self._stops if (place := text.find(stop)) >= 0]
        if found:
            _, place, self.matched = min(found)
            self.held = ""
            return text[:place]
        keep = max(_overlap(text, stop) for stop in self._stops)
        self.held = text[len(text) - keep :]
        return text[: len(text) - keep]

    def flush(self) -> str:
        """End the text and return the tail held back."""
        held, self.held = self.held, ""
        return held


def _overlap(text: str, stop: str) -> int:
    """Return the length of the longest end of ``text`` that is a proper prefix of ``stop``."""
    # Most ends do not even contain the first character of a stop text, which one search finds out.
    start = text.find(stop[0], max(0, len(text) - len(stop) + 1))
    while start >= 0:
        if stop.startswith(text[start:]):
            return len(text) - start
        start = text.find(stop[0], start + 1)
    return 0


def cut_at_stops(completion: Completion, stops: Sequence[str], *, server_stops: bool = False) -> Completion:
    """Truncate a whole answer, and each of its alternatives, before its first stop text.

    Tool calls after the text are dropped too. Token counts, ``raw``, and the finish reason of a blocked answer do not
    change.

    Args:
        completion: The answer, changed in place.
        stops: The stop texts.
        server_stops: Whether the server itself ends its answers at stop texts and leaves them in. If it did, its finish
            reason does not change either.
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
    """A decoder whose answer can be ended before the server ends it."""

    def end(self) -> None:
        """Mark the answer as complete, so that ``close`` returns its metadata."""


class _Choice:
    """State of one choice."""

    __slots__ = ("beyond", "cutter", "scored", "scores")

    def __init__(self, stops: Sequence[str]) -> None:
        self.cutter = StopCutter(stops)
        #: Log probabilities of tokens held back.
        self.scores: list[TokenLogprob] = []
        #: Characters held back of tokens whose log probabilities were already returned.
        self.scored = 0
        #: Characters from the server after the returned text.
        self.beyond = 0


class StoppingDecoder(WrappedDecoder[EndableDecoder]):
    """A stream decoder that truncates each choice before its first stop text, even if that spans pieces.

    Only text is searched; reasoning, tool calls and refusals pass unchanged until the stop text. A tail of text that
    may start a stop text is held back, with the log probabilities of its tokens, until the next text, a tool call or
    the end decides.

    Args:
        inner: The API's own decoder.
        stops: The stop texts.
        choices: Number of requested answers.
        server_stops: Whether the server itself ends its answers at stop texts, unless one ends inside a token. Then the
            stream is read on for token counts and finish reason, until the server sends more text. Otherwise the stream
            is cut short as soon as every choice has reached a stop text.
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
        """Whether the answer is complete, also because every choice has reached a stop text."""
        return self._inner.complete or self._all_stopped

    @property
    def cut_short(self) -> bool:
        """Whether every choice has reached a stop text, and the server may still send more."""
        return self._went_on if self._server_stops else self._all_stopped

    def feed(self, data: bytes) -> Sequence[Delta]:
        """Process the data of one event."""
        return [delta for delta in self._inner.feed(data) if self._keeps(delta)]

    def close(self) -> Sequence[Delta]:
        """Process the end of the stream; choices that reached a stop text end with ``"stop"``.

        Raises:
            InterruptedStreamError: The answer is incomplete.
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
        """Return the finish reason of a choice that reached a stop text."""
        if servers is None:
            return _STOPPED
        ended_there = self._server_stops and not self._went_on and choice.beyond <= len(choice.cutter.matched or "")
        return servers if ended_there or servers in BLOCKED_FINISH_REASONS else _STOPPED

    def _keeps(self, delta: Delta) -> bool:
        """Truncate a delta in place. Return whether anything is left."""
        self._id = self._id or delta.id
        if delta.choice in self._stopped:
            if self._server_stops and delta.text and self._all_stopped:
                self._went_on = True
                self._inner.end()
            return False
        # Log probabilities of tokens without text keep their place behind those that are held back.
        if delta.text or delta.tool_calls or (delta.logprobs and self._choices[delta.choice].scores):
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
        if not delta.text:
            return
        scores, choice.scores = choice.scores, []
        if choice.cutter.matched is not None:
            scores = _scores_within(scores, len(delta.text) - choice.scored)
        elif choice.cutter.held:
            # A token that begins in the tail held back waits with it.
            begun = _scores_within(scores, len(delta.text) - choice.scored)
            choice.scores = scores[len(begun) :]
            scores = begun
            choice.scored = max(0, choice.scored + sum(len(score.token) for score in begun) - len(delta.text))
        else:
            choice.scored = 0
        delta.logprobs = scores or None


def _scores_within(scores: Sequence[TokenLogprob], length: int) -> list[TokenLogprob]:
    """Return the leading tokens that start within a number of characters."""
    kept: list[TokenLogprob] = []
    begin = 0
    for score in scores:
        if begin >= length:
            break
        kept.append(score)
        begin += len(score.token)
    return kept
