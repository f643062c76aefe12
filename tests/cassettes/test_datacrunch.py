"""DataCrunch's classes of both frameworks over recordings of a real model behind TGI's dialect."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import PromptTemplate
from llama_index.core import Document, SummaryIndex
from llama_index.core.llms import ChatMessage
from llama_index.core.prompts import PromptTemplate as LlamaIndexPrompt
from pydantic import BaseModel, Field

from linkspan import errors, langchain, llama_index
from linkspan.langchain.errors import InvalidRequestError
from tests.cassettes.tape import HOST

if TYPE_CHECKING:
    from langchain_core.outputs import GenerationChunk

    from tests.cassettes.tape import Tape

pytestmark = pytest.mark.recorded_from("sandbox-datacrunch")

PROMPT = "A ferry is a ship that"
QUESTION = "What is a harbour?"


class City(BaseModel, extra="forbid"):
    """A city."""

    name: str = Field(max_length=30)
    country: str = Field(max_length=30)


def settings(tape: Tape, **more: Any) -> dict[str, Any]:
    # Addresses are recorded with this path, whatever theirs is.
    where = {"base_url": tape.base_url or f"https://{HOST}/v1", "api_key": tape.key, "max_retries": 0}
    return {"temperature": 0, "max_tokens": 24, **where, **more}


def chat_route(tape: Tape, **more: Any) -> dict[str, Any]:
    """Settings of those that ask TGI's own chat route, and so cut one ``/v1`` off their address."""
    return settings(tape, **more, base_url=tape.base_url or f"https://{HOST}/v1/v1")


def llm(tape: Tape, **more: Any) -> langchain.DataCrunch:
    return langchain.DataCrunch(**settings(tape, **more))


def chat(tape: Tape, **more: Any) -> langchain.ChatDataCrunch:
    return langchain.ChatDataCrunch(**(chat_route if "api" in more else settings)(tape, **more))


def spoken(tape: Tape) -> str:
    tokens = [event["token"] for event in tape.events_without_mark]
    return "".join(token["text"] for token in tokens if not token["special"])


# ------------------------------------------------------------------ LangChain


def test_langchain_generate(tape: Tape) -> None:
    (generation,) = llm(tape, decoder_input_details=True, top_n_tokens=2).generate([PROMPT]).generations[0]
    details = tape.body["details"]
    info = generation.generation_info or {}
    assert generation.text == tape.body["generated_text"] != ""
    for name in ("finish_reason", "generated_tokens", "prefill", "top_tokens"):
        assert info[name] == details[name]
    said = [(token["id"], token["text"], token["logprob"]) for token in details["tokens"]]
    assert [(token["id"], token["token"], token["logprob"]) for token in info["logprobs"]] == said
    assert info["token_usage"]["completion_tokens"] == details["generated_tokens"]
    assert info["token_usage"]["prompt_tokens"] == len(details["prefill"])
    # Greedy decoding is what TGI does without a temperature, and it refuses 0.
    parameters = {"max_new_tokens": 24, "details": True, "decoder_input_details": True, "top_n_tokens": 2}
    assert tape.request == {"inputs": PROMPT, "parameters": parameters}


async def test_langchain_ainvoke(tape: Tape) -> None:
    assert await llm(tape).ainvoke(PROMPT) == tape.body["generated_text"] != ""


def test_langchain_stream(tape: Tape) -> None:
    check_stream(list(llm(tape)._stream(PROMPT)), tape)


async def test_langchain_astream(tape: Tape) -> None:
    check_stream([chunk async for chunk in llm(tape)._astream(PROMPT)], tape)


def check_stream(chunks: list[GenerationChunk], tape: Tape) -> None:
    last = tape.events_without_mark[-1]
    assert len([chunk for chunk in chunks if chunk.text]) > 3
    assert "".join(chunk.text for chunk in chunks) == spoken(tape) == last["generated_text"] != ""
    info = chunks[-1].generation_info or {}
    assert info["finish_reason"] == last["details"]["finish_reason"]
    assert info["token_usage"]["completion_tokens"] == last["details"]["generated_tokens"]
    assert len(info["logprobs"]) == len(tape.events_without_mark)


async def test_langchain_chain_astream(tape: Tape) -> None:
    chain = PromptTemplate.from_template("A {ship} is a ship that") | llm(tape) | StrOutputParser()
    pieces = [piece async for piece in chain.astream({"ship": "ferry"}) if piece]
    assert len(pieces) > 3
    assert "".join(pieces) == spoken(tape)
    assert tape.request["inputs"] == PROMPT


def test_langchain_stopped(tape: Tape) -> None:
    text = llm(tape).invoke(PROMPT, stop=[" people"])
    check_stopped(text, tape.body["generated_text"], tape)


async def test_langchain_stream_stopped(tape: Tape) -> None:
    text = "".join([piece async for piece in llm(tape).astream(PROMPT, stop=[" people"])])
    check_stopped(text, tape.events_without_mark[-1]["generated_text"], tape)


def check_stopped(text: str, said: str, tape: Tape) -> None:
    # TGI leaves the stop text in its answer.
    assert said == f"{text} people"
    assert text
    assert tape.request["parameters"]["stop"] == [" people"]


def test_langchain_best_of(tape: Tape) -> None:
    (generation,) = llm(tape, temperature=0.9, best_of=2).generate([PROMPT]).generations[0]
    info = generation.generation_info or {}
    (other,) = tape.body["details"]["best_of_sequences"]
    assert generation.text == tape.body["generated_text"] != ""
    assert info["best_of_sequences"][0]["generated_text"] == other["generated_text"] != ""
    assert info["seed"] == tape.body["details"]["seed"] is not None


def test_langchain_object(tape: Tape) -> None:
    city = llm(tape, max_tokens=80).with_structured_output(City).invoke("A city of France as JSON:")
    assert city == City.model_validate_json(tape.body["generated_text"])
    assert tape.request["parameters"]["grammar"]["value"]["required"] == ["name", "country"]


def test_langchain_refused(tape: Tape) -> None:
    with pytest.raises(InvalidRequestError, match="top_n_tokens") as caught:
        llm(tape, top_n_tokens=6).invoke(PROMPT)
    assert (caught.value.code, caught.value.status_code, tape.status) == ("validation", 422, 422)


def test_langchain_stream_refused(tape: Tape) -> None:
    with pytest.raises(InvalidRequestError, match="top_n_tokens") as caught:
        list(llm(tape, top_n_tokens=6).stream(PROMPT))
    # In a stream the refusal is an event under another status.
    assert (caught.value.code, caught.value.status_code, tape.status) == ("validation", 422, 200)


def test_langchain_info(tape: Tape) -> None:
    info = llm(tape).info()
    assert (info.model_id, info.version) == (tape.body["model_id"], tape.body["version"])


async def test_langchain_chat_by_template(tape: Tape) -> None:
    message = await chat(tape, chat_template="chatml").ainvoke(QUESTION)
    assert message.text == tape.body["generated_text"] != ""
    assert message.response_metadata["finish_reason"] == tape.body["details"]["finish_reason"]
    assert message.usage_metadata is not None
    assert message.usage_metadata["output_tokens"] == tape.body["details"]["generated_tokens"]
    assert tape.request["inputs"] == f"<|im_start|>user\n{QUESTION}<|im_end|>\n<|im_start|>assistant\n"


def test_langchain_chat_by_template_stream(tape: Tape) -> None:
    chunks = list(chat(tape, chat_template="chatml").stream(QUESTION))
    assert sum(chunks[1:], chunks[0]).text == spoken(tape) != ""
    assert chunks[-1].chunk_position == "last"


def test_langchain_chat_by_template_object(tape: Tape) -> None:
    model = chat(tape, chat_template="chatml", max_tokens=80).with_structured_output(City)
    assert model.invoke("Name a city of France.") == City.model_validate_json(tape.body["generated_text"])
    assert tape.request["parameters"]["grammar"]["value"]["required"] == ["name", "country"]


def test_langchain_chat(tape: Tape) -> None:
    message = chat(tape, api="messages").invoke([("system", "Answer in one sentence."), ("human", QUESTION)])
    (choice,) = tape.body["choices"]
    assert message.text == choice["message"]["content"] != ""
    assert message.response_metadata["finish_reason"] == choice["finish_reason"]
    assert message.usage_metadata is not None
    assert message.usage_metadata["total_tokens"] == tape.body["usage"]["total_tokens"] > 0
    assert [sent["role"] for sent in tape.request["messages"]] == ["system", "user"]


async def test_langchain_chat_astream(tape: Tape) -> None:
    chunks = [chunk async for chunk in chat(tape, api="messages").astream(QUESTION)]
    assert len([chunk for chunk in chunks if chunk.text]) > 3
    assert sum(chunks[1:], chunks[0]).text == tape.streamed_text != ""


def test_langchain_chat_object(tape: Tape) -> None:
    model = chat(tape, api="messages", max_tokens=80).with_structured_output(City)
    city = model.invoke("Name a city of France. Answer as JSON.")
    assert city == City.model_validate_json(tape.body["choices"][0]["message"]["content"])
    # The dialect's own word for a schema.
    assert tape.request["response_format"]["type"] == "json"


# ------------------------------------------------------------------ LlamaIndex


def test_llama_index_complete(tape: Tape) -> None:
    response = llama_index.DataCrunch(**settings(tape)).complete(PROMPT)
    assert response.text == tape.body["generated_text"] != ""


async def test_llama_index_astream_complete(tape: Tape) -> None:
    stream = await llama_index.DataCrunch(**settings(tape)).astream_complete(PROMPT)
    responses = [response async for response in stream]
    assert responses[-1].text == spoken(tape) != ""


def test_llama_index_chat_by_template(tape: Tape) -> None:
    model = llama_index.DataCrunch(**settings(tape), chat_template="chatml")
    response = model.chat([ChatMessage(QUESTION)])
    assert response.message.content == tape.body["generated_text"] != ""
    assert tape.request["inputs"] == f"<|im_start|>user\n{QUESTION}<|im_end|>\n<|im_start|>assistant\n"


async def test_llama_index_details(tape: Tape) -> None:
    model = llama_index.DataCrunch(**settings(tape, decoder_input_details=True))
    response = await model.acomplete(PROMPT)
    details = tape.body["details"]
    said = [(token["text"], token["logprob"]) for token in details["tokens"]]
    assert [(position[0].token, position[0].logprob) for position in response.logprobs or ()] == said
    assert response.raw is not None
    assert response.raw["details"]["prefill"] == details["prefill"]
    counts = (response.additional_kwargs["prompt_tokens"], response.additional_kwargs["completion_tokens"])
    assert counts == (len(details["prefill"]), details["generated_tokens"])


def test_llama_index_best_of(tape: Tape) -> None:
    response = llama_index.DataCrunch(**settings(tape, temperature=0.9, best_of=2)).complete(PROMPT)
    (other,) = tape.body["details"]["best_of_sequences"]
    assert response.text == tape.body["generated_text"] != ""
    assert response.additional_kwargs["best_of_sequences"][0]["generated_text"] == other["generated_text"] != ""


def test_llama_index_stream_chat(tape: Tape) -> None:
    responses = list(llama_index.ChatDataCrunch(**chat_route(tape)).stream_chat([ChatMessage(QUESTION)]))
    assert len(responses) > 3
    assert responses[-1].message.content == tape.streamed_text != ""


async def test_llama_index_chat_by_template_astream(tape: Tape) -> None:
    stream = await llama_index.DataCrunch(**settings(tape), chat_template="chatml").astream_chat(
        [ChatMessage(QUESTION)]
    )
    responses = [response async for response in stream]
    assert "".join(response.delta or "" for response in responses) == spoken(tape) != ""


OBJECT = LlamaIndexPrompt("A city of {country} as JSON:")


def test_llama_index_object(tape: Tape) -> None:
    model = llama_index.DataCrunch(**settings(tape, max_tokens=80))
    city = model.structured_predict(City, OBJECT, country="France")
    assert city == City.model_validate_json(tape.body["generated_text"])
    assert tape.request["parameters"]["grammar"]["value"]["required"] == ["name", "country"]


async def test_llama_index_chat_object(tape: Tape) -> None:
    model = llama_index.ChatDataCrunch(**chat_route(tape, max_tokens=80))
    city = await model.astructured_predict(City, OBJECT, country="France")
    assert city == City.model_validate_json(tape.body["choices"][0]["message"]["content"])
    assert tape.request["response_format"]["type"] == "json"


FACT = "The linkspan of Ostra is 60 metres long."


def query_engine(model: Any, **options: Any) -> Any:
    return SummaryIndex.from_documents([Document(text=FACT)]).as_query_engine(llm=model, **options)


def test_llama_index_query_engine_stream(tape: Tape) -> None:
    answer = query_engine(llama_index.DataCrunch(**settings(tape)), streaming=True).query("How long is it?")
    assert "".join(answer.response_gen) == spoken(tape) != ""
    assert FACT in tape.request["inputs"]


async def test_llama_index_chat_query_engine(tape: Tape) -> None:
    answer = await query_engine(llama_index.ChatDataCrunch(**chat_route(tape))).aquery("How long is it?")
    assert str(answer) == tape.body["choices"][0]["message"]["content"] != ""
    assert FACT in str(tape.request["messages"])


def test_llama_index_refused(tape: Tape) -> None:
    with pytest.raises(errors.InvalidRequestError, match="top_n_tokens") as caught:
        llama_index.DataCrunch(**settings(tape, top_n_tokens=6)).complete(PROMPT)
    assert (caught.value.code, caught.value.status_code, tape.status) == ("validation", 422, 422)
