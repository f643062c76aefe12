"""Reasoning in both frameworks over recordings of vLLM: whole, streamed, in blocks, counted, and not sent back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.messages import HumanMessage
from langchain_tests.utils.stream_lifecycle import assert_valid_event_stream
from llama_index.core.base.llms.types import ThinkingBlock
from llama_index.core.llms import ChatMessage

from tests.cassettes.constructors import chat_model, llm

if TYPE_CHECKING:
    from langchain_core.messages import AIMessage, AIMessageChunk
    from llama_index.core.llms import ChatResponse

    from tests.cassettes.tape import Tape

pytestmark = pytest.mark.recorded_from("vllm-reasoning")

FRANCE = "What is the capital of France?"
NORWAY = "What is the capital of Norway?"


def thinking_tokens(usage: dict[str, Any]) -> int:
    """How many tokens the server says went into thinking."""
    return int(usage["completion_tokens_details"]["reasoning_tokens"])


def check_message(message: AIMessage, tape: Tape) -> None:
    wire = tape.body["choices"][0]["message"]
    assert message.additional_kwargs["reasoning_content"] == wire["reasoning"] != ""
    assert message.text == wire["content"] != ""
    assert [block["type"] for block in message.content_blocks] == ["reasoning", "text"]
    assert message.content_blocks[0]["reasoning"] == wire["reasoning"]
    assert message.usage_metadata is not None
    counted = thinking_tokens(tape.body["usage"])
    assert message.usage_metadata["output_token_details"] == {"reasoning": counted}
    assert 0 < counted < message.usage_metadata["output_tokens"]


def test_langchain_invoke(tape: Tape) -> None:
    message = chat_model(tape).invoke(FRANCE)
    check_message(message, tape)
    assert "Paris" in message.text


async def test_langchain_ainvoke(tape: Tape) -> None:
    check_message(await chat_model(tape).ainvoke(NORWAY), tape)


def check_chunks(chunks: list[AIMessageChunk], tape: Tape) -> None:
    whole = sum(chunks[1:], chunks[0])
    assert whole.additional_kwargs["reasoning_content"] == tape.streamed_reasoning != ""
    assert whole.text == tape.streamed_text != ""
    thoughts = [chunk for chunk in chunks if chunk.additional_kwargs.get("reasoning_content")]
    assert len(thoughts) > 3
    assert chunks.index(thoughts[-1]) <= next(place for place, chunk in enumerate(chunks) if chunk.text)
    assert whole.usage_metadata is not None
    assert whole.usage_metadata["output_tokens"] == tape.streamed_usage["completion_tokens"]
    counted = thinking_tokens(tape.streamed_usage)
    assert whole.usage_metadata["output_token_details"] == {"reasoning": counted}
    assert counted > 0
    assert [block["type"] for block in whole.content_blocks] == ["reasoning", "text"]


def test_langchain_stream(tape: Tape) -> None:
    check_chunks(list(chat_model(tape).stream(FRANCE)), tape)


async def test_langchain_astream(tape: Tape) -> None:
    check_chunks([chunk async for chunk in chat_model(tape).astream(NORWAY)], tape)


def test_langchain_stream_in_v1_blocks(tape: Tape) -> None:
    chunks = list(chat_model(tape, output_version="v1").stream(FRANCE))
    whole: Any = sum(chunks[1:], chunks[0])
    assert [block["type"] for block in whole.content] == ["reasoning", "text"]
    assert whole.content[0]["reasoning"] == tape.streamed_reasoning
    assert whole.content[1]["text"] == tape.streamed_text


def test_langchain_v3_events(tape: Tape) -> None:
    events = list(chat_model(tape).stream_events(FRANCE, version="v3"))
    assert_valid_event_stream(events)
    finished = [event["content"] for event in events if event["event"] == "content-block-finish"]
    assert [block["type"] for block in finished] == ["reasoning", "text"]
    assert finished[0]["reasoning"] == tape.streamed_reasoning
    assert finished[1]["text"] == tape.streamed_text
    assert events[-1]["event"] == "message-finish"


def test_langchain_thinking_is_not_sent_back(tape: Tape) -> None:
    model = chat_model(tape)
    first = model.invoke(FRANCE)
    model.invoke([HumanMessage(FRANCE), first, HumanMessage(NORWAY)])
    thought = tape.bodies[0]["choices"][0]["message"]["reasoning"]
    assert first.additional_kwargs["reasoning_content"] == thought != ""
    sent = tape.requests[1]["messages"]
    assert sent[1] == {"role": "assistant", "content": first.text}
    assert thought not in str(sent)


def test_langchain_cut_while_it_thinks(tape: Tape) -> None:
    """All tokens went into thinking: no answer, but nothing is lost and the reason is there."""
    message = chat_model(tape, max_tokens=5).invoke(FRANCE)
    wire = tape.body["choices"][0]
    assert message.text == ""
    assert message.additional_kwargs["reasoning_content"] == wire["message"]["reasoning"] != ""
    assert message.response_metadata["finish_reason"] == wire["finish_reason"] == "length"


def check_response(response: ChatResponse, reasoning: str, text: str) -> None:
    thinking, answer = response.message.blocks
    assert isinstance(thinking, ThinkingBlock)
    assert thinking.content == reasoning != ""
    assert answer.text == response.message.content == text != ""


def test_llama_index_chat(tape: Tape) -> None:
    response = llm(tape).chat([ChatMessage(content=FRANCE)])
    wire = tape.body["choices"][0]["message"]
    check_response(response, wire["reasoning"], wire["content"])
    assert response.additional_kwargs["reasoning_tokens"] == thinking_tokens(tape.body["usage"]) > 0


async def test_llama_index_achat(tape: Tape) -> None:
    response = await llm(tape).achat([ChatMessage(content=NORWAY)])
    wire = tape.body["choices"][0]["message"]
    check_response(response, wire["reasoning"], wire["content"])


def check_stream(chunks: list[ChatResponse], tape: Tape) -> None:
    check_response(chunks[-1], tape.streamed_reasoning, tape.streamed_text)
    thoughts = [chunk.additional_kwargs.get("thinking_delta", "") for chunk in chunks]
    assert "".join(thoughts) == tape.streamed_reasoning
    assert "".join(chunk.delta or "" for chunk in chunks) == tape.streamed_text
    assert chunks[-1].additional_kwargs["completion_tokens"] == tape.streamed_usage["completion_tokens"]
    assert chunks[-1].additional_kwargs["reasoning_tokens"] == thinking_tokens(tape.streamed_usage)


def test_llama_index_stream_chat(tape: Tape) -> None:
    check_stream(list(llm(tape).stream_chat([ChatMessage(content=FRANCE)])), tape)


async def test_llama_index_astream_chat(tape: Tape) -> None:
    stream = await llm(tape).astream_chat([ChatMessage(content=NORWAY)])
    check_stream([chunk async for chunk in stream], tape)
