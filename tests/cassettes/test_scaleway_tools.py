"""Tool calls by both frameworks over recordings of vLLM: required, named, several at once, and results sent back."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Literal

import pytest
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_tests.utils.stream_lifecycle import assert_valid_event_stream
from llama_index.core.llms import ChatMessage
from llama_index.core.llms.llm import ToolSelection
from llama_index.core.tools import FunctionTool
from pydantic import BaseModel

from tests.cassettes.constructors import chat_model, llm

if TYPE_CHECKING:
    from langchain_core.messages import AIMessageChunk, BaseMessage
    from llama_index.core.llms import ChatResponse

    from tests.cassettes.tape import Tape

pytestmark = pytest.mark.recorded_from("vllm-chat")

City = Literal["Paris", "Oslo", "Rome", "Berlin"]
ONE_CITY = "What is the weather in Paris?"
TWO_CITIES = "What is the weather in Paris and in Oslo?"


@tool
def get_weather(city: City) -> str:
    """Tell the weather in a city."""
    return {"Paris": "sunny", "Oslo": "snow"}.get(city, "rain")


@tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


TOOLS = [get_weather, add]


def weather_of(city: City) -> str:
    """Tell the weather in a city."""
    return {"Paris": "sunny", "Oslo": "snow"}.get(city, "rain")


def sum_of(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


class WeatherOf(BaseModel):
    city: City


class SumOf(BaseModel):
    a: int
    b: int


LLAMA_INDEX_TOOLS = [
    FunctionTool.from_defaults(weather_of, fn_schema=WeatherOf),
    FunctionTool.from_defaults(sum_of, fn_schema=SumOf),
]


class Weather(BaseModel):
    """The weather in a city."""

    city: City
    sky: Literal["sunny", "rain", "snow"]


def history() -> list[BaseMessage]:
    """A turn in which two tools were called at once: it shows so small a model how, and is sent as history."""
    calls = [
        {"name": "get_weather", "args": {"city": "Rome"}, "id": "rome"},
        {"name": "get_weather", "args": {"city": "Berlin"}, "id": "berlin"},
    ]
    return [
        HumanMessage("What is the weather in Rome and in Berlin?"),
        AIMessage("", tool_calls=calls),
        ToolMessage("sunny", tool_call_id="rome"),
        ToolMessage("rain", tool_call_id="berlin"),
        AIMessage("It is sunny in Rome, and it rains in Berlin."),
        HumanMessage(TWO_CITIES),
    ]


def llama_index_history() -> list[ChatMessage]:
    calls = [
        {"id": name, "type": "function", "function": {"name": "weather_of", "arguments": json.dumps({"city": city})}}
        for name, city in (("rome", "Rome"), ("berlin", "Berlin"))
    ]
    return [
        ChatMessage(content="What is the weather in Rome and in Berlin?"),
        ChatMessage(role="assistant", content=None, additional_kwargs={"tool_calls": calls}),
        ChatMessage(role="tool", content="sunny", additional_kwargs={"tool_call_id": "rome"}),
        ChatMessage(role="tool", content="rain", additional_kwargs={"tool_call_id": "berlin"}),
        ChatMessage(role="assistant", content="It is sunny in Rome, and it rains in Berlin."),
    ]


def wire_calls(message: dict[str, Any]) -> list[dict[str, Any]]:
    """The calls of an answer's message as LangChain words them."""
    return [
        {
            "name": call["function"]["name"],
            "args": json.loads(call["function"]["arguments"]),
            "id": call["id"],
            "type": "tool_call",
        }
        for call in message["tool_calls"]
    ]


def check_message(message: AIMessage, tape: Tape) -> None:
    (choice,) = tape.body["choices"]
    assert message.tool_calls == wire_calls(choice["message"])
    assert message.invalid_tool_calls == []
    assert message.response_metadata["finish_reason"] == choice["finish_reason"]
    assert message.usage_metadata is not None
    assert message.usage_metadata["total_tokens"] == tape.body["usage"]["total_tokens"]


def check_chunks(chunks: list[AIMessageChunk], tape: Tape) -> AIMessageChunk:
    whole = sum(chunks[1:], chunks[0])
    found = [(call["id"], call["name"], call["args"]) for call in whole.tool_calls]
    assert found == tape.streamed_calls
    assert whole.invalid_tool_calls == []
    assert len([chunk for chunk in chunks if chunk.tool_call_chunks]) > 3
    assert whole.response_metadata["finish_reason"] == tape.streamed_finish_reason
    assert whole.usage_metadata is not None
    assert whole.usage_metadata["total_tokens"] == tape.streamed_usage["total_tokens"]
    return whole


# ---------------------------------------------------------------------- LangChain


def test_langchain_required(tape: Tape) -> None:
    message = chat_model(tape).bind_tools(TOOLS, tool_choice="any").invoke(ONE_CITY)
    check_message(message, tape)
    assert [(call["name"], call["args"]) for call in message.tool_calls] == [("get_weather", {"city": "Paris"})]
    assert tape.request["tool_choice"] == "required"


async def test_langchain_required_async(tape: Tape) -> None:
    message = await chat_model(tape).bind_tools(TOOLS, tool_choice="any").ainvoke(ONE_CITY)
    check_message(message, tape)
    assert [(call["name"], call["args"]) for call in message.tool_calls] == [("get_weather", {"city": "Paris"})]


def test_langchain_named(tape: Tape) -> None:
    message = chat_model(tape).bind_tools(TOOLS, tool_choice="add").invoke("Add 2 and 3.")
    check_message(message, tape)
    assert [call["name"] for call in message.tool_calls] == ["add"]
    assert all(isinstance(number, int) for number in message.tool_calls[0]["args"].values())
    assert tape.request["tool_choice"] == {"type": "function", "function": {"name": "add"}}


def test_langchain_not_called(tape: Tape) -> None:
    message = chat_model(tape, max_tokens=16).bind_tools(TOOLS, tool_choice="none").invoke("Say hello.")
    assert message.tool_calls == []
    assert message.text == tape.body["choices"][0]["message"]["content"] != ""
    assert tape.request["tool_choice"] == "none"


def test_langchain_parallel(tape: Tape) -> None:
    message = chat_model(tape).bind_tools(TOOLS, tool_choice="any").invoke(history())
    check_message(message, tape)
    assert [call["args"] for call in message.tool_calls] == [{"city": "Paris"}, {"city": "Oslo"}]
    assert len({call["id"] for call in message.tool_calls}) == 2
    sent = tape.request["messages"]
    assert [call["id"] for call in sent[1]["tool_calls"]] == ["rome", "berlin"]
    assert sent[1].get("content") is None
    assert [result["tool_call_id"] for result in sent[2:4]] == ["rome", "berlin"]


def test_langchain_stream_required(tape: Tape) -> None:
    whole = check_chunks(list(chat_model(tape).bind_tools(TOOLS, tool_choice="any").stream(ONE_CITY)), tape)
    assert [(call["name"], call["args"]) for call in whole.tool_calls] == [("get_weather", {"city": "Paris"})]


def test_langchain_stream_named(tape: Tape) -> None:
    whole = check_chunks(list(chat_model(tape).bind_tools(TOOLS, tool_choice="add").stream("Add 2 and 3.")), tape)
    assert [call["name"] for call in whole.tool_calls] == ["add"]


async def test_langchain_stream_parallel_async(tape: Tape) -> None:
    stream = chat_model(tape).bind_tools(TOOLS, tool_choice="any").astream(history())
    whole = check_chunks([chunk async for chunk in stream], tape)
    assert [call["args"] for call in whole.tool_calls] == [{"city": "Paris"}, {"city": "Oslo"}]


def test_langchain_v3_events_parallel(tape: Tape) -> None:
    events = list(chat_model(tape).bind_tools(TOOLS, tool_choice="any").stream_events(history(), version="v3"))
    assert_valid_event_stream(events)
    finished = [event["content"] for event in events if event["event"] == "content-block-finish"]
    calls = [(block["id"], block["name"], block["args"]) for block in finished if block["type"] == "tool_call"]
    assert calls == tape.streamed_calls
    assert len(calls) == 2


def test_langchain_results_sent_back(tape: Tape) -> None:
    """The ids that the server made are new with every recording: replaying must not depend on them."""
    model = chat_model(tape)
    asked: list[BaseMessage] = history()
    called = model.bind_tools(TOOLS, tool_choice="any").invoke(asked)
    results = [get_weather.invoke(call) for call in called.tool_calls]
    answer = model.bind_tools(TOOLS, tool_choice="none").invoke([*asked, called, *results])
    first, second = tape.bodies
    made = [call["id"] for call in first["choices"][0]["message"]["tool_calls"]]
    assert [message["tool_call_id"] for message in tape.requests[1]["messages"][-2:]] == made
    assert [message["content"] for message in tape.requests[1]["messages"][-2:]] == ["sunny", "snow"]
    assert answer.text == second["choices"][0]["message"]["content"] != ""
    assert answer.tool_calls == []


def test_langchain_structured_output_by_a_function(tape: Tape) -> None:
    structured = chat_model(tape).with_structured_output(Weather, method="function_calling", include_raw=True)
    answer = structured.invoke("It is sunny in Paris.")
    assert answer["parsing_error"] is None
    (call,) = wire_calls(tape.body["choices"][0]["message"])
    assert answer["parsed"] == Weather(**call["args"])
    assert answer["parsed"].city == "Paris"


# ---------------------------------------------------------------------- LlamaIndex


def wire_selections(message: dict[str, Any]) -> list[ToolSelection]:
    return [
        ToolSelection(tool_id=call["id"], tool_name=call["name"], tool_kwargs=call["args"])
        for call in wire_calls(message)
    ]


def test_llama_index_required(tape: Tape) -> None:
    model = llm(tape)
    response = model.chat_with_tools(LLAMA_INDEX_TOOLS, user_msg=ONE_CITY, tool_required=True)
    selections = model.get_tool_calls_from_response(response)
    assert selections == wire_selections(tape.body["choices"][0]["message"])
    assert [(call.tool_name, call.tool_kwargs) for call in selections] == [("weather_of", {"city": "Paris"})]
    assert response.additional_kwargs["finish_reason"] == tape.body["choices"][0]["finish_reason"]
    assert tape.request["tool_choice"] == "required"


async def test_llama_index_named_async(tape: Tape) -> None:
    model = llm(tape)
    response = await model.achat_with_tools(LLAMA_INDEX_TOOLS, user_msg="Add 2 and 3.", tool_choice="sum_of")
    selections = model.get_tool_calls_from_response(response)
    assert selections == wire_selections(tape.body["choices"][0]["message"])
    assert [call.tool_name for call in selections] == ["sum_of"]


def test_llama_index_parallel(tape: Tape) -> None:
    model = llm(tape)
    response = model.chat_with_tools(
        LLAMA_INDEX_TOOLS,
        user_msg=TWO_CITIES,
        chat_history=llama_index_history(),
        tool_required=True,
        allow_parallel_tool_calls=True,
    )
    selections = model.get_tool_calls_from_response(response)
    assert selections == wire_selections(tape.body["choices"][0]["message"])
    assert [call.tool_kwargs for call in selections] == [{"city": "Paris"}, {"city": "Oslo"}]


def test_llama_index_one_of_parallel(tape: Tape) -> None:
    """Who does not allow several calls gets the first, though the model made two."""
    model = llm(tape)
    response = model.chat_with_tools(
        LLAMA_INDEX_TOOLS, user_msg=TWO_CITIES, chat_history=llama_index_history(), tool_required=True
    )
    made = wire_selections(tape.body["choices"][0]["message"])
    assert len(made) == 2
    assert model.get_tool_calls_from_response(response) == made[:1]


def check_llama_index_stream(chunks: list[ChatResponse], tape: Tape) -> list[ToolSelection]:
    model = llm(tape)
    assert len(chunks) > 3
    for chunk in chunks:
        # Half-written arguments never raise.
        model.get_tool_calls_from_response(chunk, error_on_no_tool_call=False)
    selections = model.get_tool_calls_from_response(chunks[-1])
    assert [(call.tool_id, call.tool_name, call.tool_kwargs) for call in selections] == tape.streamed_calls
    assert chunks[-1].additional_kwargs["finish_reason"] == tape.streamed_finish_reason
    assert chunks[-1].additional_kwargs["total_tokens"] == tape.streamed_usage["total_tokens"]
    return selections


def test_llama_index_stream_required(tape: Tape) -> None:
    stream = llm(tape).stream_chat_with_tools(LLAMA_INDEX_TOOLS, user_msg=ONE_CITY, tool_required=True)
    (call,) = check_llama_index_stream(list(stream), tape)
    assert call.tool_kwargs == {"city": "Paris"}


async def test_llama_index_stream_parallel_async(tape: Tape) -> None:
    stream = await llm(tape).astream_chat_with_tools(
        LLAMA_INDEX_TOOLS,
        user_msg=TWO_CITIES,
        chat_history=llama_index_history(),
        tool_required=True,
        allow_parallel_tool_calls=True,
    )
    selections = check_llama_index_stream([chunk async for chunk in stream], tape)
    assert [call.tool_kwargs for call in selections] == [{"city": "Paris"}, {"city": "Oslo"}]


def test_llama_index_predict_and_call(tape: Tape) -> None:
    response = llm(tape).predict_and_call(LLAMA_INDEX_TOOLS, user_msg=ONE_CITY, tool_required=True)
    (call,) = wire_calls(tape.body["choices"][0]["message"])
    assert response.response == weather_of(call["args"]["city"]) == "sunny"
