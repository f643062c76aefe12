"""Token counts, several answers to one question and log probabilities, over recordings of vLLM."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from langchain_core.messages import HumanMessage
from llama_index.core.llms import ChatMessage

from tests.cassettes.constructors import chat_model, llm

if TYPE_CHECKING:
    from tests.cassettes.tape import Tape

pytestmark = pytest.mark.recorded_from("vllm-chat")

QUESTION = "Name a city."
not_documented = pytest.mark.never_live("Scaleway lists n as not supported")


@not_documented
def test_langchain_two_answers(tape: Tape) -> None:
    """The tokens are those of both answers, and are counted once."""
    model = chat_model(tape, temperature=0.9, seed=7, max_tokens=12)
    result = model.generate([[HumanMessage(QUESTION)]], n=2)
    usage = tape.body["usage"]
    assert tape.request["n"] == 2
    texts = [choice["message"]["content"] for choice in tape.body["choices"]]
    assert [generation.text for generation in result.generations[0]] == texts
    assert len(texts) == 2
    first, second = (generation.message for generation in result.generations[0])
    assert first.usage_metadata is not None
    assert first.usage_metadata["output_tokens"] == usage["completion_tokens"] > 12
    assert first.usage_metadata["input_tokens"] == usage["prompt_tokens"]
    assert second.usage_metadata is None
    assert result.llm_output is not None
    assert result.llm_output["token_usage"]["total_tokens"] == usage["total_tokens"]


@not_documented
async def test_langchain_two_answers_async(tape: Tape) -> None:
    model = chat_model(tape, temperature=0.9, seed=7, max_tokens=12)
    result = await model.agenerate([[HumanMessage(QUESTION)]], n=2)
    texts = [choice["message"]["content"] for choice in tape.body["choices"]]
    assert [generation.text for generation in result.generations[0]] == texts
    assert len(texts) == 2


@not_documented
def test_llama_index_two_answers(tape: Tape) -> None:
    response = llm(tape, temperature=0.9, seed=7, max_tokens=12).chat([ChatMessage(content=QUESTION)], n=2)
    texts = [choice["message"]["content"] for choice in tape.body["choices"]]
    assert [response.message.content, *response.additional_kwargs["alternatives"]] == texts
    assert len(texts) == 2
    assert response.additional_kwargs["completion_tokens"] == tape.body["usage"]["completion_tokens"] > 12


@not_documented
def test_llama_index_two_answers_streamed(tape: Tape) -> None:
    """The first answer is shown; the other is in the last chunk. One count, for both."""
    chunks = list(llm(tape, temperature=0.9, seed=7, max_tokens=12).stream_chat([ChatMessage(content=QUESTION)], n=2))
    pieces: dict[int, str] = {0: "", 1: ""}
    for event in tape.events:
        for choice in event["choices"]:
            pieces[choice["index"]] += choice["delta"].get("content") or ""
    assert "".join(chunk.delta or "" for chunk in chunks) == chunks[-1].message.content == pieces[0] != ""
    assert chunks[-1].additional_kwargs["alternatives"] == [pieces[1]]
    assert chunks[-1].additional_kwargs["completion_tokens"] == tape.streamed_usage["completion_tokens"] > 12


def test_langchain_log_probabilities(tape: Tape) -> None:
    message = chat_model(tape, max_tokens=6).invoke(QUESTION, logprobs=True)
    entries = tape.body["choices"][0]["logprobs"]["content"]
    found = message.response_metadata["logprobs"]["content"]
    assert [(entry["token"], entry["logprob"]) for entry in found] == [
        (entry["token"], entry["logprob"]) for entry in entries
    ]
    assert all(entry["logprob"] <= 0 for entry in found)
    assert "".join(entry["token"] for entry in found) == message.text


def test_langchain_stream_without_usage(tape: Tape) -> None:
    """Not asked for, token counts do not come, and the stream ends well without them."""
    chunks = list(chat_model(tape, max_tokens=12, stream_usage=False).stream(QUESTION))
    whole = sum(chunks[1:], chunks[0])
    assert "stream_options" not in tape.request
    assert whole.usage_metadata is None
    assert whole.text == tape.streamed_text != ""
    assert whole.response_metadata["finish_reason"] == tape.streamed_finish_reason
