"""``api="openai"`` of DataCrunch's classes in both frameworks over recordings of a real vLLM."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.messages import HumanMessage
from llama_index.core.base.llms.types import ImageBlock, TextBlock, ThinkingBlock
from llama_index.core.llms import ChatMessage
from llama_index.core.prompts import PromptTemplate

from linkspan import errors, langchain, llama_index
from tests.cassettes.tape import HOST
from tests.cassettes.test_scaleway_tools import (
    LLAMA_INDEX_TOOLS,
    ONE_CITY,
    TOOLS,
    TWO_CITIES,
    Weather,
    check_chunks,
    check_message,
    get_weather,
    history,
    llama_index_history,
    wire_selections,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.cassettes.tape import Tape

pytestmark = pytest.mark.recorded_from("vllm-datacrunch")
reasons = pytest.mark.recorded_from("vllm-datacrunch-reasoning")

FRANCE = "What is the capital of France?"
SUNNY = "It is sunny in Paris."
PROMPT = "A ferry is a ship that"
WINDOW = 2048
TOO_LONG = "word " * 3000
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
SCHEMA = {"type": "json_schema", "json_schema": {"name": "weather", "schema": Weather.model_json_schema()}}


class Word(Enum):
    YES = "yes"
    NO = "no"


def unnamed(tape: Tape, **more: Any) -> dict[str, Any]:
    """Settings without a model: the server is asked which one it has."""
    where = {"base_url": tape.base_url or f"https://{HOST}/v1", "api_key": tape.key, "max_retries": 0}
    return {"api": "openai", **where, "temperature": 0, "max_tokens": 12, **more}


def named(tape: Tape, **more: Any) -> dict[str, Any]:
    return unnamed(tape, **{"model": tape.model, **more})


def chat(tape: Tape, **more: Any) -> langchain.ChatDataCrunch:
    return langchain.ChatDataCrunch(**named(tape, **more))


def prompts(tape: Tape, **more: Any) -> langchain.DataCrunch:
    return langchain.DataCrunch(**named(tape, **more))


def li_chat(tape: Tape, **more: Any) -> llama_index.ChatDataCrunch:
    return llama_index.ChatDataCrunch(**named(tape, **more))


def li_prompts(tape: Tape, **more: Any) -> llama_index.DataCrunch:
    return llama_index.DataCrunch(**named(tape, **more))


def whole(chunks: list[Any]) -> Any:
    return sum(chunks[1:], chunks[0])


def texts(tape: Tape) -> list[str]:
    """What the choices of the only answer say."""
    return [choice["text"] if "text" in choice else choice["message"]["content"] for choice in tape.body["choices"]]


def spoken(tape: Tape) -> str:
    """The text of a prompt's stream."""
    return "".join(choice["text"] for event in tape.events for choice in event["choices"])


# ---------------------------------------------------------------------- LangChain: chat


def test_langchain_model_and_window_from_the_list(tape: Tape) -> None:
    model = langchain.ChatDataCrunch(**unnamed(tape))
    message = model.invoke(FRANCE)
    listed, answer = tape.bodies
    (row,) = listed["data"]
    assert tape.requests[0]["model"] == message.response_metadata["model_name"] == row["id"]
    assert model.profile is not None
    assert model.profile["max_input_tokens"] == row["max_model_len"] == WINDOW
    assert message.text == answer["choices"][0]["message"]["content"] != ""
    assert message.usage_metadata is not None
    assert message.usage_metadata["total_tokens"] == answer["usage"]["total_tokens"]


def test_langchain_stream(tape: Tape) -> None:
    chunks = list(chat(tape).stream(FRANCE))
    message = whole(chunks)
    assert len([chunk for chunk in chunks if chunk.text]) > 3
    assert message.text == tape.streamed_text != ""
    assert message.response_metadata["finish_reason"] == tape.streamed_finish_reason
    assert message.usage_metadata["total_tokens"] == tape.streamed_usage["total_tokens"]


async def test_langchain_astream_log_probabilities(tape: Tape) -> None:
    message = whole([chunk async for chunk in chat(tape, max_tokens=5).astream(FRANCE, logprobs=True, top_logprobs=2)])
    scores = message.response_metadata["logprobs"]["content"]
    assert "".join(score["token"] for score in scores) == message.text == tape.streamed_text != ""
    assert all(len(score["top_logprobs"]) == 2 for score in scores)


def test_langchain_parameters(tape: Tape) -> None:
    given = {"presence_penalty": 0.5, "frequency_penalty": 0.25, "min_p": 0.1, "top_k": 5, "repetition_penalty": 1.1}
    message = chat(tape, **given).invoke(FRANCE, logit_bias={"504": -100}, stop=[" France"])
    assert message.text == texts(tape)[0]
    assert {**given, "logit_bias": {"504": -100}, "stop": [" France"]}.items() <= tape.request.items()


async def test_langchain_two_answers(tape: Tape) -> None:
    result = await chat(tape, temperature=0.9, seed=7).agenerate([[HumanMessage(FRANCE)]], n=2)
    assert [generation.text for generation in result.generations[0]] == texts(tape)
    assert len(texts(tape)) == 2
    assert result.llm_output is not None
    assert result.llm_output["token_usage"]["total_tokens"] == tape.body["usage"]["total_tokens"]


def test_langchain_tools_and_their_results(tape: Tape) -> None:
    model = chat(tape, max_tokens=64)
    asked: list[Any] = history()
    called = model.bind_tools(TOOLS, tool_choice="any").invoke(asked)
    results = [get_weather.invoke(call) for call in called.tool_calls]
    answer = model.bind_tools(TOOLS).invoke([*asked, called, *results])
    first, second = tape.bodies
    assert [call["args"] for call in called.tool_calls] == [{"city": "Paris"}, {"city": "Oslo"}]
    made = [call["id"] for call in first["choices"][0]["message"]["tool_calls"]]
    assert [message["tool_call_id"] for message in tape.requests[1]["messages"][-2:]] == made
    assert answer.text == second["choices"][0]["message"]["content"] != ""


def test_langchain_one_call(tape: Tape) -> None:
    model = chat(tape, max_tokens=64).bind_tools(TOOLS, tool_choice="any", parallel_tool_calls=False)
    message = model.invoke(history())
    check_message(message, tape)
    assert [call["args"] for call in message.tool_calls] == [{"city": "Paris"}]
    assert tape.request["parallel_tool_calls"] is False


def test_langchain_tool_named(tape: Tape) -> None:
    message = chat(tape, max_tokens=64).bind_tools(TOOLS, tool_choice="get_weather").invoke(ONE_CITY)
    check_message(message, tape)
    assert message.tool_calls[0]["args"] == {"city": "Paris"}


async def test_langchain_astream_tools(tape: Tape) -> None:
    stream = chat(tape, max_tokens=64).bind_tools(TOOLS, tool_choice="any").astream(history())
    message = check_chunks([chunk async for chunk in stream], tape)
    assert [call["args"] for call in message.tool_calls] == [{"city": "Paris"}, {"city": "Oslo"}]


def test_langchain_tools_beside_a_schema(tape: Tape) -> None:
    """This server holds calls to their schemas, so it lets the model call a tool although there is a schema."""
    message = chat(tape, max_tokens=64).bind_tools(TOOLS, response_format=SCHEMA).invoke(SUNNY)
    check_message(message, tape)
    assert message.tool_calls
    assert tape.request["response_format"] == SCHEMA
    assert "tools" in tape.request


def test_langchain_object(tape: Tape) -> None:
    found = chat(tape, max_tokens=64).with_structured_output(Weather).invoke(SUNNY)
    assert found == Weather.model_validate_json(texts(tape)[0])
    assert found == Weather(city="Paris", sky="sunny")
    assert tape.request["response_format"]["type"] == "json_schema"


def test_langchain_json_mode(tape: Tape) -> None:
    model = chat(tape, max_tokens=64).with_structured_output(Weather, method="json_mode")
    assert model.invoke(f"{SUNNY} Answer in JSON with city and sky.") == Weather(city="Paris", sky="sunny")
    assert tape.request["response_format"] == {"type": "json_object"}


def test_langchain_choice(tape: Tape) -> None:
    assert chat(tape).with_structured_output(Word).invoke("Is water wet?") in Word
    assert texts(tape)[0] in {"yes", "no"}
    assert tape.request["structured_outputs"] == {"choice": ["yes", "no"]}


@reasons
def test_langchain_reasoning(tape: Tape) -> None:
    message = chat(tape, max_tokens=64).invoke(FRANCE)
    wire = tape.body["choices"][0]["message"]
    assert message.additional_kwargs["reasoning_content"] == wire["reasoning"] != ""
    assert message.text == wire["content"] != ""
    assert message.usage_metadata is not None
    counted = tape.body["usage"]["completion_tokens_details"]["reasoning_tokens"]
    assert message.usage_metadata["output_token_details"] == {"reasoning": counted}


@reasons
async def test_langchain_astream_reasoning_sent_back(tape: Tape) -> None:
    model = chat(tape, max_tokens=64, send_reasoning=True)
    message = whole([chunk async for chunk in model.astream(FRANCE)])
    thought = message.additional_kwargs["reasoning_content"]
    await model.ainvoke([HumanMessage(FRANCE), message, HumanMessage("What is the capital of Norway?")])
    sent = tape.requests[1]["messages"][1]
    assert sent["reasoning"] == sent["reasoning_content"] == thought != ""


# ---------------------------------------------------------------------- LangChain: prompts


def test_langchain_prompt_and_the_list(tape: Tape) -> None:
    (generation,) = langchain.DataCrunch(**unnamed(tape)).generate([PROMPT], logprobs=2).generations[0]
    listed, answer = tape.bodies
    info = generation.generation_info or {}
    assert tape.requests[0]["model"] == listed["data"][0]["id"]
    assert generation.text == answer["choices"][0]["text"] == "".join(one["token"] for one in info["logprobs"])
    assert all(len(one["top_logprobs"]) == 2 for one in info["logprobs"])
    assert info["finish_reason"] == "length"
    assert info["token_usage"]["total_tokens"] == answer["usage"]["total_tokens"]


async def test_langchain_prompt_astream(tape: Tape) -> None:
    pieces = [piece async for piece in prompts(tape).astream(PROMPT)]
    assert len(pieces) > 3
    assert "".join(pieces) == spoken(tape) != ""


def test_langchain_prompt_stopped(tape: Tape) -> None:
    assert prompts(tape).invoke(PROMPT, stop=[" the"]) == texts(tape)[0]
    assert tape.body["choices"][0]["stop_reason"] == " the"


def test_langchain_prompt_echo(tape: Tape) -> None:
    text = prompts(tape).invoke(PROMPT, echo=True)
    assert text == texts(tape)[0]
    assert text.startswith(PROMPT)
    assert len(text) > len(PROMPT)


def test_langchain_prompt_stream_echo(tape: Tape) -> None:
    text = "".join(prompts(tape).stream(PROMPT, echo=True))
    assert text == spoken(tape)
    assert text.startswith(PROMPT)


def test_langchain_prompt_two_answers(tape: Tape) -> None:
    result = prompts(tape, temperature=0.9, seed=7).generate([PROMPT], n=2)
    assert [generation.text for generation in result.generations[0]] == texts(tape)
    assert len(texts(tape)) == 2


def test_langchain_prompt_object(tape: Tape) -> None:
    assert prompts(tape, max_tokens=64).with_structured_output(Weather).invoke(SUNNY).city == "Paris"
    assert tape.request["response_format"]["type"] == "json_schema"


# ---------------------------------------------------------------------- LangChain: errors


def refused(tape: Tape, call: Callable[[], Any], error: type[errors.LinkspanError]) -> errors.LinkspanError:
    with pytest.raises(error) as caught:
        call()
    assert tape.body["error"]["message"] in str(caught.value)
    assert caught.value.status_code == tape.status
    return caught.value


def test_langchain_unknown_model(tape: Tape) -> None:
    error = refused(tape, lambda: chat(tape, model="unknown").invoke(FRANCE), errors.NotFoundError)
    assert "list_models()" in str(error)


def test_langchain_context_too_long(tape: Tape) -> None:
    refused(tape, lambda: chat(tape).invoke(TOO_LONG), errors.ContextOverflowError)


def test_langchain_stream_context_too_long(tape: Tape) -> None:
    refused(tape, lambda: list(prompts(tape).stream(TOO_LONG)), errors.ContextOverflowError)


def test_langchain_image(tape: Tape) -> None:
    """A model that reads text only refuses pictures, and says so."""
    picture = {"type": "image", "base64": PIXEL, "mime_type": "image/png"}
    error = refused(tape, lambda: chat(tape).invoke([HumanMessage([picture])]), errors.InvalidRequestError)
    assert "not a multimodal model" in str(error)


def test_langchain_wrong_key(tape: Tape) -> None:
    model = chat(tape, api_key="not-the-key-0123456789")
    with pytest.raises(errors.AuthenticationError, match="inference API key"):
        model.invoke(FRANCE)
    assert tape.body == {"error": "Unauthorized"}


def test_langchain_asked_as_tgi(tape: Tape) -> None:
    with pytest.raises(errors.NotFoundError, match='choose api="openai"'):
        chat(tape, model="tgi", api="messages").invoke(FRANCE)
    assert tape.status == 404


# ---------------------------------------------------------------------- LlamaIndex


def test_llama_index_model_and_window_from_the_list(tape: Tape) -> None:
    model = llama_index.ChatDataCrunch(**unnamed(tape))
    response = model.chat([ChatMessage(FRANCE)])
    listed, answer = tape.bodies
    assert tape.requests[0]["model"] == model.metadata.model_name == listed["data"][0]["id"]
    assert model.metadata.context_window == WINDOW
    assert response.message.content == answer["choices"][0]["message"]["content"] != ""
    assert response.additional_kwargs["total_tokens"] == answer["usage"]["total_tokens"]


async def test_llama_index_astream(tape: Tape) -> None:
    stream = await li_chat(tape).astream_chat([ChatMessage(FRANCE)])
    chunks = [chunk async for chunk in stream]
    assert len(chunks) > 3
    assert "".join(chunk.delta or "" for chunk in chunks) == chunks[-1].message.content == tape.streamed_text != ""
    assert chunks[-1].additional_kwargs["total_tokens"] == tape.streamed_usage["total_tokens"]


async def test_llama_index_log_probabilities(tape: Tape) -> None:
    response = await li_chat(tape, max_tokens=5).achat([ChatMessage(FRANCE)], logprobs=True, top_logprobs=2)
    assert "".join(row[0].token for row in response.logprobs or []) == response.message.content == texts(tape)[0]


def test_llama_index_stream_two_answers(tape: Tape) -> None:
    last = list(li_chat(tape, temperature=0.9, seed=7).stream_chat([ChatMessage(FRANCE)], n=2))[-1]
    said = ["", ""]
    for event in tape.events:
        for choice in event["choices"]:
            said[choice["index"]] += choice["delta"].get("content") or ""
    assert [last.message.content, *last.additional_kwargs["alternatives"]] == said
    assert all(said)


def test_llama_index_tools(tape: Tape) -> None:
    model = li_chat(tape, max_tokens=64)
    asked = {"user_msg": TWO_CITIES, "chat_history": llama_index_history()}
    response = model.chat_with_tools(LLAMA_INDEX_TOOLS, **asked, tool_required=True, allow_parallel_tool_calls=True)
    calls = model.get_tool_calls_from_response(response)
    assert calls == wire_selections(tape.body["choices"][0]["message"])
    assert [call.tool_kwargs for call in calls] == [{"city": "Paris"}, {"city": "Oslo"}]


async def test_llama_index_astream_tool_named(tape: Tape) -> None:
    model = li_chat(tape, max_tokens=64)
    stream = await model.astream_chat_with_tools(LLAMA_INDEX_TOOLS, user_msg=ONE_CITY, tool_choice="weather_of")
    last = [chunk async for chunk in stream][-1]
    calls = model.get_tool_calls_from_response(last)
    assert [(call.tool_id, call.tool_name, call.tool_kwargs) for call in calls] == tape.streamed_calls
    assert calls[0].tool_kwargs == {"city": "Paris"}


def test_llama_index_not_called(tape: Tape) -> None:
    """Left to choose, so small a model answers by itself."""
    model = li_chat(tape, max_tokens=64)
    response = model.chat_with_tools(LLAMA_INDEX_TOOLS, user_msg=TWO_CITIES, chat_history=llama_index_history())
    assert model.get_tool_calls_from_response(response, error_on_no_tool_call=False) == []
    assert response.message.content == texts(tape)[0] != ""
    assert "tool_choice" not in tape.request


def test_llama_index_object(tape: Tape) -> None:
    found = li_chat(tape, max_tokens=64).structured_predict(Weather, PromptTemplate(SUNNY))
    assert found == Weather(city="Paris", sky="sunny")
    assert tape.request["response_format"]["type"] == "json_schema"


def test_llama_index_stream_object(tape: Tape) -> None:
    found = list(li_chat(tape, max_tokens=64).stream_structured_predict(Weather, PromptTemplate(SUNNY)))
    assert found[-1] == Weather.model_validate_json(tape.streamed_text)


@reasons
def test_llama_index_stream_reasoning(tape: Tape) -> None:
    last = list(li_chat(tape, max_tokens=64).stream_chat([ChatMessage(FRANCE)]))[-1]
    (thought,) = [block.content for block in last.message.blocks if isinstance(block, ThinkingBlock)]
    assert thought == tape.streamed_reasoning != ""
    assert last.message.content == tape.streamed_text != ""


def test_llama_index_prompt_and_the_list(tape: Tape) -> None:
    model = llama_index.DataCrunch(**unnamed(tape))
    response = model.complete(PROMPT, logprobs=2)
    listed, answer = tape.bodies
    assert response.text == answer["choices"][0]["text"] == "".join(row[0].token for row in response.logprobs or [])
    assert model.metadata.model_name == listed["data"][0]["id"]
    assert model.metadata.context_window == WINDOW
    assert response.additional_kwargs["total_tokens"] == answer["usage"]["total_tokens"]


async def test_llama_index_prompt_astream(tape: Tape) -> None:
    chunks = [chunk async for chunk in await li_prompts(tape).astream_complete(PROMPT, stop=[" the"])]
    assert chunks[-1].text == "".join(chunk.delta or "" for chunk in chunks) == spoken(tape) != ""
    assert chunks[-1].additional_kwargs["finish_reason"] == "stop"


def test_llama_index_prompt_stream_echo(tape: Tape) -> None:
    last = list(li_prompts(tape).stream_complete(PROMPT, echo=True))[-1]
    assert last.text == spoken(tape)
    assert last.text.startswith(PROMPT)


def test_llama_index_prompt_two_answers(tape: Tape) -> None:
    response = li_prompts(tape, temperature=0.9, seed=7).complete(PROMPT, n=2)
    assert [response.text, *response.additional_kwargs["alternatives"]] == texts(tape)
    assert len(texts(tape)) == 2


def test_llama_index_prompt_two_answers_greedy(tape: Tape) -> None:
    """VLLM wants sampling for several answers, and says so."""
    refused(tape, lambda: li_prompts(tape).complete(PROMPT, n=2), errors.InvalidRequestError)


def test_llama_index_unknown_model(tape: Tape) -> None:
    error = refused(tape, lambda: li_prompts(tape, model="unknown").complete(PROMPT), errors.NotFoundError)
    assert "list_models()" in str(error)


def test_llama_index_context_too_long(tape: Tape) -> None:
    refused(tape, lambda: li_chat(tape).complete(TOO_LONG), errors.ContextOverflowError)


def test_llama_index_image(tape: Tape) -> None:
    picture = ImageBlock(url=f"data:image/png;base64,{PIXEL}")
    asked = ChatMessage(role="user", blocks=[TextBlock(text="What is this?"), picture])
    error = refused(tape, lambda: li_chat(tape).chat([asked]), errors.InvalidRequestError)
    assert "not a multimodal model" in str(error)
