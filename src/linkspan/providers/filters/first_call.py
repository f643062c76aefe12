"""Implement ``parallel_tool_calls=False`` for APIs without the parameter: keep only the first call."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from linkspan.providers.codec import StreamDecoder, WrappedDecoder

if TYPE_CHECKING:
    from collections.abc import Sequence

    from linkspan.conversation import ChatRequest, Completion, Delta

__all__ = ["FirstCallDecoder", "keep_first_call", "wants_one_call", "without_parallel_calls"]

_NAME = "parallel_tool_calls"


def wants_one_call(request: ChatRequest) -> bool:
    """Whether a request forbids several calls in one answer."""
    return request.parameters.get(_NAME) is False


def without_parallel_calls(request: ChatRequest) -> ChatRequest:
    """Return the request without the parameter."""
    if _NAME not in request.parameters:
        return request
    return replace(request, parameters={name: value for name, value in request.parameters.items() if name != _NAME})


def keep_first_call(completion: Completion) -> Completion:
    """Drop all calls but the first from an answer and its alternatives, and return it."""
    for answer in (completion, *completion.alternatives):
        del answer.tool_calls[1:]
    return completion


class FirstCallDecoder(WrappedDecoder[StreamDecoder]):
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
