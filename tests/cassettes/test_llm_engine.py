"""LLM Engine's classes of both frameworks over recordings of a real model behind its dialect."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import PromptTemplate
from llama_index.core import Document, SummaryIndex
from llama_index.core.llms import ChatMessage
from llama_index.core.prompts import PromptTemplate as LlamaIndexPrompt
from pydantic import BaseModel, Field

from linkspan import errors, langchain, llama_index
from linkspan.langchain.errors import InvalidRequestError, NotFoundError
from tests.cassettes.tape import HOST

if TYPE_CHECKING:
    from langchain_core.messages import AIMessageChunk
    from langchain_core.outputs import GenerationChunk

    from tests.cassettes.tape import Tape

pytestmark = pytest.mark.recorded_from("sandbox-llm-engine")

MODEL = "smollm2-135m-instruct"
PROMPT = "A ferry is a ship that"


class City(BaseModel, extra="forbid"):
    """A city."""

    name: str = Field(max_length=30)
    country: str = Field(max_length=30)


class Mood(Enum):
    GOOD = "good"
    BAD = "bad"


def settings(tape: Tape, **more: Any) -> dict[str, Any]:
    # Addresses are recorded with this path, whatever theirs is.
    where = {"base_url": tape.base_url or f"https://{HOST}/v1", "api_key": tape.key, "max_retries": 0}
    return {"model": MODEL, "temperature": 0, "max_tokens": 24, **where, **more}


def llm(tape: Tape, **more: Any) -> langchain.LLMEngine:
    return langchain.LLMEngine(**settings(tape, **more))


def chat(tape: Tape, **more: Any) -> langchain.ChatLLMEngine:
    return langchain.ChatLLMEngine(**settings(tape, **more))


def check_forced_call(city: Any, tape: Tape) -> None:
    """Check that an object was asked for by a tool that must be called, which current images hold the model to."""
    (call,) = tape.body["choices"][0]["message"]["tool_calls"]
    assert city == City.model_validate_json(call["function"]["arguments"])
    assert tape.request["tools"][0]["function"]["parameters"]["required"] == ["name", "country"]
    assert tape.request["tool_choice"]["function"]["name"] == "City"
    assert not tape.request.keys() & {"guided_json", "response_format"}


def streamed_output(tape: Tape) -> str:
    return "".join((event["output"] or {}).get("text") or "" for event in tape.events_without_mark)


def check_usage(usage: dict[str, int], tape: Tape) -> None:
    output = tape.body["output"]
    counts = (output["num_prompt_tokens"], output["num_completion_tokens"])
    assert (usage["prompt_tokens"], usage["completion_tokens"]) == counts
    assert usage["total_tokens"] == sum(counts) > 0


# ------------------------------------------------------------------ LangChain, prompts


def test_langchain_generate(tape: Tape) -> None:
    result = llm(tape, return_token_log_probs=True).generate([PROMPT])
    (generation,) = result.generations[0]
    assert generation.text == tape.body["output"]["text"] != ""
    info = generation.generation_info or {}
    assert info["request_id"] == tape.body["request_id"]
    said = [(token["token"], token["log_prob"]) for token in tape.body["output"]["tokens"]]
    assert [(token["token"], token["logprob"]) for token in info["logprobs"]] == said
    assert "".join(token["token"] for token in info["logprobs"]) == generation.text
    check_usage(info["token_usage"], tape)
    check_usage((result.llm_output or {})["token_usage"], tape)
    assert info["finish_reason"] == "length"
    assert tape.request == {
        "prompt": PROMPT,
        "max_new_tokens": 24,
        "temperature": 0,
        "return_token_log_probs": True,
    }


async def test_langchain_ainvoke(tape: Tape) -> None:
    assert await llm(tape).ainvoke(PROMPT) == tape.body["output"]["text"] != ""


def test_langchain_stream(tape: Tape) -> None:
    check_stream(list(llm(tape)._stream(PROMPT)), tape)


async def test_langchain_astream(tape: Tape) -> None:
    check_stream([chunk async for chunk in llm(tape)._astream(PROMPT)], tape)


def check_stream(chunks: list[GenerationChunk], tape: Tape) -> None:
    assert len([chunk for chunk in chunks if chunk.text]) > 3
    assert "".join(chunk.text for chunk in chunks) == streamed_output(tape) != ""
    info = chunks[-1].generation_info or {}
    assert info["request_id"] == tape.events_without_mark[0]["request_id"]
    # The stream counts nothing, as deployments with current vLLM do.
    assert "token_usage" not in info


async def test_langchain_chain_astream(tape: Tape) -> None:
    chain = PromptTemplate.from_template("A {ship} is a ship that") | llm(tape) | StrOutputParser()
    pieces = [piece async for piece in chain.astream({"ship": "ferry"}) if piece]
    assert len(pieces) > 3
    assert "".join(pieces) == streamed_output(tape)
    assert tape.request["prompt"] == PROMPT


def test_langchain_stopped(tape: Tape) -> None:
    text = llm(tape).invoke(PROMPT, stop=[" people"])
    assert text == tape.body["output"]["text"] != ""
    assert " people" not in text
    assert tape.request["stop_sequences"] == [" people"]


async def test_langchain_abatch(tape: Tape) -> None:
    # One at a time: recorded requests are answered in their order.
    prompts = ["The capital of France is", "The capital of Italy is"]
    answers = await llm(tape, max_concurrency=1, max_tokens=3).abatch(prompts)
    assert answers == [body["output"]["text"] for body in tape.bodies]
    assert all(answers)


def test_langchain_object(tape: Tape) -> None:
    city = (
        llm(tape, max_tokens=80, guided_decoding=True).with_structured_output(City).invoke("A city of France as JSON:")
    )
    assert city == City.model_validate_json(tape.body["output"]["text"])
    assert tape.request["guided_json"]["required"] == ["name", "country"]


def test_langchain_choice(tape: Tape) -> None:
    mood = (
        llm(tape, guided_decoding=True)
        .with_structured_output(Mood)
        .invoke("The sea is calm and the sun shines. The mood is")
    )
    assert isinstance(mood, Mood)
    assert mood.value == tape.body["output"]["text"].strip()
    assert tape.request["guided_choice"] == ["good", "bad"]


def test_langchain_refused(tape: Tape) -> None:
    with pytest.raises(InvalidRequestError, match="without streaming") as caught:
        list(llm(tape, model="llama-2-13b").stream(PROMPT))
    assert caught.value.status_code == tape.status == 400
    assert tape.key not in str(caught.value)


def test_langchain_unknown_model(tape: Tape) -> None:
    with pytest.raises(NotFoundError, match="another team") as caught:
        llm(tape, model="nobody").invoke(PROMPT)
    assert caught.value.status_code == tape.status == 404


def test_langchain_list_models(tape: Tape) -> None:
    listed = llm(tape).list_models()
    assert [model.id for model in listed] == [row["name"] for row in tape.body["model_endpoints"]]
    assert {"vllm", "sglang", "tensorrt_llm"} <= {model.framework for model in listed}


# ------------------------------------------------------------------ LangChain, chat


def test_langchain_chat(tape: Tape) -> None:
    message = chat(tape).invoke([("system", "Answer in one sentence."), ("human", "What is a ferry?")])
    (choice,) = tape.body["choices"]
    assert message.text == choice["message"]["content"] != ""
    assert message.response_metadata["finish_reason"] == choice["finish_reason"]
    assert message.response_metadata["model_name"] == MODEL
    assert message.usage_metadata is not None
    assert message.usage_metadata["total_tokens"] == tape.body["usage"]["total_tokens"] > 0


def test_langchain_chat_stream(tape: Tape) -> None:
    chunks = list(chat(tape).stream("What is a harbour?"))
    choices = [choice for event in tape.events_without_mark for choice in event["choices"]]
    check_chat_stream(chunks, "".join(choice["delta"].get("content") or "" for choice in choices))
    assert chunks[-1].chunk_position == "last"
    assert sum(chunks[1:], chunks[0]).usage_metadata is not None


def test_langchain_chat_object(tape: Tape) -> None:
    city = chat(tape, max_tokens=80).with_structured_output(City).invoke("Name a city of France. Answer as JSON.")
    check_forced_call(city, tape)


async def test_langchain_chat_logprobs(tape: Tape) -> None:
    message = await chat(tape, max_tokens=4).bind(logprobs=True, top_logprobs=1).ainvoke("What is a quay?")
    said = tape.body["choices"][0]["logprobs"]["content"]
    found = message.response_metadata["logprobs"]["content"]
    assert [(one["token"], one["logprob"]) for one in found] == [(one["token"], one["logprob"]) for one in said]
    assert "".join(one["token"] for one in found) == message.text != ""


async def test_langchain_chat_by_template(tape: Tape) -> None:
    message = await chat(tape, api="v1", chat_template="chatml").ainvoke("What is a harbour?")
    assert message.text == tape.body["output"]["text"] != ""
    prompt = "<|im_start|>user\nWhat is a harbour?<|im_end|>\n<|im_start|>assistant\n"
    assert (tape.request["prompt"], tape.request["stop_sequences"][0]) == (prompt, "<|im_end|>")


async def test_langchain_chat_by_template_astream(tape: Tape) -> None:
    model = chat(tape, api="v1", chat_template="chatml")
    check_chat_stream([chunk async for chunk in model.astream("What is a bridge?")], streamed_output(tape))


def check_chat_stream(chunks: list[AIMessageChunk], said: str) -> None:
    assert len([chunk for chunk in chunks if chunk.text]) > 3
    whole = sum(chunks[1:], chunks[0])
    assert whole.text == said != ""
    assert whole.response_metadata["model_name"] == MODEL


# ------------------------------------------------------------------ LlamaIndex


def test_llama_index_complete(tape: Tape) -> None:
    response = llama_index.LLMEngine(**settings(tape)).complete(PROMPT)
    assert response.text == tape.body["output"]["text"] != ""


async def test_llama_index_astream_complete(tape: Tape) -> None:
    stream = await llama_index.LLMEngine(**settings(tape)).astream_complete(PROMPT)
    responses = [response async for response in stream]
    assert responses[-1].text == streamed_output(tape) != ""


def test_llama_index_chat(tape: Tape) -> None:
    response = llama_index.ChatLLMEngine(**settings(tape)).chat([ChatMessage("What is a quay?")])
    assert response.message.content == tape.body["choices"][0]["message"]["content"] != ""


def test_llama_index_logprobs(tape: Tape) -> None:
    response = llama_index.LLMEngine(**settings(tape, return_token_log_probs=True)).complete(PROMPT)
    said = [(token["token"], token["log_prob"]) for token in tape.body["output"]["tokens"]]
    assert [(position[0].token, position[0].logprob) for position in response.logprobs or ()] == said
    check_usage(response.additional_kwargs, tape)


def test_llama_index_unknown_model(tape: Tape) -> None:
    with pytest.raises(errors.NotFoundError, match="another team") as caught:
        llama_index.LLMEngine(**settings(tape, model="nobody")).complete(PROMPT)
    assert caught.value.status_code == tape.status == 404


async def test_llama_index_chat_by_template_astream(tape: Tape) -> None:
    stream = await llama_index.LLMEngine(**settings(tape, chat_template="chatml")).astream_chat(
        [ChatMessage("A quay?")]
    )
    responses = [response async for response in stream]
    assert "".join(response.delta or "" for response in responses) == streamed_output(tape) != ""
    assert tape.request["prompt"] == "<|im_start|>user\nA quay?<|im_end|>\n<|im_start|>assistant\n"


def test_llama_index_stream_chat(tape: Tape) -> None:
    responses = list(llama_index.ChatLLMEngine(**settings(tape)).stream_chat([ChatMessage("What is a quay?")]))
    choices = [choice for event in tape.events_without_mark for choice in event["choices"]]
    assert responses[-1].message.content == "".join(choice["delta"].get("content") or "" for choice in choices) != ""


OBJECT = LlamaIndexPrompt("A city of {country} as JSON:")


def test_llama_index_object(tape: Tape) -> None:
    model = llama_index.LLMEngine(**settings(tape, max_tokens=80, guided_decoding=True))
    city = model.structured_predict(City, OBJECT, country="France")
    assert city == City.model_validate_json(tape.body["output"]["text"])
    assert tape.request["guided_json"]["required"] == ["name", "country"]


async def test_llama_index_chat_object(tape: Tape) -> None:
    model = llama_index.ChatLLMEngine(**settings(tape, max_tokens=80))
    city = await model.astructured_predict(City, OBJECT, country="France")
    check_forced_call(city, tape)


FACT = "The linkspan of Ostra is 60 metres long."


def query_engine(model: Any, **options: Any) -> Any:
    return SummaryIndex.from_documents([Document(text=FACT)]).as_query_engine(llm=model, **options)


def test_llama_index_query_engine_stream(tape: Tape) -> None:
    answer = query_engine(llama_index.LLMEngine(**settings(tape)), streaming=True).query("How long is it?")
    assert "".join(answer.response_gen) == streamed_output(tape) != ""
    assert FACT in tape.request["prompt"]


async def test_llama_index_chat_query_engine(tape: Tape) -> None:
    answer = await query_engine(llama_index.ChatLLMEngine(**settings(tape))).aquery("How long is it?")
    assert str(answer) == tape.body["choices"][0]["message"]["content"] != ""
    assert FACT in str(tape.request["messages"])
