"""Stop texts of TGI's chat route, which are part of its answers as on its other routes: cut off here.

The server ends the answer at a stop text itself, unless that lies inside a token. So a stream that met one is read on
for its counts, until the server is seen to go on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from linkspan.conversation import Delta
from linkspan.providers.client_stop import EndableDecoder, cut_at_stops
from linkspan.providers.datacrunch.decode import STOPPED, put_common_words
from linkspan.providers.stop_text import StopCutter
from linkspan.providers.wrapped_decoder import WrappedDecoder

if TYPE_CHECKING:
    from collections.abc import Sequence

    from linkspan.conversation import Completion, TokenLogprob

__all__ = ["ChatStopDecoder", "cut_chat"]


def cut_chat(completion: Completion, stops: Sequence[str]) -> Completion:
    """End a whole answer before its first stop text; where the server ended it there, the finish reason is its own."""
    said, reason = completion.text, completion.finish_reason
    cut_at_stops(completion, stops)
    if completion.text != said:
        ended_there = any(said == completion.text + stop for stop in stops)
        completion.finish_reason = reason if ended_there else STOPPED
        put_common_words(completion)
    return completion


class ChatStopDecoder(WrappedDecoder[EndableDecoder]):
    """A chat stream that ends before its first stop text.

    Args:
        inner: The stream's own decoder.
        stops: The stop texts.
    """

    __slots__ = ("_beyond", "_cutter", "_scores", "_went_on")

    def __init__(self, inner: EndableDecoder, stops: Sequence[str]) -> None:
        super().__init__(inner)
        self._cutter = StopCutter(stops)
        #: Of tokens whose text is held back.
        self._scores: list[TokenLogprob] = []
        #: Characters said and not shown. More of them than the stop text has: the server did not end there.
        self._beyond = 0
        self._went_on = False

    @property
    def cut_short(self) -> bool:
        """Whether the server went on after a stop text."""
        return self._went_on

    @property
    def complete(self) -> bool:
        """Whether the answer is whole: it is at its stop text."""
        return self._inner.complete or self._cutter.matched is not None

    def feed(self, data: bytes) -> Sequence[Delta]:
        """Take the data of one event."""
        deltas = []
        for delta in self._inner.feed(data):
            if self._cutter.matched is not None:
                if delta.text:
                    self._went_on = True
                    self._inner.end()
                continue
            if delta.text:
                self._cut(delta)
            if delta.text or delta.reasoning or delta.tool_calls or delta.refusal:
                deltas.append(delta)
        return deltas

    def _cut(self, delta: Delta) -> None:
        said = len(delta.text)
        delta.text = self._cutter.feed(delta.text)
        self._beyond += said - len(delta.text)
        self._scores.extend(delta.logprobs or ())
        delta.logprobs = None
        if delta.text and self._scores:
            delta.logprobs, self._scores = self._scores, []

    def close(self) -> Sequence[Delta]:
        """Take the end of the stream.

        Raises:
            InterruptedStreamError: The answer is not whole.
        """
        matched = self._cutter.matched
        if matched is not None and not self._inner.complete:
            self._inner.end()
        ending = self._inner.close()
        held = self._cutter.flush()
        if matched is not None:
            for delta in ending:
                if delta.last and (self.cut_short or self._beyond > len(matched) or delta.finish_reason is None):
                    delta.finish_reason = STOPPED
                    put_common_words(delta)
        return [Delta(held, logprobs=self._scores or None), *ending] if held else ending
