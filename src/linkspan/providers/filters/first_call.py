"""Enforce ``parallel_tool_calls=False``: keep only the first call. Some APIs lack it, and some servers ignore it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from linkspan.providers.codec import StreamDecoder, WrappedDecoder

if TYPE_CHECKING:
    from collections.abc import Sequence

    from linkspan.conversation import ChatRequest, Completion, Delta

__all__ = ["keep_wanted_calls", "wanted_calls_decoder"]


def _wants_one_call(request: ChatRequest) -> bool:
    return request.parameters.get("parallel_tool_calls") is False


def keep_wanted_calls(completion: Completion, request: ChatRequest) -> Completion:
    """Return an answer, in which each choice has one call at most if the request forbids several."""
    if _wants_one_call(request):
        for answer in (completion, *completion.alternatives):
            del answer.tool_calls[1:]
    return completion


def wanted_calls_decoder(decoder: StreamDecoder, request: ChatRequest) -> StreamDecoder:
    """Return a stream decoder that yields one call at most of each choice if the request forbids several."""
    return _FirstCallDecoder(decoder) if _wants_one_call(request) else decoder


class _FirstCallDecoder(WrappedDecoder[StreamDecoder]):
    """Drops all calls but the first from a streamed answer."""

    __slots__ = ()

    def feed(self, data: bytes) -> Sequence[Delta]:
        """Process the data of one event."""
        return _trimmed(self._inner.feed(data))

    def close(self) -> Sequence[Delta]:
        """Process the end of the stream.

        Raises:
            InterruptedStreamError: The answer is incomplete.
        """
        return _trimmed(self._inner.close())


def _trimmed(deltas: Sequence[Delta]) -> Sequence[Delta]:
    kept = []
    for delta in deltas:
        if delta.tool_calls:
            delta.tool_calls = [call for call in delta.tool_calls if call.index == 0]
            if not (delta.tool_calls or delta.text or delta.reasoning or delta.refusal or delta.logprobs or delta.last):
                continue
        kept.append(delta)
    return kept
