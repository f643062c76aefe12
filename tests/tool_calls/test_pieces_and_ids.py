"""Pieces of one call are one call, and each call has an id of its own: every chat class, whole and streamed."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.messages import AIMessage, ToolMessage
from langchain_core.messages import ChatMessage as RoleMessage
from llama_index.core.base.llms.types import ChatMessage, ToolCallBlock

from linkspan.conversation import ChatRequest, Tool
from linkspan.errors import InvalidRequestError
from linkspan.langchain import ChatScaleway
from linkspan.providers.scaleway import ScalewayChatCodec
from linkspan_sandbox import Reply
from tests.support.streams import assemble
from tests.tool_calls.conftest import CHATS, KEY, RESPONSES, TOOLS, WAYS, event, merged, name_of, piece, streamed, whole

if TYPE_CHECKING:
    from collections.abc import Callable

    from linkspan_sandbox import Sandbox
    from tests.tool_calls.conftest import Chat

ROLE = {"role": "assistant", "content": None}
PAY = [("pay", {"to": "Ada"})]
TWO = [("look_up", {"to": "Ada"}), ("pay", {"to": "Ben"})]
SAME_TOOL = [("pay", {"to": "Ada"}), ("pay", {"to": "Ben"})]
ADA, BEN = '{"to": "Ada"}', '{"to": "Ben"}'


def calls(*fragments: dict[str, Any]) -> dict[str, Any]:
    return {"tool_calls": list(fragments)}


#: Streams, by what is special about them, and the calls that they make.
STREAMS: dict[str, tuple[Reply, list[tuple[str, dict[str, Any]]]]] = {
    "head and arguments in one event": (
        streamed(ROLE, calls(piece("", name="pay", index=0, id="a"), piece(ADA, index=0))),
        PAY,
    ),
    "three pieces in the very first event": (
        streamed(calls(piece("", name="pay", index=0, id="a"), piece('{"to":', index=0), piece(' "Ada"}', index=0))),
        PAY,
    ),
    "two calls of two pieces each in one event": (
        streamed(
            calls(
                piece("", name="look_up", index=0, id="a"),
                piece(ADA, index=0),
                piece("", name="pay", index=1, id="b"),
                piece(BEN, index=1),
            )
        ),
        TWO,
    ),
    "on the event with the finish reason": (
        Reply(
            events=[
                event(ROLE),
                event(calls(piece("", name="pay", index=0, id="a"), piece(ADA, index=0)), "tool_calls"),
                "[DONE]",
            ]
        ),
        PAY,
    ),
    "one id, one index": (
        streamed(calls(piece(ADA, name="look_up", index=0, id="0")), calls(piece(BEN, name="pay", index=0, id="0"))),
        TWO,
    ),
    "one id, one index, one tool": (
        streamed(calls(piece(ADA, name="pay", index=0, id="0")), calls(piece(BEN, name="pay", index=0, id="0"))),
        SAME_TOOL,
    ),
    "one id, no index": (
        streamed(calls(piece(ADA, name="look_up", id="0")), calls(piece(BEN, name="pay", id="0"))),
        TWO,
    ),
    "one id, no index, one event": (
        streamed(calls(piece(ADA, name="pay", id="0"), piece(BEN, name="pay", id="0"))),
        SAME_TOOL,
    ),
    "one id, two indices": (
        streamed(calls(piece(ADA, name="look_up", index=0, id="0"), piece(BEN, name="pay", index=1, id="0"))),
        TWO,
    ),
    "one id, in pieces, with a head for each call": (
        streamed(
            calls(piece("", name="pay", index=0, id="0")),
            calls(piece('{"to": ', index=0)),
            calls(piece('"Ada"}', index=0)),
            calls(piece("", name="pay", index=0, id="0")),
            calls(piece('{"to": ', index=0)),
            calls(piece('"Ben"}', index=0)),
        ),
        SAME_TOOL,
    ),
    "neither id nor index, one event": (
        streamed(calls(piece(ADA, name="look_up"), piece(BEN, name="pay"))),
        TWO,
    ),
    "interleaved, with indices as text": (
        streamed(
            calls(piece("", name="look_up", index="0", id="a"), piece("", name="pay", index="1", id="b")),
            calls(piece(ADA, index="0")),
            calls(piece(BEN, index="1")),
        ),
        TWO,
    ),
    "ids that are null": (
        streamed(calls(piece(ADA, name="look_up", index=0, id=None)), calls(piece(BEN, name="pay", index=1, id=None))),
        TWO,
    ),
    "a name in pieces": (
        streamed(
            calls(piece("", name="look", index=0, id="a")),
            calls(piece(None, name="_up", index=0)),
            calls(piece(ADA, index=0)),
            calls(piece("", name="p", index=1, id="b")),
            calls(piece(BEN, name="ay", index=1, id="b")),
        ),
        TWO,
    ),
    "a name that grows": (
        streamed(
            calls(piece("", name="l", index=0, id="a")),
            calls(piece("", name="look_up", index=0, id="a")),
            calls(piece(ADA, index=0)),
            calls(piece(BEN, name="pay", index=1, id="b")),
        ),
        TWO,
    ),
    "indices as text, interleaved": (
        streamed(
            calls(piece("", name="look_up", index="0"), piece("", name="pay", index="1")),
            calls(piece('{"to": ', index="0"), piece('{"to": ', index="1")),
            calls(piece('"Ben"}', index="1"), piece('"Ada"}', index="0")),
        ),
        TWO,
    ),
    "numbers as ids, no index, interleaved": (
        streamed(
            calls(piece("", name="look_up", id=1), piece("", name="pay", id=2)),
            calls(piece('{"to": ', id=1), piece('{"to": ', id=2)),
            calls(piece('"Ben"}', id=2), piece('"Ada"}', id=1)),
        ),
        TWO,
    ),
    "OpenAI's form from before tools": (
        streamed(
            {"function_call": {"name": "pay", "arguments": ""}},
            {"function_call": {"arguments": '{"to": '}},
            {"function_call": {"arguments": '"Ada"}'}},
            finish="function_call",
        ),
        PAY,
    ),
    "the head again behind the whole arguments": (
        streamed(calls(piece(ADA, name="pay", index=0, id="a")), calls(piece("", name="pay", index=0, id="a"))),
        PAY,
    ),
}


def test_pieces_make_the_calls_that_were_meant(chat: Chat, make: Callable[..., Any], sandbox: Sandbox) -> None:
    model = make()
    for place, (special, (reply, expected)) in enumerate(STREAMS.items()):
        sandbox.reset()
        sandbox.add_rule(reply)
        # Both ways take the pieces apart with one decoder.
        seen = chat.ask(model, ("stream", "astream")[place % 2])
        assert [(name, arguments) for _, name, arguments in seen.calls] == expected, special
        ids = [call_id for call_id, _, _ in seen.calls]
        assert all(isinstance(call_id, str) and call_id for call_id in ids), special
        assert len(set(ids)) == len(ids), special


def test_a_name_that_begins_another_waits_for_its_arguments() -> None:
    tools = [Tool(name) for name in ("pay", "pay_back", "back")]
    for heads, expected in (
        (("pay",), ["pay"]),
        (("pay", "_back"), ["pay_back"]),
        (("pa", "y", "_ba", "ck"), ["pay_back"]),
        (("pay", "back"), ["pay", "back"]),
        (("unknown", "pay"), ["unknown", "pay"]),
    ):
        decoder = ScalewayChatCodec().stream_decoder(ChatRequest("m", [], tools=tools), {})
        events = [event(calls(piece("", name=name, index=0, id="a"))) for name in heads] + [event({}, "tool_calls")]
        deltas = [delta for one in events for delta in decoder.feed(json.dumps(one).encode())] + [*decoder.close()]
        assert [call.name for delta in deltas for call in delta.tool_calls] == expected, heads
        assert [call.name for call in assemble(deltas).tool_calls] == expected, heads


def test_names_in_pieces_of_two_calls_at_once() -> None:
    tools = [Tool(name) for name in ("pay", "pay_back", "look_up")]
    decoder = ScalewayChatCodec().stream_decoder(ChatRequest("m", [], tools=tools), {})
    heads = [("look", 0), ("pay", 1), ("_back", 1)]
    fragments = [piece("", name=name, index=index) for name, index in heads]
    fragments += [piece(BEN, index=1), piece("", name="_up", index=0), piece(ADA, index=0)]
    events = [event(calls(fragment)) for fragment in fragments] + [event({}, "tool_calls")]
    deltas = [delta for one in events for delta in decoder.feed(json.dumps(one).encode())] + [*decoder.close()]
    made = assemble(deltas).tool_calls
    assert [(call.name, call.arguments) for call in made] == [("look_up", ADA), ("pay_back", BEN)]


def test_a_whole_call_in_openais_form_from_before_tools(chat: Chat, make: Callable[..., Any], sandbox: Sandbox) -> None:
    message = {"role": "assistant", "content": None, "function_call": {"name": "pay", "arguments": ADA}}
    choice = {"index": 0, "message": message, "finish_reason": "function_call"}
    sandbox.add_rule(Reply(body={"id": "c-1", "object": "chat.completion", "created": 1, "choices": [choice]}))
    ((call_id, name, arguments),) = chat.ask(make(), "invoke").calls
    assert (name, arguments) == ("pay", {"to": "Ada"})
    assert call_id


def test_calls_of_one_answer_have_ids_of_their_own(chat: Chat, make: Callable[..., Any], sandbox: Sandbox) -> None:
    model = make()
    for wire_id, ways in (("call_1", WAYS), (None, ("invoke", "astream")), (0, ("ainvoke", "stream"))):
        both = [piece(ADA, name="look_up", id=wire_id), piece(BEN, name="pay", id=wire_id)]
        deltas = [calls({"index": place, **call}) for place, call in enumerate(both)]
        sandbox.reset()
        sandbox.add_rule(lambda call, deltas=deltas, both=both: streamed(*deltas) if call.stream else whole(*both))
        for way in ways:
            seen = chat.ask(model, way)
            assert [(name, arguments) for _, name, arguments in seen.calls] == TWO, (wire_id, way)
            (first, _, _), (second, _, _) = seen.calls
            assert first, (wire_id, way)
            assert second, (wire_id, way)
            assert first != second, (wire_id, way)
            if wire_id:
                assert first == wire_id, way


def test_ids_of_the_conversation_are_not_used_again(chat: Chat, make: Callable[..., Any], sandbox: Sandbox) -> None:
    call = piece(ADA, name="pay", id="0")
    sandbox.add_rule(lambda asked: streamed(calls({"index": 0, **call})) if asked.stream else whole(call))
    model = make()
    for way in WAYS:
        ((call_id, name, arguments),) = chat.ask(model, way, _a_turn_before(chat.framework)).calls
        assert (name, arguments) == ("pay", {"to": "Ada"}), way
        assert call_id not in {"0", "", None}, way


@pytest.mark.parametrize("model", ["mistral-small-3.2-24b-instruct-2506", "llama-3.3-70b-instruct"])
@pytest.mark.parametrize("scaleway", [chat for chat in CHATS if "Scaleway" in chat.name], ids=lambda chat: chat.name)
def test_models_of_mistral_get_ids_of_their_form(sandbox: Sandbox, scaleway: Chat, model: str) -> None:
    asked = scaleway.make(sandbox, model=model)
    scaleway.ask(asked, "invoke", _a_turn_before(scaleway.framework))
    asked.close()
    _, turn, result, _ = sandbox.last_request.json["messages"]
    sent = turn["tool_calls"][0]["id"]
    assert result["tool_call_id"] == sent
    assert (re.fullmatch("[a-zA-Z0-9]{9}", sent) is not None) if "mistral" in model else sent == "0"


@pytest.mark.parametrize("chat", [*CHATS, *RESPONSES], ids=name_of)
def test_a_result_without_a_call_is_refused_and_one_without_an_id_finds_its_call(chat: Chat, sandbox: Sandbox) -> None:
    model = chat.make(sandbox)
    calling, result = _a_turn_without_ids(chat.framework)
    question = ("user", "go") if chat.framework == "langchain" else ChatMessage("go")
    with pytest.raises(InvalidRequestError, match="message 1 is a tool's result without the id of the call"):
        chat.ask(model, "invoke", [question, result])
    assert not sandbox.requests
    chat.ask(model, "invoke", [question, calling, result])
    model.close()
    body = sandbox.last_request.json
    if "input" in body:
        _, call, answer, *_ = body["input"]
        assert call["call_id"] == answer["call_id"]
    else:
        _, turn, answer, *_ = body["messages"]
        assert turn["tool_calls"][0]["id"] == answer["tool_call_id"]


def _a_turn_without_ids(framework: str) -> list[Any]:
    arguments = {"to": "Ada"}
    if framework == "langchain":
        calling = AIMessage("", tool_calls=[{"id": None, "name": "pay", "args": arguments}])
        return [calling, RoleMessage("paid", role="tool")]
    block = ToolCallBlock(tool_call_id=None, tool_name="pay", tool_kwargs=arguments)
    return [ChatMessage(role="assistant", blocks=[block]), ChatMessage("paid", role="tool")]


def _a_turn_before(framework: str) -> list[Any]:
    if framework == "langchain":
        made = {"id": "0", "name": "pay", "args": {"to": "Ada"}}
        return [("user", "go"), AIMessage("", tool_calls=[made]), ToolMessage("paid", tool_call_id="0")]
    block = ToolCallBlock(tool_call_id="0", tool_name="pay", tool_kwargs={"to": "Ada"})
    return [
        ChatMessage("go"),
        ChatMessage(role="assistant", blocks=[block]),
        ChatMessage("paid", role="tool", additional_kwargs={"tool_call_id": "0"}),
    ]


@pytest.mark.parametrize("version", ["v0", "v1"])
def test_content_of_either_version_holds_the_calls_of_the_message(sandbox: Sandbox, version: str) -> None:
    model = ChatScaleway(
        model="llama-3.3-70b-instruct", base_url=sandbox.scaleway_url, api_key=KEY, output_version=version
    )
    for special, (reply, expected) in STREAMS.items():
        sandbox.reset()
        sandbox.add_rule(reply)
        message = merged(list(model.bind_tools(TOOLS).stream("go")))
        assert [(call["name"], call["args"]) for call in message.tool_calls] == expected, special
        shown = [block for block in message.content_blocks if block["type"] == "tool_call"]
        assert [(block["name"], block["args"], block["id"]) for block in shown] == [
            (call["name"], call["args"], call["id"]) for call in message.tool_calls
        ], special
    model.close()
