"""An agent whose final answer is an object: by the server's schema, and by a tool, whole and streamed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from langchain.agents import create_agent
from langchain.agents.structured_output import ProviderStrategy, StructuredOutputValidationError, ToolStrategy
from langchain_core.messages import AIMessageChunk
from langchain_core.tools import tool
from pydantic import BaseModel
from typing_extensions import TypedDict

from linkspan.conversation import ToolCall
from linkspan_sandbox import Reply, Sandbox
from tests.agents.conftest import NEEDS_TASK_CONTEXT
from tests.agents.wire import calls_of, chat_bodies, results_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from linkspan.langchain import ChatScaleway

WAYS = ["invoke", "ainvoke", "stream", "astream"]
QUESTION = {"messages": "When does the ferry to Ostra leave, and what does a car cost?"}
CALLS = [ToolCall("c1", "departures", '{"port": "Ostra"}'), ToolCall("c2", "fare", '{"vehicle": "car"}')]
TRIP = '{"departure": "09:00", "euros": 31}'


class Trip(BaseModel):
    """A crossing."""

    departure: str
    euros: float


@dataclass
class TripRecord:
    """A crossing."""

    departure: str
    euros: float


class TripDict(TypedDict):
    """A crossing."""

    departure: str
    euros: float


SCHEMAS: list[tuple[Any, Any]] = [
    (Trip, Trip(departure="09:00", euros=31)),
    (TripRecord, TripRecord("09:00", 31)),
    (TripDict, {"departure": "09:00", "euros": 31}),
    (Trip.model_json_schema(), {"departure": "09:00", "euros": 31}),
]


@tool
def departures(port: str) -> str:
    """The departures to a port."""
    return f"{port}: 09:00"


@tool
def fare(vehicle: str) -> str:
    """The price of a crossing."""
    return f"{vehicle}: 31 euros"


TOOLS = [departures, fare]


async def structured(agent: Any, way: str) -> Any:
    if way == "invoke":
        state = agent.invoke(QUESTION)
    elif way == "ainvoke":
        state = await agent.ainvoke(QUESTION)
    elif way == "stream":
        state = list(agent.stream(QUESTION, stream_mode="values"))[-1]
    else:
        state = [state async for state in agent.astream(QUESTION, stream_mode="values")][-1]
    return state["structured_response"]


def script_by_schema(sandbox: Sandbox) -> None:
    sandbox.add_rule(Reply(tool_calls=CALLS), role="user")
    sandbox.add_rule(TRIP, role="tool")


def script_by_tool(sandbox: Sandbox, *answers: str) -> None:
    sandbox.add_rule(Reply(tool_calls=CALLS), role="user")
    for number, answer in enumerate(answers):
        sandbox.add_rule(Reply(tool_calls=[ToolCall(f"t{number}", "Trip", answer)]), role="tool", times=1)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("schema", "expected"), SCHEMAS)
async def test_a_profile_of_ones_own_leaves_a_plain_schema_to_the_server(
    make_chat: Callable[..., ChatScaleway], sandbox: Sandbox, way: str, schema: Any, expected: Any
) -> None:
    chat = make_chat(profile={"structured_output": True})
    script_by_schema(sandbox)
    assert await structured(create_agent(chat, TOOLS, response_format=schema), way) == expected
    for body in chat_bodies(sandbox):
        sent = body["response_format"]["json_schema"]
        assert sent["name"] == (schema["title"] if isinstance(schema, dict) else schema.__name__)
        assert sent["schema"]["required"] == ["departure", "euros"]
        assert "strict" not in sent
        assert [offered["function"]["name"] for offered in body["tools"]] == ["departures", "fare"]
        assert "tool_choice" not in body


@pytest.mark.parametrize("way", WAYS)
async def test_provider_strategy(chat: ChatScaleway, sandbox: Sandbox, way: str) -> None:
    script_by_schema(sandbox)
    agent = create_agent(chat, TOOLS, response_format=ProviderStrategy(Trip, strict=True))
    assert await structured(agent, way) == Trip(departure="09:00", euros=31)
    body = chat_bodies(sandbox)[-1]
    assert body["response_format"]["json_schema"]["strict"] is True
    # Strictness of the answer is not strictness of the tools.
    assert all("strict" not in offered["function"] for offered in body["tools"])


async def test_provider_strategy_without_tools(chat: ChatScaleway, sandbox: Sandbox) -> None:
    sandbox.add_rule(TRIP)
    agent = create_agent(chat, response_format=ProviderStrategy(Trip))
    assert await structured(agent, "astream") == Trip(departure="09:00", euros=31)
    (body,) = chat_bodies(sandbox)
    assert "tools" not in body
    assert body["response_format"]["json_schema"]["name"] == "Trip"


async def test_an_answer_that_is_no_such_object_is_an_error(chat: ChatScaleway, sandbox: Sandbox) -> None:
    sandbox.add_rule("At nine, for 31 euros.")
    with pytest.raises(StructuredOutputValidationError, match="Trip"):
        await create_agent(chat, TOOLS, response_format=ProviderStrategy(Trip)).ainvoke(QUESTION)


@pytest.mark.parametrize("way", WAYS)
async def test_tool_strategy(chat: ChatScaleway, sandbox: Sandbox, way: str) -> None:
    script_by_tool(sandbox, TRIP)
    agent = create_agent(chat, TOOLS, response_format=ToolStrategy(Trip))
    assert await structured(agent, way) == Trip(departure="09:00", euros=31)
    for body in chat_bodies(sandbox):
        assert [offered["function"]["name"] for offered in body["tools"]] == ["departures", "fare", "Trip"]
        assert body["tool_choice"] == "required"
        assert "response_format" not in body


@pytest.mark.parametrize("way", WAYS)
async def test_tool_strategy_lets_the_model_correct_itself(chat: ChatScaleway, sandbox: Sandbox, way: str) -> None:
    script_by_tool(sandbox, '{"departure": "09:00", "euros": "cheap"}', TRIP)
    agent = create_agent(chat, TOOLS, response_format=ToolStrategy(Trip))
    assert await structured(agent, way) == Trip(departure="09:00", euros=31)
    messages = chat_bodies(sandbox)[-1]["messages"]
    assert messages[-2]["content"] is None
    assert calls_of(messages[-2])[0][:2] == ("t0", "Trip")
    assert "euros" in results_of(messages)["t0"]


@pytest.mark.parametrize("way", WAYS)
async def test_a_plain_schema_is_asked_for_as_a_tool(chat: ChatScaleway, sandbox: Sandbox, way: str) -> None:
    script_by_tool(sandbox, TRIP)
    agent = create_agent(chat, TOOLS, response_format=Trip)
    assert await structured(agent, way) == Trip(departure="09:00", euros=31)
    for body in chat_bodies(sandbox):
        assert body["tool_choice"] == "required"
        assert "response_format" not in body


@NEEDS_TASK_CONTEXT
async def test_the_object_is_streamed_as_it_is_written(chat: ChatScaleway, sandbox: Sandbox) -> None:
    script_by_schema(sandbox)
    agent = create_agent(chat, TOOLS, response_format=ProviderStrategy(Trip))
    text, trip = "", None
    async for mode, event in agent.astream(QUESTION, stream_mode=["messages", "updates"]):
        if mode == "messages" and isinstance(event[0], AIMessageChunk):
            text += event[0].text
        elif mode == "updates" and "model" in event:
            trip = event["model"].get("structured_response", trip)
    assert text == TRIP
    assert trip == Trip(departure="09:00", euros=31)
