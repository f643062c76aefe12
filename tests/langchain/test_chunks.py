"""Chunks of a stream: what validation would have made, and nothing shared between them."""

from __future__ import annotations

import copy
import json
import pickle
from typing import TYPE_CHECKING

from langchain_core.messages import AIMessageChunk, HumanMessage, ToolMessage
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

from linkspan.conversation import ToolCall
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


def test_langgraph_stores_a_stream_as_a_message_of_core(sandbox: Sandbox, model: ChatScaleway) -> None:
    calls = [ToolCall("a", "pay", '{"to": "Ada"}'), ToolCall("b", "pay", '{"to": "Ben", "amount": 1')]
    sandbox.add_rule(Reply("Paying.", tool_calls=calls, finish_reason="length"))
    first, *rest = model.stream("Pay")
    whole = sum(rest, first)
    strict = JsonPlusSerializer(allowed_msgpack_modules=None)
    stored = strict.loads_typed(strict.dumps_typed(whole))
    assert type(stored) is AIMessageChunk
    assert (stored.content, stored.tool_calls) == (whole.content, whole.tool_calls)
    assert [call["id"] for call in stored.invalid_tool_calls] == ["b"]


def test_half_a_stream_in_a_conversation_shows_what_the_model_wrote(sandbox: Sandbox, model: ChatScaleway) -> None:
    sandbox.add_rule(Reply(tool_calls=[ToolCall("a", "pay", '{"to": "Ada", "amount": 12}')]), times=1)
    whole: AIMessageChunk | None = None
    for chunk in model.stream("Pay"):
        whole = chunk if whole is None else whole + chunk
        if "12" in str(whole.tool_call_chunks):
            break
        half = whole
    assert half.tool_calls[0]["args"] == {"to": "Ada"}
    for message in (half, pickle.loads(pickle.dumps(half))):
        model.invoke([HumanMessage("Pay"), message, ToolMessage("Stopped.", tool_call_id="a")])
        sent = sandbox.last_request.json["messages"][1]["tool_calls"][0]["function"]["arguments"]
        assert json.loads(sent)["invalid_arguments"].startswith('{"to": "Ada"')
