"""Assemble a stream's deltas into a whole answer. Both frameworks use it, sync and async."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from linkspan.conversation import Completion, Delta, TokenLogprob, ToolCall, Usage
from linkspan.tool_arguments import judge_calls

if TYPE_CHECKING:
    from linkspan.conversation import ToolCallDelta

__all__ = ["Assembler"]


class _PartialCall:
    __slots__ = ("arguments", "id", "name")

    def __init__(self) -> None:
        self.id: str | None = None
        self.name = ""
        self.arguments = ""

    def add(self, delta: ToolCallDelta) -> None:
        if delta.id is not None:
            self.id = delta.id
        if delta.name is not None:
            self.name = delta.name
        # CPython grows a local string in place; ``+=`` on an attribute would copy it for every piece.
        arguments, self.arguments = self.arguments, ""
        arguments += delta.arguments
        self.arguments = arguments

    def so_far(self) -> ToolCall:
        return ToolCall(self.id, self.name, self.arguments)


class Assembler:
    """State of one streamed answer. ``add`` each delta; call ``completion`` at any time.

    Attributes:
        text: The text so far.
        reasoning: The reasoning so far.
        rate_limit: The rate limits from the stream's headers; set by the endpoint.
    """

    __slots__ = (
        "_alternatives",
        "_calls",
        "_logprobs",
        "extra",
        "finish_reason",
        "id",
        "model",
        "rate_limit",
        "reasoning",
        "refusal",
        "request_id",
        "text",
        "usage",
    )

    def __init__(self) -> None:
        self.text = ""
        self.reasoning = ""
        self._calls: dict[int, _PartialCall] = {}
        self._logprobs: list[TokenLogprob] | None = None
        self._alternatives: dict[int, Assembler] = {}
        self.refusal = ""
        self.finish_reason: str | None = None
        self.usage: Usage | None = None
        self.id: str | None = None
        self.model: str | None = None
        self.request_id: str | None = None
        self.extra: dict[str, Any] = {}
        self.rate_limit: dict[str, int | str] | None = None

    def add(self, delta: Delta) -> None:
        """Add the next delta."""
        if delta.choice:
            choice = delta.choice
            delta.choice = 0
            self._alternatives.setdefault(choice, Assembler()).add(delta)
            delta.choice = choice
            return
        if delta.text:
            text, self.text = self.text, ""
            text += delta.text
            self.text = text
        if delta.reasoning:
            reasoning, self.reasoning = self.reasoning, ""
            reasoning += delta.reasoning
            self.reasoning = reasoning
        for call in delta.tool_calls:
            self._calls.setdefault(call.index, _PartialCall()).add(call)
        if delta.logprobs:
            if self._logprobs is None:
                self._logprobs = []
            self._logprobs.extend(delta.logprobs)
        if delta.id is not None:
            self.id = delta.id
        if delta.finish_reason is not None or delta.usage is not None or delta.extra or delta.refusal or delta.model:
            self._add_details(delta)
        if delta.request_id is not None:
            self.request_id = delta.request_id

    def _add_details(self, delta: Delta) -> None:
        self.refusal += delta.refusal
        if delta.finish_reason is not None:
            self.finish_reason = delta.finish_reason
        if delta.usage is not None:
            self.usage = delta.usage
        if delta.model is not None:
            self.model = delta.model
        if delta.extra:
            self.extra.update(delta.extra)

    @property
    def tool_calls(self) -> list[ToolCall]:
        """The tool calls so far, in order. Arguments of the last ones may be unfinished JSON."""
        return [call.so_far() for _, call in sorted(self._calls.items())]

    def tool_call(self, index: int) -> ToolCall:
        """Return one tool call as received so far."""
        return self._calls[index].so_far()

    def completion(self) -> Completion:
        """Return the answer so far as a :class:`Completion`. Calls with incomplete arguments have a ``problem``."""
        calls = self.tool_calls
        judge_calls(calls, self.finish_reason)
        return Completion(
            text=self.text,
            reasoning=self.reasoning,
            tool_calls=calls,
            refusal=self.refusal,
            finish_reason=self.finish_reason,
            usage=self.usage,
            logprobs=self._logprobs,
            id=self.id,
            model=self.model,
            request_id=self.request_id,
            extra=dict(self.extra),
            alternatives=[part.completion() for _, part in sorted(self._alternatives.items())],
            rate_limit=self.rate_limit,
        )
