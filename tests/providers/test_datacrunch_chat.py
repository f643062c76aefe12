"""TGI's chat route: what goes there, and what its old and new versions answer."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from linkspan.conversation import (
    ChatRequest,
    Message,
    NamedTool,
    Reasoning,
    ResponseFormat,
    Text,
    Tool,
    ToolCall,
)
from linkspan.errors import (
    InvalidRequestError,
    ServerError,
    UnsupportedContentError,
)
from linkspan.providers.datacrunch import DataCrunchChatCodec, regex_grammar
from tests.providers.tgi import event
from tests.support.loopback import event_stream, http
from tests.support.streams import assemble

if TYPE_CHECKING:
    from tests.providers.tgi import Caller


# --------------------------------------------------------------------------- the chat route


SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER = Tool("get_weather", None, SCHEMA)


def chat(**fields: Any) -> ChatRequest:
    return ChatRequest(None, [Message("user", [Text("Hi")])], **fields)


def test_the_chat_route_speaks_of_grammars() -> None:
    codec = DataCrunchChatCodec()
    body = codec.encode(chat(response_format=ResponseFormat("json_schema", SCHEMA, "City")), stream=False)
    assert codec.path(chat(), stream=False) == "v1/chat/completions"
    assert body == {
        "model": "tgi",
        "messages": [{"role": "user", "content": "Hi"}],
        "response_format": {"type": "json", "value": SCHEMA},
    }
    body = codec.encode(chat(parameters={"grammar": regex_grammar("a+"), "temperature": 0}), stream=False)
    assert body["response_format"] == {"type": "regex", "value": "a+"}
    assert body["temperature"] == 0
    assert "grammar" not in body


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"parameters": {"presence_penalty": 0.5}}, "repetition penalty of the value plus 2"),
        ({"parameters": {"logit_bias": {"1": 5}}}, "TGI ignores it"),
        ({"parameters": {"n": 2}}, "one answer per call"),
        ({"response_format": ResponseFormat("json_object")}, "JSON object without a schema"),
        ({"response_format": ResponseFormat("json_schema", SCHEMA), "tools": [WEATHER]}, "not both"),
    ],
)
def test_what_the_chat_route_cannot_do_is_refused(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(UnsupportedContentError, match=words):
        DataCrunchChatCodec().encode(chat(**fields), stream=False)


@pytest.mark.parametrize(
    "calls",
    [
        {"id": 0, "type": "function", "function": {"name": "get_weather", "arguments": {"city": "Rome"}}},
        [{"id": "", "type": "function", "function": {"name": "get_weather", "arguments": '{"city": "Rome"}'}}],
    ],
)
async def test_tool_calls_of_old_servers(tgi: Caller, calls: Any) -> None:
    endpoint = tgi.connect(DataCrunchChatCodec())
    request = chat(tools=[WEATHER], tool_choice=NamedTool("get_weather"))
    choice = {"index": 0, "message": {"role": "assistant", "tool_calls": calls}, "finish_reason": "eos_token"}
    tgi.server.answer(http(200, event({"object": "text_completion", "id": "", "model": "m", "choices": [choice]})))
    answer = await tgi.complete(request, endpoint)
    tgi.server.answer(
        *event_stream(
            event({"id": "", "choices": [{"index": 0, "delta": {"role": "assistant", "tool_calls": calls}}]}),
            event({"id": "", "choices": [{"index": 0, "delta": {}, "finish_reason": "eos_token"}]}),
            done=None,
        )
    )
    streamed = assemble(await tgi.stream(request, endpoint))
    for found in (answer, streamed):
        (call,) = found.tool_calls
        assert isinstance(call, ToolCall)
        assert call.name == "get_weather"
        assert call.id
        assert json.loads(call.arguments) == {"city": "Rome"}
        assert (found.finish_reason, found.extra["tgi_finish_reason"]) == ("stop", "eos_token")


async def test_chat_errors_are_typed_alike(tgi: Caller) -> None:
    endpoint = tgi.connect(DataCrunchChatCodec())
    tgi.server.answer(http(424, b'{"error":"Request failed during generation","error_type":"generation"}'))
    with pytest.raises(ServerError) as caught:
        await tgi.complete(chat(), endpoint)
    assert caught.value.is_retryable
    failed = event({"error": {"message": "x", "http_status_code": 422}})
    tgi.server.answer(*event_stream(event({"choices": [{"index": 0, "delta": {"content": "Hi"}}]}), failed))
    with pytest.raises(InvalidRequestError) as refused:
        await tgi.stream(chat(), endpoint)
    assert refused.value.partial_text == "Hi"


def piece(text: str, finish: str | None = None, **fields: Any) -> bytes:
    delta = {"role": "assistant", "content": text}
    return event({"id": "", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}], **fields})


@pytest.mark.parametrize(
    ("pieces", "text", "finish"),
    [
        (["one ST", "OP"], "one ", "stop"),
        (["one STOP two"], "one ", "stop"),
        (["one ST", "AY"], "one STAY", "stop"),
        (["one ST"], "one ST", "stop"),
    ],
)
async def test_stop_texts_are_cut_off(tgi: Caller, pieces: list[str], text: str, finish: str) -> None:
    endpoint = tgi.connect(DataCrunchChatCodec())
    usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    choice = {"index": 0, "message": {"role": "assistant", "content": "".join(pieces)}, "finish_reason": "stop"}
    tgi.server.answer(http(200, event({"id": "", "choices": [choice], "usage": usage})))
    whole_answer = await tgi.complete(chat(stop=["STOP"]), endpoint)
    tgi.server.answer(*event_stream(*map(piece, pieces), piece("", "stop"), event({"choices": [], "usage": usage})))
    streamed = assemble(await tgi.stream(chat(stop=["STOP"]), endpoint))
    for answer in (whole_answer, streamed):
        assert (answer.text, answer.finish_reason) == (text, finish)
        assert answer.usage is not None
        assert answer.usage.total_tokens == 5


async def test_a_chat_stream_that_goes_on_after_a_stop_text_is_closed(tgi: Caller) -> None:
    endpoint = tgi.connect(DataCrunchChatCodec())
    tgi.server.answer(*event_stream(piece("one STOP"), piece(" two"), done=None)[:-1])
    answer = assemble(await tgi.stream(chat(stop=["STOP"]), endpoint))
    assert (answer.text, answer.finish_reason) == ("one ", "stop")
    assert tgi.server.wait_closed()


def test_earlier_reasoning_is_not_dropped_without_a_word() -> None:
    thought = Message("assistant", [Reasoning("Two and two."), Text("Four.")])
    question = Message("user", [Text("Why?")])
    with pytest.raises(UnsupportedContentError, match=r"no field for reasoning of earlier turns \(message 0\)"):
        DataCrunchChatCodec().encode(ChatRequest(None, [thought, question], send_reasoning=True), stream=False)
    body = DataCrunchChatCodec().encode(ChatRequest(None, [thought, question]), stream=False)
    assert body["messages"][0] == {"role": "assistant", "content": "Four."}
