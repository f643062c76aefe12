"""LLM Engine's chat route, v2, as the stock ``openai`` client sees it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import openai
import pytest

from linkspan.conversation import ToolCall
from linkspan_sandbox import ErrorEvent, Reply
from tests.clients.conftest import KEY, SCHEMA, WRONG_KEY, Served, read_until
from tests.clients.typed import assert_strict

if TYPE_CHECKING:
    from openai.types.chat import ChatCompletion, ChatCompletionChunk

    from linkspan_sandbox import Sandbox

MODEL = "llama-3-8b-instruct"
SHORT: dict[str, Any] = {
    "model": MODEL,
    "messages": [{"role": "user", "content": "Count from one to five."}],
    "max_tokens": 7,
    "temperature": 0,
}
TOOL: Any = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}


def client(sandbox: Sandbox, key: str = KEY) -> openai.OpenAI:
    http = openai.DefaultHttpxClient(verify=False)
    return openai.OpenAI(
        base_url=f"{sandbox.llm_engine_url}/v2", api_key=key, max_retries=0, timeout=60, http_client=http
    )


def async_client(sandbox: Sandbox) -> openai.AsyncOpenAI:
    http = openai.DefaultAsyncHttpxClient(verify=False)
    return openai.AsyncOpenAI(
        base_url=f"{sandbox.llm_engine_url}/v2", api_key=KEY, max_retries=0, timeout=60, http_client=http
    )


def check_answer(served: Served, answer: ChatCompletion) -> None:
    assert_strict(answer)
    # The gateway puts the endpoint's name in, whatever the model calls itself.
    assert answer.model == MODEL
    served.expect(answer.choices[0].message.content, "Count from one to five.")
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 5 if served.exact else 0 < answer.usage.completion_tokens <= 7


def check_chunks(served: Served, chunks: list[ChatCompletionChunk]) -> None:
    for chunk in chunks:
        # Nulls are left out on this wire, so there is no finish_reason, which the client's class requires.
        for choice in chunk.choices:
            choice.finish_reason = choice.finish_reason or None
        assert_strict(chunk)
        assert chunk.model == MODEL
    *spoken, last = chunks
    served.expect_pieces(
        [chunk.choices[0].delta.content for chunk in spoken], ["Count", " from", " one", " to", " five."]
    )
    assert [chunk.choices[0].finish_reason for chunk in spoken if chunk.choices[0].finish_reason] in (
        [["stop"]] if served.exact else [["stop"], ["length"]]
    )
    assert not last.choices
    assert last.usage is not None


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


def test_guided_json(served: Served) -> None:
    with client(served.sandbox) as made:
        answer = made.chat.completions.create(**{**SHORT, "max_tokens": 60}, extra_body={"guided_json": SCHEMA})
    assert_strict(answer)
    assert list(json.loads(answer.choices[0].message.content or "")) == ["city"]


def test_tool_calls(scripted: Sandbox) -> None:
    scripted.add_rule(Reply(tool_calls=[ToolCall("call-1", "weather", '{"city": "Lille"}')]))
    with client(scripted) as made:
        whole = made.chat.completions.create(**SHORT, tools=[TOOL])
        with made.chat.completions.stream(**SHORT, tools=[TOOL]) as stream:
            streamed = stream.get_final_completion()
    for answer in (whole, streamed):
        assert_strict(answer)
        (choice,) = answer.choices
        (call,) = choice.message.tool_calls or []
        assert choice.finish_reason == "tool_calls"
        assert (call.id, call.function.name, call.function.arguments) == ("call-1", "weather", '{"city": "Lille"}')


def test_a_stream_that_fails_in_the_middle(scripted: Sandbox) -> None:
    scripted.add_rule(Reply(text="one two three", fault=ErrorEvent(after=2)))
    with client(scripted) as made:
        chunks, error = read_until(openai.APIError, made.chat.completions.create(**SHORT, stream=True))
    assert "".join(chunk.choices[0].delta.content for chunk in chunks) == "one two"
    # The server's words are lost in this client: they are not where it looks.
    assert str(error) == "An error occurred during streaming"


@pytest.mark.parametrize(
    ("key", "fields", "kind"),
    [
        (WRONG_KEY, {}, openai.AuthenticationError),
        (KEY, {"model": "no-such-endpoint"}, openai.NotFoundError),
        (KEY, {"model": "llama-2-7b"}, openai.BadRequestError),
        (KEY, {"temperature": 3}, openai.UnprocessableEntityError),
    ],
    ids=["key", "endpoint", "no chat route", "temperature"],
)
def test_what_is_refused(served: Served, key: str, fields: dict[str, Any], kind: type[openai.APIStatusError]) -> None:
    with client(served.sandbox, key) as made, pytest.raises(kind):
        made.chat.completions.create(**{**SHORT, **fields})
