"""Agents of both frameworks on cassettes: calls at once, streamed, handed off, and an answer of a shape.

The model is a script (``agent_script.py``), for no small one calls tools unless it has to. The requests are the
frameworks' and ours; what the script says is only what any model that knows tools would.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessageChunk, ToolMessage
from langchain_core.tools import tool
from llama_index.core.agent.workflow import AgentOutput, AgentStream, AgentWorkflow, FunctionAgent, ToolCallResult
from pydantic import BaseModel

from tests.agents.conftest import NEEDS_TASK_CONTEXT
from tests.agents.wire import assert_well_formed, calls_of, results_of
from tests.cassettes.constructors import chat_model, llm

if TYPE_CHECKING:
    from tests.cassettes.tape import Tape

pytestmark = pytest.mark.recorded_from("scripted-agents-scaleway")

ASKED = "When does the ferry to Ostra leave, and what does a car with two seats cost?"
QUESTION: Any = {"messages": [("human", ASKED)]}
RESULTS = ["Ostra: 09:00", "car: 31.0 euros"]
ANSWER = "At nine, for 31 euros."


@tool("departures")
def departures_tool(port: str) -> str:
    """Tell the departures to a port."""
    return f"{port}: 09:00"


@tool("fare")
def fare_tool(vehicle: str, seats: int) -> str:
    """Tell the price of a crossing."""
    return f"{vehicle}: {15.5 * seats} euros"


TOOLS = [departures_tool, fare_tool]


# Coroutines, so that LlamaIndex runs them in their order and not in threads.
async def departures(port: str) -> str:
    """Tell the departures to a port."""
    return f"{port}: 09:00"


async def fare(vehicle: str, seats: int) -> str:
    """Tell the price of a crossing."""
    return f"{vehicle}: {15.5 * seats} euros"


class Trip(BaseModel):
    """A crossing."""

    departure: str
    euros: float


TRIP = Trip(departure="09:00", euros=31)


def check_wire(tape: Tape, requests: int = 2) -> list[dict[str, Any]]:
    """Compare the conversation with what both tools said, and return the last request's messages."""
    assert tape.routes == ["completions"] * requests
    for request in tape.requests:
        assert_well_formed(request["messages"])
    messages: list[dict[str, Any]] = tape.requests[1]["messages"]
    turn = next(message for message in messages if message.get("tool_calls"))
    assert [(name, arguments) for _, name, arguments in calls_of(turn)] == [
        ("departures", '{"port": "Ostra"}'),
        ("fare", '{"vehicle": "car", "seats": 2}'),
    ]
    assert turn["content"] == "Both, then."
    results = results_of(messages)
    assert [results[identity] for identity, _, _ in calls_of(turn)] == RESULTS
    return list(tape.requests[-1]["messages"])


# ---------------------------------------------------------------------- LangChain's create_agent


def check_state(state: dict[str, Any], tape: Tape) -> None:
    assert [message.type for message in state["messages"]] == ["human", "ai", "tool", "tool", "ai"]
    assert state["messages"][-1].text == ANSWER
    said = [body["usage"]["total_tokens"] for body in tape.bodies]
    assert [message.usage_metadata["total_tokens"] for message in state["messages"][1::3]] == said
    check_wire(tape)


def test_langchain_invoke(tape: Tape) -> None:
    check_state(create_agent(chat_model(tape), TOOLS, system_prompt="Be brief.").invoke(QUESTION), tape)
    assert tape.requests[0]["messages"][0] == {"role": "system", "content": "Be brief."}
    assert [offered["function"]["name"] for offered in tape.requests[0]["tools"]] == ["departures", "fare"]


async def test_langchain_ainvoke(tape: Tape) -> None:
    check_state(await create_agent(chat_model(tape), TOOLS).ainvoke(QUESTION), tape)


def check_streamed(events: list[Any], tape: Tape) -> None:
    """Added up, the chunks are the two turns."""
    turns: dict[str, AIMessageChunk] = {}
    for message, _ in events:
        if isinstance(message, AIMessageChunk):
            assert message.id is not None
            turns[message.id] = turns[message.id] + message if message.id in turns else message
    asked, answered = turns.values()
    assert (asked.text, answered.text) == ("Both, then.", ANSWER)
    assert [call["args"] for call in asked.tool_calls] == [{"port": "Ostra"}, {"vehicle": "car", "seats": 2}]
    assert len([message for message, _ in events if isinstance(message, AIMessageChunk) and message.text]) > 5
    assert sorted(message.text for message, _ in events if isinstance(message, ToolMessage)) == sorted(RESULTS)
    assert all(request["stream"] is True for request in tape.requests)
    check_wire(tape)


def test_langchain_stream(tape: Tape) -> None:
    check_streamed(list(create_agent(chat_model(tape), TOOLS).stream(QUESTION, stream_mode="messages")), tape)


@NEEDS_TASK_CONTEXT
async def test_langchain_astream(tape: Tape) -> None:
    agent = create_agent(chat_model(tape), TOOLS)
    check_streamed([event async for event in agent.astream(QUESTION, stream_mode="messages")], tape)


def test_langchain_object(tape: Tape) -> None:
    """The final answer is a call of a tool that is the object's class."""
    state = create_agent(chat_model(tape), TOOLS, response_format=Trip).invoke(QUESTION)
    assert state["structured_response"] == TRIP
    check_wire(tape)
    for request in tape.requests:
        assert [offered["function"]["name"] for offered in request["tools"]] == ["departures", "fare", "Trip"]
        assert "response_format" not in request


async def test_langchain_object_streamed(tape: Tape) -> None:
    agent = create_agent(chat_model(tape), TOOLS, response_format=Trip)
    states = [state async for state in agent.astream(QUESTION, stream_mode="values")]
    assert states[-1]["structured_response"] == TRIP
    check_wire(tape)


# ---------------------------------------------------------------------- LlamaIndex's agents


async def run(runner: Any) -> tuple[Any, list[Any]]:
    handler = runner.run(ASKED)
    events = [event async for event in handler.stream_events()]
    return await handler, events


def of(kind: type, events: list[Any]) -> list[Any]:
    return [event for event in events if isinstance(event, kind)]


async def test_llama_index_stream(tape: Tape) -> None:
    result, events = await run(FunctionAgent(tools=[departures, fare], llm=llm(tape)))
    check_results(result, events, tape)
    steps = of(AgentStream, events)
    assert "".join(step.delta for step in steps) == f"Both, then.{ANSWER}"
    assert len(steps) > 10
    whole = [step for step in steps if step.tool_calls][-1]
    assert [call.tool_kwargs for call in whole.tool_calls] == [{"port": "Ostra"}, {"vehicle": "car", "seats": 2}]
    assert all(request["stream"] is True for request in tape.requests)


async def test_llama_index_whole(tape: Tape) -> None:
    result, events = await run(FunctionAgent(tools=[departures, fare], llm=llm(tape), streaming=False))
    check_results(result, events, tape)
    assert not any("stream" in request for request in tape.requests)


def check_results(result: Any, events: list[Any], tape: Tape) -> None:
    assert str(result) == ANSWER
    assert [event.tool_output.content for event in of(ToolCallResult, events)] == RESULTS
    check_wire(tape)


async def test_llama_index_object(tape: Tape) -> None:
    """The object is asked for by its schema, once the tools have spoken."""
    result, _ = await run(FunctionAgent(tools=[departures, fare], llm=llm(tape), output_cls=Trip))
    assert result.get_pydantic_model(Trip) == TRIP
    check_wire(tape, requests=3)
    *steps, final = tape.requests
    assert all("response_format" not in request for request in steps)
    assert final["response_format"]["json_schema"]["name"] == "Trip"
    assert "tools" not in final


async def test_llama_index_workflow(tape: Tape) -> None:
    """The clerk hands off to the cashier, who reads the question and the hand-off as an answered call."""
    model = llm(tape)
    about: Any = {"llm": model, "streaming": True}
    clerk = FunctionAgent(
        name="clerk", description="Knows when.", system_prompt="You are the clerk.", tools=[departures], **about
    )
    cashier = FunctionAgent(
        name="cashier",
        description="Knows the prices.",
        system_prompt="You are the cashier.",
        tools=[fare],
        can_handoff_to=[],
        **about,
    )
    result, events = await run(AgentWorkflow(agents=[clerk, cashier], root_agent="clerk"))
    assert str(result) == ANSWER
    assert [event.current_agent_name for event in of(AgentOutput, events)] == ["clerk", "cashier", "cashier"]
    assert [event.tool_name for event in of(ToolCallResult, events)] == ["handoff", "fare"]
    first, second, third = tape.requests
    assert [offered["function"]["name"] for offered in first["tools"]] == ["departures", "handoff"]
    assert [offered["function"]["name"] for offered in second["tools"]] == ["fare"]
    assert [message["role"] for message in second["messages"]] == ["system", "user", "assistant", "tool"]
    assert second["messages"][1]["content"] == ASKED
    assert_well_formed(third["messages"])
    assert "car: 31.0 euros" in results_of(third["messages"]).values()
