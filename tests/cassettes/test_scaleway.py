"""ChatScaleway and LlamaIndex's Scaleway over recordings of a real model behind Scaleway's dialect."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from llama_index.core.llms import ChatMessage
from pydantic import BaseModel, Field

from linkspan.langchain.errors import InvalidRequestError
from tests.cassettes import constructors

if TYPE_CHECKING:
    from langchain_core.messages import AIMessage, AIMessageChunk

    from linkspan.langchain import ChatScaleway
    from llama_index.llms.scaleway import Scaleway
    from tests.cassettes.tape import Tape

pytestmark = pytest.mark.recorded_from("sandbox")

#: A model of the catalogue whose answers are capped at 16384 tokens.
CAPPED_MODEL = "llama-3.3-70b-instruct"


class City(BaseModel):
    """A city."""

    name: str = Field(max_length=40)
    country: str = Field(max_length=40)


def chat_model(tape: Tape, **settings: Any) -> ChatScaleway:
    return constructors.chat_model(tape, **{"max_tokens": 24, **settings})


def llm(tape: Tape) -> Scaleway:
    return constructors.llm(tape, max_tokens=24)


def check_langchain_message(
    message: AIMessage, tape: Tape, text: str, usage: dict[str, int], finish_reason: str
) -> None:
    assert text.strip()
    assert message.response_metadata["request_id"] == tape.request_id
    assert message.text == text
    assert message.usage_metadata is not None
    assert message.usage_metadata["input_tokens"] == usage["prompt_tokens"] > 0
    assert message.usage_metadata["output_tokens"] == usage["completion_tokens"] > 0
    assert message.usage_metadata["total_tokens"] == usage["total_tokens"]
    assert message.response_metadata["finish_reason"] == finish_reason
    assert message.response_metadata["model_name"] == tape.model
    assert message.response_metadata["model_provider"] == "scaleway"


def check_llama_index_usage(facts: dict[str, Any], usage: dict[str, int]) -> None:
    names = ("prompt_tokens", "completion_tokens", "total_tokens")
    assert {name: facts[name] for name in names} == {name: usage[name] for name in names}
    assert 0 < usage["completion_tokens"] <= 24


def test_langchain_invoke(tape: Tape) -> None:
    message = chat_model(tape).invoke([("system", "Answer in one sentence."), ("human", "What is a ferry?")])
    (choice,) = tape.body["choices"]
    check_langchain_message(message, tape, choice["message"]["content"], tape.body["usage"], choice["finish_reason"])
    assert message.id == tape.body["id"]
    assert [sent["role"] for sent in tape.request["messages"]] == ["system", "user"]


async def test_langchain_ainvoke(tape: Tape) -> None:
    message = await chat_model(tape).ainvoke("Name the capital of France.")
    (choice,) = tape.body["choices"]
    check_langchain_message(message, tape, choice["message"]["content"], tape.body["usage"], choice["finish_reason"])


def test_langchain_stream(tape: Tape) -> None:
    check_stream(list(chat_model(tape).stream("What is a harbour?")), tape)


async def test_langchain_astream(tape: Tape) -> None:
    check_stream([chunk async for chunk in chat_model(tape).astream("What is a bridge?")], tape)


def check_stream(chunks: list[AIMessageChunk], tape: Tape) -> None:
    assert len([chunk for chunk in chunks if chunk.text]) > 3
    whole = sum(chunks[1:], chunks[0])
    check_langchain_message(whole, tape, tape.streamed_text, tape.streamed_usage, tape.streamed_finish_reason)
    assert len([chunk for chunk in chunks if chunk.usage_metadata]) == 1
    assert tape.request["stream_options"] == {"include_usage": True}


def test_langchain_stopped_by_a_stop_sequence(tape: Tape) -> None:
    message = chat_model(tape, max_tokens=48).invoke("What is a ferry?", stop=["."])
    assert "." not in message.text
    assert message.text == tape.body["choices"][0]["message"]["content"] != ""
    assert message.response_metadata["finish_reason"] == "stop"


def test_langchain_structured_output(tape: Tape) -> None:
    structured = chat_model(tape, max_tokens=64).with_structured_output(City, method="json_schema", include_raw=True)
    answer = structured.invoke("Berlin is a city in Germany. Answer as JSON.")
    text = tape.body["choices"][0]["message"]["content"]
    assert answer["parsing_error"] is None
    assert answer["parsed"] == City.model_validate_json(text)
    assert answer["raw"].text == text
    assert tape.request["response_format"]["type"] == "json_schema"


@pytest.mark.recorded_from("sandbox-gateway")
def test_langchain_more_tokens_than_the_cap(tape: Tape) -> None:
    with pytest.raises(InvalidRequestError, match="limited to 16384") as caught:
        chat_model(tape, model=CAPPED_MODEL, max_tokens=20_000).invoke("Hello")
    assert caught.value.status_code == tape.status == 400
    assert caught.value.body == tape.body
    assert "lower max_tokens" in str(caught.value)
    assert tape.key not in str(caught.value)


def test_llama_index_chat(tape: Tape) -> None:
    response = llm(tape).chat(
        [ChatMessage(role="system", content="Answer in one sentence."), ChatMessage(content="What is a ferry?")]
    )
    (choice,) = tape.body["choices"]
    assert response.message.content == choice["message"]["content"] != ""
    assert response.message.role == "assistant"
    assert response.raw is not None
    assert response.raw["usage"]["total_tokens"] == tape.body["usage"]["total_tokens"]
    check_llama_index_usage(response.additional_kwargs, tape.body["usage"])


def test_llama_index_stream_chat(tape: Tape) -> None:
    chunks = list(llm(tape).stream_chat([ChatMessage(content="What is a harbour?")]))
    assert len(chunks) > 3
    assert "".join(chunk.delta or "" for chunk in chunks) == chunks[-1].message.content == tape.streamed_text != ""
    check_llama_index_usage(chunks[-1].additional_kwargs, tape.streamed_usage)


async def test_llama_index_astream_chat(tape: Tape) -> None:
    stream = await llm(tape).astream_chat([ChatMessage(content="What is a bridge?")])
    chunks = [chunk async for chunk in stream]
    assert len(chunks) > 3
    assert "".join(chunk.delta or "" for chunk in chunks) == chunks[-1].message.content == tape.streamed_text != ""
    check_llama_index_usage(chunks[-1].additional_kwargs, tape.streamed_usage)


def test_llama_index_complete(tape: Tape) -> None:
    response = llm(tape).complete("Name the capital of France.")
    assert response.text == tape.body["choices"][0]["message"]["content"] != ""
    check_llama_index_usage(response.additional_kwargs, tape.body["usage"])
