"""Scaleway's dialect as the ``openai`` client sees it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import openai
import pytest

from linkspan.conversation import ToolCall
from linkspan_sandbox import Cut, ErrorEvent, HTTPError, Reply
from tests.clients.conftest import KEY, SCHEMA, WRONG_KEY, Served, read_until
from tests.clients.typed import assert_strict

if TYPE_CHECKING:
    from openai.types import CreateEmbeddingResponse
    from openai.types.chat import ChatCompletion, ChatCompletionChunk

    from linkspan_sandbox import Sandbox

MODEL = "llama-3.3-70b-instruct"
EMBEDDER = "qwen3-embedding-8b"
QUESTION: list[Any] = [{"role": "user", "content": "Count from one to five."}]
PIECES = ["Count", " from", " one", " to", " five."]
SHORT: dict[str, Any] = {"model": MODEL, "messages": QUESTION, "max_tokens": 7, "temperature": 0}
TOOL: Any = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather in a city.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
CALL = ToolCall(None, "weather", '{"city": "Lille"}')


def client(sandbox: Sandbox, key: str = KEY) -> openai.OpenAI:
    http = openai.DefaultHttpxClient(verify=False)
    return openai.OpenAI(base_url=sandbox.scaleway_url, api_key=key, max_retries=0, timeout=60, http_client=http)


def async_client(sandbox: Sandbox) -> openai.AsyncOpenAI:
    http = openai.DefaultAsyncHttpxClient(verify=False)
    return openai.AsyncOpenAI(base_url=sandbox.scaleway_url, api_key=KEY, max_retries=0, timeout=60, http_client=http)


def check_answer(served: Served, answer: ChatCompletion) -> None:
    assert_strict(answer)
    served.expect_model(answer.model, MODEL)
    (choice,) = answer.choices
    served.expect(choice.message.content, "Count from one to five.")
    assert choice.finish_reason in (["stop"] if served.exact else ["stop", "length"])
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
    assert answer.usage.completion_tokens == 5 if served.exact else 0 < answer.usage.completion_tokens <= 7


def check_chunks(served: Served, chunks: list[ChatCompletionChunk]) -> None:
    for chunk in chunks:
        assert_strict(chunk)
        served.expect_model(chunk.model, MODEL)
    *spoken, last = chunks
    assert len({chunk.id for chunk in chunks}) == 1
    assert spoken[0].choices[0].delta.role == "assistant"
    served.expect_pieces([chunk.choices[0].delta.content for chunk in spoken], PIECES)
    assert [chunk.choices[0].finish_reason for chunk in spoken if chunk.choices[0].finish_reason] in (
        [["stop"]] if served.exact else [["stop"], ["length"]]
    )
    assert not last.choices
    assert last.usage is not None
    assert last.usage.completion_tokens == 5 if served.exact else 0 < last.usage.completion_tokens <= 7


def test_chat(served: Served) -> None:
    with client(served.sandbox) as made:
        check_answer(served, made.chat.completions.create(**SHORT))


async def test_chat_async(by_rules: Served) -> None:
    async with async_client(by_rules.sandbox) as made:
        check_answer(by_rules, await made.chat.completions.create(**SHORT))


def test_chat_streamed(served: Served) -> None:
    with client(served.sandbox) as made:
        chunks = list(made.chat.completions.create(**SHORT, stream=True, stream_options={"include_usage": True}))
    check_chunks(served, chunks)


async def test_chat_streamed_async(by_rules: Served) -> None:
    async with async_client(by_rules.sandbox) as made:
        stream = await made.chat.completions.create(**SHORT, stream=True, stream_options={"include_usage": True})
        chunks = [chunk async for chunk in stream]
    check_chunks(by_rules, chunks)


def test_log_probabilities(served: Served) -> None:
    with client(served.sandbox) as made:
        answer = made.chat.completions.create(**SHORT, logprobs=True, top_logprobs=1)
    assert_strict(answer)
    logprobs = answer.choices[0].logprobs
    assert logprobs is not None
    tokens = logprobs.content or []
    assert "".join(entry.token for entry in tokens) == answer.choices[0].message.content
    assert all(len(entry.top_logprobs) == 1 and entry.logprob <= 0 for entry in tokens)


def test_a_schema_is_obeyed_and_parsed(served: Served) -> None:
    wanted: Any = {"type": "json_schema", "json_schema": {"name": "place", "schema": SCHEMA}}
    with client(served.sandbox) as made:
        answer = made.chat.completions.create(**{**SHORT, "max_tokens": 60}, response_format=wanted)
    assert_strict(answer)
    assert list(json.loads(answer.choices[0].message.content or "")) == ["city"]


def test_a_tool_call(scripted: Sandbox) -> None:
    scripted.add_rule(Reply(tool_calls=[CALL]))
    with client(scripted) as made:
        answer = made.chat.completions.create(**SHORT, tools=[TOOL])
    assert_strict(answer)
    (choice,) = answer.choices
    (call,) = choice.message.tool_calls or []
    assert choice.finish_reason == "tool_calls"
    assert call.type == "function"
    assert call.id
    assert (call.function.name, json.loads(call.function.arguments)) == ("weather", {"city": "Lille"})


def test_a_tool_call_streamed(scripted: Sandbox) -> None:
    scripted.add_rule(Reply(text="I look.", tool_calls=[CALL, CALL]))
    with client(scripted) as made, made.chat.completions.stream(**SHORT, tools=[TOOL]) as stream:
        for event in stream:
            if event.type == "chunk":
                assert_strict(event.chunk)
        answer = stream.get_final_completion()
    assert_strict(answer)
    message = answer.choices[0].message
    assert message.content == "I look."
    assert [call.function.arguments for call in message.tool_calls or ()] == ['{"city": "Lille"}'] * 2
    assert len({call.id for call in message.tool_calls or ()}) == 2


def test_a_tools_result_is_answered(scripted: Sandbox) -> None:
    scripted.add_rule("It rains.", role="tool")
    scripted.add_rule(Reply(tool_calls=[CALL]))
    with client(scripted) as made:
        asked = made.chat.completions.create(**SHORT, tools=[TOOL]).choices[0].message
        assert asked.tool_calls is not None
        result = {"role": "tool", "tool_call_id": asked.tool_calls[0].id, "content": "rain"}
        turns: list[Any] = [*QUESTION, asked.to_dict(), result]
        answer = made.chat.completions.create(**{**SHORT, "messages": turns}, tools=[TOOL])
    assert answer.choices[0].message.content == "It rains."


def check_vectors(answer: CreateEmbeddingResponse, size: int) -> None:
    assert_strict(answer)
    assert answer.model == EMBEDDER
    assert [entry.index for entry in answer.data] == [0, 1]
    assert [len(entry.embedding) for entry in answer.data] == [size, size]
    assert all(sum(value**2 for value in entry.embedding) == pytest.approx(1, abs=1e-3) for entry in answer.data)


# Left to itself the client asks for base64 and decodes it.
@pytest.mark.parametrize("options", [{}, {"encoding_format": "float"}], ids=["base64", "float"])
def test_embeddings(served: Served, options: dict[str, Any]) -> None:
    with client(served.sandbox) as made:
        answer = made.embeddings.create(model=EMBEDDER, input=["one text", "another"], dimensions=64, **options)
    check_vectors(answer, 64)


async def test_embeddings_async(by_rules: Served) -> None:
    async with async_client(by_rules.sandbox) as made:
        check_vectors(await made.embeddings.create(model=EMBEDDER, input=["one text", "another"]), 4096)


def test_lists_its_models(served: Served) -> None:
    with client(served.sandbox) as made:
        listed = list(made.models.list())
    for model in listed:
        assert_strict(model)
    assert MODEL in [model.id for model in listed]


def test_a_wrong_key_is_forbidden(served: Served) -> None:
    with client(served.sandbox, WRONG_KEY) as made, pytest.raises(openai.PermissionDeniedError) as caught:
        made.chat.completions.create(**SHORT)
    assert caught.value.request_id
    # The flat body's "error" is a text, which the client takes for the whole body.
    assert caught.value.body == "FORBIDDEN"
    assert caught.value.response.json()["message"] == "insufficient permissions to access the resource"


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        ({"model": "no-such-model"}, openai.UnprocessableEntityError),
        ({"temperature": 3}, openai.BadRequestError),
        ({"max_tokens": 16_385}, openai.BadRequestError),
    ],
    ids=["model", "temperature", "max_tokens"],
)
def test_what_is_refused(served: Served, fields: dict[str, Any], kind: type[openai.APIStatusError]) -> None:
    with client(served.sandbox) as made, pytest.raises(kind):
        made.chat.completions.create(**{**SHORT, **fields})


def test_a_rate_limit_is_one_for_the_client(scripted: Sandbox) -> None:
    scripted.add_rule(Reply(fault=HTTPError(429)), times=1)
    with client(scripted) as made, pytest.raises(openai.RateLimitError):
        made.chat.completions.create(**SHORT)
    with client(scripted).with_options(max_retries=1) as made:
        scripted.add_rule(Reply(fault=HTTPError(429, headers={"retry-after-ms": "1"})), times=1)
        assert made.chat.completions.create(**SHORT).choices[0].message.content == "Count from one to five."


def test_a_stream_that_fails_in_the_middle(scripted: Sandbox) -> None:
    scripted.add_rule(Reply(text="one two three", fault=ErrorEvent(after=2, message="out of memory")))
    with client(scripted) as made:
        chunks, error = read_until(openai.APIError, made.chat.completions.create(**SHORT, stream=True))
    assert "".join(chunk.choices[0].delta.content for chunk in chunks) == "one two"
    assert str(error) == "out of memory"


def test_a_connection_that_breaks(scripted: Sandbox) -> None:
    scripted.add_rule(Reply(fault=Cut(after=None)))
    with client(scripted) as made, pytest.raises(openai.APIConnectionError):
        made.chat.completions.create(**SHORT)


# ------------------------------------------------------------------ sound


@pytest.mark.parametrize("response_format", ["json", "verbose_json", "text", "srt", "vtt"])
def test_transcriptions(scripted: Sandbox, response_format: Any) -> None:
    scripted.add_rule("The ferry is late. It leaves at ten.", when="meeting.mp3", route="transcriptions")
    times: dict[str, Any] = (
        {"timestamp_granularities": ["segment", "word"]} if response_format == "verbose_json" else {}
    )
    with client(scripted) as made:
        answer: Any = made.audio.transcriptions.create(
            model="whisper-large-v3",
            file=("meeting.mp3", b"ID3"),
            language="en",
            prompt="Ostra",
            temperature=0.5,
            response_format=response_format,
            **times,
        )
    if response_format in {"text", "srt", "vtt"}:
        assert "It leaves at ten.\n" in answer
        return
    assert_strict(answer)
    assert answer.text == "The ferry is late. It leaves at ten."
    if response_format == "verbose_json":
        assert (answer.language, answer.duration) == ("en", 4.0)
        assert [segment.text for segment in answer.segments] == [" The ferry is late.", " It leaves at ten."]
        assert (answer.words[1].word, answer.words[1].start) == ("ferry", 0.5)


@pytest.mark.parametrize(
    ("name", "model", "error"),
    [
        ("a.aac", "whisper-large-v3", openai.BadRequestError),
        ("a.mp3", "whisper-1", openai.UnprocessableEntityError),
    ],
)
async def test_refused_transcriptions(scripted: Sandbox, name: str, model: str, error: type[Exception]) -> None:
    async with async_client(scripted) as made:
        with pytest.raises(error):
            await made.audio.transcriptions.create(model=model, file=(name, b"ID3"))
