"""Content blocks of linkspan's answers, for ``message.content_blocks``, ``output_version="v1"`` and v3 events.

Core numbers the blocks of a streamed answer by their position in the chunk. So a text and a tool call that both come
first in their chunks would be merged. String indices that start with ``lc_`` are merged only with equal ones.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from langchain_core import exceptions
from langchain_core.messages.block_translators import register_translator

from linkspan.langchain.answer_chunk import AnswerChunk

if TYPE_CHECKING:
    from langchain_core.messages import AIMessage, AIMessageChunk
    from langchain_core.messages.content import ContentBlock

__all__ = ["register_blocks"]

#: The block and its error came with langchain-core 1.7.5; agents' middleware looks for it.
_KNOWS_REFUSALS = hasattr(exceptions, "ModelRefusalError")


def register_blocks(provider: str) -> None:
    """Register the translators for messages of a ``model_provider``."""
    register_translator(provider, _blocks_of_message, _blocks_of_chunk)


def _blocks_of_message(message: AIMessage) -> list[ContentBlock]:
    return cast("list[ContentBlock]", [*_spoken_blocks(message), *_finished_calls(message)])


def _blocks_of_chunk(chunk: AIMessageChunk) -> list[ContentBlock]:
    blocks = _spoken_blocks(chunk)
    for block, index in zip(blocks, (_INDICES[block["type"]] for block in blocks), strict=True):
        block["index"] = index
    if chunk.chunk_position == "last":
        finished = _finished_calls(chunk)
        if isinstance(chunk, AnswerChunk):
            # With the index of its pieces, a broken call replaces them in v3 events.
            for block, place in zip(finished, chunk.places_of_broken_calls(), strict=False):
                block["index"] = f"lc_tc_{place}"
        blocks += finished
    else:
        blocks += [_call_chunk(dict(call), place) for place, call in enumerate(chunk.tool_call_chunks)]
    return cast("list[ContentBlock]", blocks)


_INDICES = {"reasoning": "lc_rs_0", "text": "lc_txt_0", "refusal": "lc_rf_0", "non_standard": "lc_rf_0"}


def _spoken_blocks(message: AIMessage) -> list[dict[str, Any]]:
    """Reasoning, text and refusal."""
    if not isinstance(message.content, str):
        # Not created by linkspan; core's best effort knows more shapes.
        raise NotImplementedError
    blocks: list[dict[str, Any]] = []
    if reasoning := message.additional_kwargs.get("reasoning_content"):
        blocks.append({"type": "reasoning", "reasoning": reasoning})
    if message.content:
        blocks.append({"type": "text", "text": message.content})
    if refusal := message.additional_kwargs.get("refusal"):
        block = {"type": "refusal", "refusal": refusal}
        blocks.append(block if _KNOWS_REFUSALS else {"type": "non_standard", "value": block})
    return blocks


def _finished_calls(message: AIMessage) -> list[dict[str, Any]]:
    calls = [
        {"type": "tool_call", "id": call.get("id"), "name": call["name"], "args": call["args"]}
        for call in message.tool_calls
    ]
    broken = [{**call, "type": "invalid_tool_call"} for call in message.invalid_tool_calls]
    return [*calls, *broken]


def _call_chunk(call: dict[str, Any], place: int) -> dict[str, Any]:
    index = call.get("index")
    return {
        "type": "tool_call_chunk",
        "id": call.get("id"),
        "name": call.get("name"),
        "args": call.get("args"),
        "index": f"lc_tc_{place if index is None else index}",
    }
