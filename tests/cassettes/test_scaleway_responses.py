"""The Responses API in both frameworks over recordings of vLLM: answers, tools, objects, thoughts, limits."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Literal

import pytest
from llama_index.core.base.llms.types import ThinkingBlock
from llama_index.core.llms import ChatMessage
from llama_index.core.prompts import PromptTemplate
from pydantic import BaseModel

from linkspan.errors import LinkspanError
from tests.cassettes import constructors
from tests.cassettes.test_scaleway_tools import LLAMA_INDEX_TOOLS, ONE_CITY, TOOLS, get_weather, history

if TYPE_CHECKING:
    from langchain_core.messages import ToolMessage

    from linkspan.langchain import ChatScaleway
    from linkspan.llama_index import Scaleway
    from tests.cassettes.tape import Tape

pytestmark = pytest.mark.recorded_from("vllm-responses")
reasons = pytest.mark.recorded_from("vllm-responses-reasoning")

FRANCE = "What is the capital of France?"


class Weather(BaseModel):
    """The weather in a city."""

    city: Literal["Paris", "Oslo", "Rome", "Berlin"]
    sky: Literal["sunny", "rain", "snow"]


def chat_model(tape: Tape, **settings: Any) -> ChatScaleway:
    return constructors.chat_model(tape, api="responses", **settings)


def llm(tape: Tape, **settings: Any) -> Scaleway:
    return constructors.llm(tape, api="responses", **settings)


def said(tape: Tape, kind: str) -> str:
    """What the pieces of a kind say, put together."""
    events = [event for event in tape.events_without_mark if event["type"] == f"response.{kind}.delta"]
    assert len(events) > 1
    return "".join(event["delta"] for event in events)


def last(tape: Tape) -> dict[str, Any]:
    """The response that ends a stream."""
    response: dict[str, Any] = tape.events_without_mark[-1]["response"]
    return response


def calls_of(response: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    return [
        (item["call_id"], item["name"], json.loads(item["arguments"]))
        for item in response["output"]
        if item["type"] == "function_call"
    ]


def whole(chunks: list[Any]) -> Any:
    return sum(chunks[1:], chunks[0])


# ---------------------------------------------------------------------- LangChain


def test_langchain_invoke(tape: Tape) -> None:
    message = chat_model(tape, max_tokens=5).invoke(FRANCE)
    (item,) = tape.body["output"]
    assert message.text == item["content"][0]["text"] != ""
    assert message.id == tape.body["id"]
    assert message.response_metadata["finish_reason"] == "length"
    assert tape.body["incomplete_details"] == {"reason": "max_output_tokens"}
    assert message.usage_metadata is not None
    assert message.usage_metadata["total_tokens"] == tape.body["usage"]["total_tokens"]
    assert tape.request["store"] is False
    assert tape.request["input"] == [{"role": "user", "content": FRANCE}]


async def test_langchain_stream_with_log_probabilities(tape: Tape) -> None:
    model = chat_model(tape, max_tokens=8)
    message = whole([chunk async for chunk in model.astream(FRANCE, logprobs=True, top_logprobs=2)])
    assert message.content == said(tape, "output_text")
    scores = message.response_metadata["logprobs"]["content"]
    assert "".join(score["token"] for score in scores) == message.content
    assert {len(score["top_logprobs"]) for score in scores} <= {2, 3}
    assert message.usage_metadata["total_tokens"] == last(tape)["usage"]["total_tokens"]
    assert (
        message.response_metadata["finish_reason"]
        == {"completed": "stop", "incomplete": "length"}[last(tape)["status"]]
    )


def test_langchain_tools_and_their_results(tape: Tape) -> None:
    model = chat_model(tape)
    asked: list[Any] = history()
    called = model.bind_tools(TOOLS, tool_choice="any").invoke(asked)
    results: list[ToolMessage] = [get_weather.invoke(call) for call in called.tool_calls]
    answer = model.bind_tools(TOOLS, tool_choice="none").invoke([*asked, called, *results])
    first, second = tape.bodies
    made = [(call["id"], call["name"], call["args"]) for call in called.tool_calls]
    assert made == calls_of(first)
    assert [arguments for _, _, arguments in made] == [{"city": "Paris"}, {"city": "Oslo"}]
    assert called.response_metadata["finish_reason"] == "tool_calls"
    sent = tape.requests[1]["input"][-4:]
    assert [item["type"] for item in sent] == ["function_call"] * 2 + ["function_call_output"] * 2
    assert [item["call_id"] for item in sent] == [identity for identity, _, _ in made] * 2
    assert [item["output"] for item in sent[2:]] == ["sunny", "snow"]
    assert answer.text == second["output"][0]["content"][0]["text"] != ""


def test_langchain_stream_named_tool(tape: Tape) -> None:
    chunks = list(chat_model(tape).bind_tools(TOOLS, tool_choice="get_weather").stream(ONE_CITY))
    message = whole(chunks)
    assert [(call["id"], call["name"], call["args"]) for call in message.tool_calls] == calls_of(last(tape))
    assert message.tool_calls[0]["args"] == {"city": "Paris"}
    assert len([chunk for chunk in chunks if chunk.tool_call_chunks]) > 3
    assert tape.request["tool_choice"] == {"type": "function", "name": "get_weather"}


async def test_langchain_stream_parallel_async(tape: Tape) -> None:
    stream = chat_model(tape).bind_tools(TOOLS, tool_choice="any").astream(history())
    message = whole([chunk async for chunk in stream])
    assert [(call["id"], call["name"], call["args"]) for call in message.tool_calls] == calls_of(last(tape))
    assert [call["args"] for call in message.tool_calls] == [{"city": "Paris"}, {"city": "Oslo"}]


def test_langchain_structured_output(tape: Tape) -> None:
    assert chat_model(tape).with_structured_output(Weather).invoke("It is sunny in Paris.").city == "Paris"
    assert tape.request["text"]["format"]["type"] == "json_schema"


def refused(tape: Tape, **wrong: Any) -> LinkspanError:
    with pytest.raises(LinkspanError) as caught:
        chat_model(tape).invoke(FRANCE, **wrong)
    assert tape.body["error"]["message"] in str(caught.value)
    return caught.value


def test_langchain_unknown_model(tape: Tape) -> None:
    assert refused(tape, model="unknown").status_code == 404


def test_langchain_limit_beyond_the_window(tape: Tape) -> None:
    assert refused(tape, max_tokens=5000).status_code == 400


@reasons
def test_langchain_reasoning(tape: Tape) -> None:
    message = chat_model(tape).invoke(FRANCE)
    thought, spoken = tape.body["output"]
    assert message.additional_kwargs["reasoning_content"] == thought["content"][0]["text"] != ""
    assert message.text == spoken["content"][0]["text"] != ""
    counted = tape.body["usage"]["output_tokens_details"]["reasoning_tokens"]
    assert message.usage_metadata is not None
    assert message.usage_metadata["output_token_details"] == {"reasoning": counted}


@reasons
def test_langchain_reasoning_streamed_and_sent_back(tape: Tape) -> None:
    model = chat_model(tape, send_reasoning=True)
    message = whole(list(model.stream(FRANCE)))
    assert message.additional_kwargs["reasoning_content"].strip()
    again = model.invoke([("user", FRANCE), message, ("user", "Sure?")])
    sent = tape.requests[1]["input"]
    assert [item.get("type", item.get("role")) for item in sent] == ["user", "reasoning", "message", "user"]
    assert sent[1]["content"][0]["text"] == message.additional_kwargs["reasoning_content"]
    assert again.text or again.additional_kwargs["reasoning_content"]


# ---------------------------------------------------------------------- LlamaIndex


def test_llama_index_tools(tape: Tape) -> None:
    model = llm(tape)
    response = model.chat_with_tools(LLAMA_INDEX_TOOLS, user_msg=ONE_CITY, tool_required=True)
    (call,) = model.get_tool_calls_from_response(response)
    assert [(call.tool_id, call.tool_name, call.tool_kwargs)] == calls_of(tape.body)
    assert call.tool_kwargs == {"city": "Paris"}
    assert response.additional_kwargs["total_tokens"] == tape.body["usage"]["total_tokens"]


async def test_llama_index_stream_tools_async(tape: Tape) -> None:
    model = llm(tape)
    stream = await model.astream_chat_with_tools(LLAMA_INDEX_TOOLS, user_msg=ONE_CITY, tool_required=True)
    chunks = [chunk async for chunk in stream]
    (call,) = model.get_tool_calls_from_response(chunks[-1])
    assert [(call.tool_id, call.tool_name, call.tool_kwargs)] == calls_of(last(tape))
    assert len(chunks) > 3


def test_llama_index_structured_output(tape: Tape) -> None:
    found = llm(tape).structured_predict(Weather, PromptTemplate("{said}"), said="It is sunny in Paris.")
    assert isinstance(found, Weather)
    assert found.city == "Paris"


@reasons
def test_llama_index_reasoning_streamed(tape: Tape) -> None:
    chunks = list(llm(tape).stream_chat([ChatMessage(FRANCE)]))
    thought = next(block for block in chunks[-1].message.blocks if isinstance(block, ThinkingBlock))
    assert thought.content == said(tape, "reasoning_text")
    assert chunks[-1].message.content == said(tape, "output_text")
