"""Convert LlamaIndex's responses for linkspan's strict JSON reader, and parse objects during a stream."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from llama_index.core.base.llms.types import ChatMessage, ChatResponse, MessageRole, ThinkingBlock, ToolCallBlock
from llama_index.core.program.streaming_utils import process_streaming_content_incremental

from linkspan.conversation import Completion, ToolCall, Usage
from linkspan.llama_index.tool_calls import legacy_call
from linkspan.tool_arguments import as_json_text

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["GrowingObject", "answer_of"]


def answer_of(response: ChatResponse | None) -> Completion:
    """Convert a finished answer to a neutral one; a stream without chunks gives an empty answer."""
    if response is None:
        return Completion()
    facts: Mapping[str, Any] = response.additional_kwargs
    made = facts.get("completion_tokens")
    return Completion(
        text=response.message.content or "",
        reasoning=_reasoning_of(response),
        refusal=facts.get("refusal") or "",
        tool_calls=_calls_of(response.message),
        finish_reason=facts.get("finish_reason"),
        usage=None if made is None else Usage(output_tokens=made),
        id=facts.get("id"),
        model=facts.get("model"),
        request_id=facts.get("request_id"),
    )


def _reasoning_of(response: ChatResponse) -> str:
    thoughts = [block.content or "" for block in response.message.blocks if isinstance(block, ThinkingBlock)]
    return "".join(thoughts) or response.additional_kwargs.get("reasoning") or ""


def _calls_of(message: ChatMessage) -> list[ToolCall]:
    """Return the calls with their arguments as text, the model's own text if the message kept it."""
    kept = message.additional_kwargs.get("tool_calls") or ()
    blocks = [block for block in message.blocks if isinstance(block, ToolCallBlock)]
    if blocks and not all(isinstance(call, dict) for call in kept or (None,)):
        calls = [(block.tool_call_id, block.tool_name, block.tool_kwargs) for block in blocks]
    else:
        calls = [legacy_call(call) for call in kept]
    return [ToolCall(call_id, name, as_json_text(arguments)) for call_id, name, arguments in calls]


class GrowingObject:
    """An object during a stream.

    Args:
        output_cls: The class of the whole object.
        tool: Parse the arguments of this tool's call; by default parse the text.

    Attributes:
        partial: The object so far: an ``output_cls``, or core's flexible version of it; ``None`` at first.
    """

    def __init__(self, output_cls: type[Any], tool: str | None) -> None:
        self.partial: Any = None
        self._output_cls = output_cls
        self._tool = tool
        self._read_at = 0

    def add(self, chunk: ChatResponse) -> bool:
        """Add the next chunk; return whether the object has grown."""
        text = self._text_of(chunk)
        # A long answer is parsed again only after it has grown by a share, so that the total work stays linear.
        if len(text) - self._read_at <= self._read_at // 64:
            return False
        self._read_at = len(text)
        before = self.partial
        # A partial answer may be anything, and the class's validators expect whole ones.
        with contextlib.suppress(Exception):
            so_far = ChatResponse(message=ChatMessage(role=MessageRole.ASSISTANT, content=text))
            self.partial = process_streaming_content_incremental(so_far, self._output_cls, before)
        return self.partial is not None and self.partial != before

    def _text_of(self, chunk: ChatResponse) -> str:
        if self._tool is None:
            return chunk.message.content or ""
        return next((call.arguments for call in _calls_of(chunk.message) if call.name == self._tool), "")
