"""Chunks of a stream: what validation would have made, and nothing shared between them."""

from __future__ import annotations

import copy
import pickle
from typing import TYPE_CHECKING

from langchain_core.messages import AIMessageChunk

from linkspan_sandbox import Reply, Sandbox

if TYPE_CHECKING:
    from linkspan.langchain import ChatScaleway


def chunks_of(sandbox: Sandbox, model: ChatScaleway) -> list[AIMessageChunk]:
    sandbox.add_rule(Reply(reasoning=["Hm", "."], text=["Grüß", " dich"]))
    return list(model.stream("Hello"))


def test_a_chunk_equals_the_one_that_validation_makes(sandbox: Sandbox, model: ChatScaleway) -> None:
    for chunk in chunks_of(sandbox, model):
        validated = AIMessageChunk(**chunk.model_dump(exclude={"type"}))
        assert chunk == validated
        assert chunk.model_dump() == validated.model_dump()
        assert repr(chunk) == repr(validated)


def test_chunks_can_be_copied_pickled_and_added(sandbox: Sandbox, model: ChatScaleway) -> None:
    chunks = chunks_of(sandbox, model)
    for chunk in chunks:
        assert pickle.loads(pickle.dumps(chunk)) == chunk == copy.deepcopy(chunk)
        assert (chunk + AIMessageChunk(content="!")).content == f"{chunk.content}!"


def test_a_change_of_one_chunk_leaves_the_others_alone(sandbox: Sandbox, model: ChatScaleway) -> None:
    seen = []
    for chunk in chunks_of(sandbox, model):
        assert "mark" not in chunk.response_metadata
        assert "mark" not in chunk.additional_kwargs
        assert (chunk.tool_calls, chunk.invalid_tool_calls, chunk.tool_call_chunks) == ([], [], [])
        chunk.response_metadata["mark"] = chunk.additional_kwargs["mark"] = True
        for calls in (chunk.tool_calls, chunk.invalid_tool_calls, chunk.tool_call_chunks):
            calls.append("mark")
        seen.append(chunk)
    assert len(seen) > 3
