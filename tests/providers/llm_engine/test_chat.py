"""Chat on v2: what differs from the Chat Completions dialect."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from linkspan.conversation import ChatRequest, File, Image, Message, NamedTool, ResponseFormat, Text, Tool, ToolCall
from linkspan.errors import (
    ConfigurationError,
    InvalidRequestError,
    NotFoundError,
    ServerError,
    UnsupportedContentError,
)
from linkspan.providers.filters.forced_call import ForcedCallCodec
from linkspan.providers.llm_engine import LLM_ENGINE, LLMEngineChatCodec
from tests.providers.llm_engine.conftest import KEY, Caller, chat, failed

if TYPE_CHECKING:
    from tests.support.loopback import LoopbackServer

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}


def piece(delta: dict[str, Any], finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, **({"finish_reason": finish} if finish else {})}
    body = {"id": "c1", "object": "chat.completion.chunk", "model": "llama-3-8b-instruct", "choices": [choice]}
    return json.dumps(body).encode()


async def test_asks_v2_with_the_model_in_the_body(chats: Caller[ChatRequest]) -> None:
    body = await chats.sent(chat("Hi", parameters={"min_p": 0.1}))
    assert chats.server.requests[-1].target == "/v2/chat/completions"
    assert body == {"model": "llama-3-8b-instruct", "messages": [{"role": "user", "content": "Hi"}], "min_p": 0.1}
    assert chats.server.requests[-1].headers["x-api-key"] == KEY


async def test_bearer_by_choice(face: str, server: LoopbackServer) -> None:
    caller: Caller[ChatRequest] = Caller(face, LLMEngineChatCodec("bearer"), server)
    await caller.sent(chat())
    await caller.aclose()
    assert server.requests[-1].headers["authorization"] == f"Bearer {KEY}"


async def test_a_schema_goes_as_guided_json(chats: Caller[ChatRequest]) -> None:
    body = await chats.sent(chat(response_format=ResponseFormat("json_schema", SCHEMA, "place", strict=True)))
    assert body["guided_json"] == SCHEMA
    assert "response_format" not in body


async def test_for_current_images_a_schema_goes_as_a_forced_call(face: str, server: LoopbackServer) -> None:
    codec = ForcedCallCodec(LLMEngineChatCodec(), LLM_ENGINE.title)
    caller: Caller[ChatRequest] = Caller(face, codec, server)
    request = chat(response_format=ResponseFormat("json_schema", SCHEMA, "My place", description="Where."))
    body = await caller.sent(request)
    function = {"name": "My_place", "description": "Where.", "parameters": SCHEMA}
    assert body["tools"] == [{"type": "function", "function": function}]
    assert body["tool_choice"] == {"type": "function", "function": {"name": "My_place"}}
    assert not body.keys() & {"guided_json", "response_format"}
    call = {"index": 0, "id": "c", "type": "function", "function": {"name": "My_place", "arguments": ""}}
    parts = [{"index": 0, "function": {"arguments": part}} for part in ('{"city": ', '"Ostra"}')]
    answer = await caller.streamed(
        request,
        piece({"role": "assistant", "tool_calls": [call]}),
        *(piece({"tool_calls": [part]}) for part in parts),
        piece({"content": ""}, "tool_calls"),
    )
    assert (answer.text, answer.tool_calls, answer.finish_reason) == ('{"city": "Ostra"}', [], "stop")
    await caller.aclose()


async def test_for_current_images_guided_fields_are_refused(face: str, server: LoopbackServer) -> None:
    caller: Caller[ChatRequest] = Caller(face, LLMEngineChatCodec(), server)
    with pytest.raises(UnsupportedContentError, match=r"guided_choice has no effect .* guided_decoding=True"):
        await caller.complete(chat(parameters={"guided_choice": ["a"]}))
    await caller.aclose()
    assert server.requests == []


async def test_other_formats_go_as_they_are(chats: Caller[ChatRequest]) -> None:
    body = await chats.sent(chat(response_format=ResponseFormat("json_object"), parameters={"guided_regex": "a+"}))
    assert (body["response_format"], body["guided_regex"]) == ({"type": "json_object"}, "a+")


@pytest.mark.parametrize(
    ("fields", "kind", "words"),
    [
        ({"parameters": {"guided_json": {}, "guided_choice": ["a"]}}, InvalidRequestError, "both set"),
        (
            {"parameters": {"guided_choice": ["a"]}, "response_format": ResponseFormat("json_schema", SCHEMA)},
            InvalidRequestError,
            "guided_json and guided_choice are both set",
        ),
        (
            {"parameters": {"guided_json": {}}, "response_format": ResponseFormat("json_schema", SCHEMA)},
            ConfigurationError,
            "is sent as guided_json, which is also set",
        ),
    ],
)
async def test_refuses_two_guides(
    chats: Caller[ChatRequest], fields: dict[str, Any], kind: type[Exception], words: str
) -> None:
    with pytest.raises(kind, match=words):
        await chats.complete(chat(**fields))
    assert chats.server.requests == []


async def test_needs_a_model(chats: Caller[ChatRequest]) -> None:
    with pytest.raises(ConfigurationError, match="needs model"):
        await chats.complete(ChatRequest(None, [Message("user", [Text("Hi")])]))


async def test_carries_images_and_tools_and_refuses_documents(chats: Caller[ChatRequest]) -> None:
    messages = [
        Message("system", [Text("Be brief")]),
        Message("user", [Text("What?"), Image(base64="aGk=", media_type="image/png")]),
        Message("assistant", tool_calls=[ToolCall("1", "look", "{}")]),
        Message("tool", [Text("a cat")], tool_call_id="1"),
    ]
    request = ChatRequest("m", messages, tools=[Tool("look", "Looks.")], tool_choice=NamedTool("look"))
    body = await chats.sent(request)
    assert body["messages"][1]["content"][1]["image_url"]["url"] == "data:image/png;base64,aGk="
    assert body["messages"][2]["tool_calls"][0]["function"] == {"name": "look", "arguments": "{}"}
    assert body["tool_choice"] == {"type": "function", "function": {"name": "look"}}
    with pytest.raises(UnsupportedContentError, match="Send its text, or images"):
        await chats.complete(ChatRequest("m", [Message("user", [File(base64="aGk=")])]))


async def test_a_stream_ends_without_a_marker(chats: Caller[ChatRequest]) -> None:
    usage = json.dumps({"id": "c1", "choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 2}}).encode()
    answer = await chats.streamed(
        chat(),
        piece({"role": "assistant", "content": ""}),
        piece({"reasoning_content": "Hm."}),
        piece({"content": "Hi"}),
        piece({"content": ""}, "stop"),
        usage,
    )
    assert (answer.text, answer.reasoning, answer.finish_reason) == ("Hi", "Hm.", "stop")
    assert answer.usage is not None
    assert answer.usage.input_tokens == 3
    assert chats.server.requests[-1].json()["stream_options"] == {"include_usage": True}


async def test_an_error_in_the_middle_of_a_stream(chats: Caller[ChatRequest]) -> None:
    with pytest.raises(ServerError, match="Internal error occurred") as caught:
        await chats.streamed(chat(), piece({"content": "Half"}), failed("Internal error occurred.", choices=None))
    assert caught.value.partial_text == "Half"


@pytest.mark.parametrize(
    ("status", "body", "kind", "words"),
    [
        (400, {"detail": {"object": "error", "message": "too many stops"}}, InvalidRequestError, "too many stops"),
        (410, {"detail": "The endpoint m is deprecated. max_workers is 0."}, NotFoundError, "endpoint is retired"),
        (500, {"error": "Internal error occurred. Our team"}, ServerError, "same call without streaming reports it"),
    ],
)
async def test_errors(
    chats: Caller[ChatRequest], status: int, body: dict[str, Any], kind: type[Exception], words: str
) -> None:
    with pytest.raises(kind, match=words):
        await chats.answered(chat(), body, status)


def branch(kind: str, role: str, *errors: tuple[list[Any], str, str]) -> list[dict[str, Any]]:
    """What the gateway says of one reading of messages[0]."""
    wrong_role = [(["role"], "literal_error", f"Input should be '{role}'")] if role else []
    return [
        {"type": type_, "loc": ["body", "messages", 0, kind, *steps], "msg": message, "input": "secret text"}
        for steps, type_, message in [*errors, *wrong_role]
    ]


async def test_a_long_validation_error_is_shortened_to_what_matters(chats: Caller[ChatRequest]) -> None:
    no_text = (["content", "str"], "string_type", "Input should be a valid string")
    image = ["content", "list[union[A,B]]", 0]
    detail = [
        *branch("SystemMessage", "system", no_text, ([*image, "type"], "literal_error", "Input should be 'text'")),
        *branch(
            "UserMessage",
            "",
            no_text,
            ([*image, "TextPart", "type"], "literal_error", "Input should be 'text'"),
            ([*image, "TextPart", "text"], "missing", "Field required"),
            ([*image, "ImagePart", "image_url", "url"], "url_parsing", "Input should be a valid URL"),
        ),
        *branch("ToolMessage", "tool", no_text, (["tool_call_id"], "missing", "Field required")),
    ]
    with pytest.raises(InvalidRequestError) as caught:
        await chats.answered(chat(), {"detail": detail}, 422)
    assert caught.value.message == "llm_engine: body.messages.0.content.0.image_url.url: Input should be a valid URL"
    assert "secret text" not in str(caught.value.body)


async def test_a_role_that_no_reading_knows(chats: Caller[ChatRequest]) -> None:
    detail = [*branch("SystemMessage", "system"), *branch("UserMessage", "user")]
    with pytest.raises(InvalidRequestError, match=r"messages\.0\.role: Input should be 'system'.*'user'"):
        await chats.answered(chat(), {"detail": detail}, 422)
