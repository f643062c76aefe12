"""LlamaIndex agents over Scaleway: streamed parallel calls, failing tools, memory, objects, and hand-offs."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

import pytest
from llama_index.core.agent.workflow import (
    AgentOutput,
    AgentStream,
    AgentStreamStructuredOutput,
    AgentWorkflow,
    FunctionAgent,
    ToolCallResult,
)
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.memory import ChatMemoryBuffer
from llama_index.core.tools import FunctionTool
from llama_index.core.workflow import Context
from pydantic import BaseModel

from linkspan.conversation import ToolCall
from linkspan.errors import AuthenticationError, InterruptedStreamError
from linkspan_sandbox import Call, EndEarly, HTTPError, Reply, Sandbox, Stall
from tests.agents.wire import calls_of, chat_bodies, results_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from linkspan.llama_index import Scaleway

QUESTION = "When does the ferry to Ostra leave, and what does a car cost?"
CALLS = [ToolCall("c1", "departures", '{"port": "Ostra"}'), ToolCall("c2", "fare", '{"vehicle": "car", "seats": 2}')]
ANSWER = ["At nine,", " for 31", " euros."]
BOTH_WAYS = pytest.mark.parametrize("streaming", [True, False])


def departures(port: str) -> str:
    """The departures to a port."""
    return f"{port}: 09:00"


def fare(vehicle: str, seats: int) -> str:
    """The price of a crossing."""
    if vehicle == "tank":
        raise ValueError("no tanks on board")
    return f"{vehicle}: {15.5 * seats} euros"


def agent(llm: Scaleway, **options: Any) -> FunctionAgent:
    return FunctionAgent(**{"tools": [departures, fare], "llm": llm, **options})


async def run(runner: Any, question: str = QUESTION, **options: Any) -> tuple[Any, list[Any]]:
    handler = runner.run(question, **options)
    events = [event async for event in handler.stream_events()]
    return await handler, events


def of(kind: type, events: list[Any]) -> list[Any]:
    return [event for event in events if isinstance(event, kind)]


# --------------------------------------------------------------------------- one agent


async def test_parallel_calls_are_streamed(llm: Scaleway, sandbox: Sandbox) -> None:
    sandbox.add_rule(Reply("Let me look.", reasoning=["Two", " things."], tool_calls=CALLS), role="user")
    sandbox.add_rule(Reply(ANSWER), role="tool")
    result, events = await run(agent(llm))
    assert str(result) == "At nine, for 31 euros."
    steps = of(AgentStream, events)
    assert "".join(step.thinking_delta or "" for step in steps) == "Two things."
    assert "".join(step.delta for step in steps) == "Let me look.At nine, for 31 euros."
    assert [step.delta for step in steps if step.response.startswith("At") and step.delta] == ANSWER

    # While they are written, calls only grow; the second comes behind the first.
    growing = [[call.tool_id for call in step.tool_calls] for step in steps if step.tool_calls]
    assert growing == sorted(growing)
    assert growing[0] == ["c1"]
    assert growing[-1] == ["c1", "c2"]
    whole = [step for step in steps if step.tool_calls][-1]
    assert [call.tool_kwargs for call in whole.tool_calls] == [{"port": "Ostra"}, {"vehicle": "car", "seats": 2}]

    asked, answered = chat_bodies(sandbox)
    assert asked["stream"] is answered["stream"] is True
    assert [offered["function"]["name"] for offered in asked["tools"]] == ["departures", "fare"]
    turn = answered["messages"][1]
    assert turn.keys() == {"role", "content", "tool_calls"}
    assert turn["content"] == "Let me look."
    assert calls_of(turn) == [(call.id, call.name, call.arguments) for call in CALLS]
    assert results_of(answered["messages"]) == {"c1": "Ostra: 09:00", "c2": "car: 31.0 euros"}


@BOTH_WAYS
async def test_no_content_beside_calls_is_null(llm: Scaleway, sandbox: Sandbox, streaming: bool) -> None:
    sandbox.add_rule(Reply(tool_calls=CALLS), role="user")
    sandbox.add_rule(Reply(ANSWER), role="tool")
    await run(agent(llm, streaming=streaming))
    assert chat_bodies(sandbox)[1]["messages"][1]["content"] is None


async def test_parallel_calls_run_side_by_side(llm: Scaleway, sandbox: Sandbox) -> None:
    there = {"Ada": asyncio.Event(), "Bo": asyncio.Event()}

    async def meet(name: str) -> str:
        """Wait for both."""
        there[name].set()
        await asyncio.wait_for(asyncio.gather(*(event.wait() for event in there.values())), 60)
        return f"{name} was here"

    calls = [ToolCall("a", "meet", '{"name": "Ada"}'), ToolCall("b", "meet", '{"name": "Bo"}')]
    sandbox.add_rule(Reply(tool_calls=calls), role="user")
    sandbox.add_rule("They met.", role="tool")
    result, _ = await run(agent(llm, tools=[meet]))
    assert str(result) == "They met."
    assert results_of(chat_bodies(sandbox)[1]["messages"]) == {"a": "Ada was here", "b": "Bo was here"}


@BOTH_WAYS
async def test_one_call_at_a_time_if_so_wanted(llm: Scaleway, sandbox: Sandbox, streaming: bool) -> None:
    sandbox.add_rule(Reply(tool_calls=CALLS), role="user")
    sandbox.add_rule(Reply(ANSWER), role="tool")
    await run(agent(llm, streaming=streaming, allow_parallel_tool_calls=False))
    messages = chat_bodies(sandbox)[1]["messages"]
    assert [call_id for call_id, _, _ in calls_of(messages[1])] == ["c1"]
    assert results_of(messages) == {"c1": "Ostra: 09:00"}


def test_a_stream_of_one_call_is_closed_early(llm: Scaleway, sandbox: Sandbox) -> None:
    sandbox.add_rule(Reply(tool_calls=CALLS, pause=0.01, fault=Stall(after=5)))
    tools = [FunctionTool.from_defaults(departures), FunctionTool.from_defaults(fare)]
    seen = []
    with contextlib.closing(llm.stream_chat_with_tools(tools, QUESTION)) as chunks:
        for chunk in chunks:
            seen += [call.tool_id for call in llm.get_tool_calls_from_response(chunk)]
            if len(seen) == 4:
                break
    assert seen == ["c1"] * 4
    (request,) = sandbox.requests
    assert request.wait_finished()
    assert request.client_left


@BOTH_WAYS
async def test_failing_and_unknown_tools_go_back_to_the_model(llm: Scaleway, sandbox: Sandbox, streaming: bool) -> None:
    calls = [
        ToolCall("fails", "fare", '{"vehicle": "tank", "seats": 2}'),
        ToolCall("unknown", "timetable", "{}"),
        ToolCall("incomplete", "fare", '{"vehicle": "car"}'),
        CALLS[0],
    ]
    sandbox.add_rule(Reply(tool_calls=calls), role="user")
    sandbox.add_rule("No tanks.", role="tool")
    result, events = await run(agent(llm, streaming=streaming))
    assert str(result) == "No tanks."
    failed = {event.tool_id: event.tool_output.is_error for event in of(ToolCallResult, events)}
    assert failed == {"fails": True, "unknown": True, "incomplete": True, "c1": False}
    results = results_of(chat_bodies(sandbox)[1]["messages"])
    assert results["fails"] == "no tanks on board"
    assert "timetable not found" in results["unknown"]
    assert "seats" in results["incomplete"]
    assert results["c1"] == "Ostra: 09:00"


async def test_the_first_call_can_be_forced(llm: Scaleway, sandbox: Sandbox) -> None:
    sandbox.add_rule("At nine.", role="tool")
    result, _ = await run(agent(llm, initial_tool_choice="departures"))
    assert str(result) == "At nine."
    first, second = chat_bodies(sandbox)
    assert first["tool_choice"] == {"type": "function", "function": {"name": "departures"}}
    assert "tool_choice" not in second


@BOTH_WAYS
async def test_a_conversation_goes_on_also_after_a_restart(llm: Scaleway, sandbox: Sandbox, streaming: bool) -> None:
    sandbox.add_rule(Reply(reasoning="Hm.", tool_calls=CALLS), role="user", when=QUESTION)
    sandbox.add_rule(Reply(ANSWER), role="tool")
    sandbox.add_rule("At noon.", role="user")
    memory = ChatMemoryBuffer.from_defaults(llm=llm)
    await run(agent(llm, streaming=streaming), memory=memory)
    saved = [message.model_dump_json() for message in memory.get_all()]
    history = [ChatMessage.model_validate_json(message) for message in saved]
    result, _ = await run(agent(llm, streaming=streaming), "And back?", chat_history=history)
    assert str(result) == "At noon."
    messages = chat_bodies(sandbox)[-1]["messages"]
    assert [message["role"] for message in messages] == ["user", "assistant", "tool", "tool", "assistant", "user"]
    assert messages[1]["content"] is None
    assert calls_of(messages[1]) == [(call.id, call.name, call.arguments) for call in CALLS]
    assert messages[4]["content"] == "At nine, for 31 euros."


class Trip(BaseModel):
    """A crossing."""

    departure: str
    euros: float


@BOTH_WAYS
async def test_the_final_answer_as_an_object(llm: Scaleway, sandbox: Sandbox, streaming: bool) -> None:
    sandbox.add_rule('{"departure": "09:00", "euros": 31}', when=lambda call: call.response_format is not None)
    sandbox.add_rule(Reply(tool_calls=CALLS), role="user")
    sandbox.add_rule(Reply(ANSWER), role="tool")
    result, events = await run(agent(llm, streaming=streaming, output_cls=Trip))
    trip = Trip(departure="09:00", euros=31)
    assert result.get_pydantic_model(Trip) == trip
    assert [event.get_pydantic_model(Trip) for event in of(AgentStreamStructuredOutput, events)] == [trip]
    *steps, final = chat_bodies(sandbox)
    # Only the last request is held to the schema, and it offers no tools: neither stands in the other's way.
    assert all("response_format" not in body for body in steps)
    assert final["response_format"]["json_schema"]["name"] == "Trip"
    assert "tools" not in final


# --------------------------------------------------------------------------- a service that fails


@BOTH_WAYS
async def test_a_failed_request_is_repeated_and_leaves_no_trace(
    make_llm: Callable[..., Scaleway], sandbox: Sandbox, streaming: bool
) -> None:
    busy = Reply(fault=HTTPError(503, headers={"retry-after": "0"}))
    sandbox.add_rule(busy, role="user", times=1)
    sandbox.add_rule(busy, role="tool", times=1)
    sandbox.add_rule(Reply(tool_calls=CALLS), role="user")
    sandbox.add_rule(Reply(ANSWER), role="tool")
    result, _ = await run(agent(make_llm(max_retries=1), streaming=streaming))
    assert str(result) == "At nine, for 31 euros."
    first, again, second, once_more = chat_bodies(sandbox)
    assert first == again
    assert second == once_more


@pytest.mark.parametrize(
    ("fault", "error"), [(HTTPError(401), AuthenticationError), (EndEarly(after=1), InterruptedStreamError)]
)
async def test_a_lasting_failure_reaches_the_user(
    llm: Scaleway, sandbox: Sandbox, fault: Any, error: type[Exception]
) -> None:
    sandbox.add_rule(Reply(tool_calls=CALLS), role="user")
    sandbox.add_rule(Reply(ANSWER, fault=fault), role="tool")
    handler = agent(llm).run(QUESTION)
    with pytest.raises(error):
        await handler
    assert len(sandbox.requests) == 2


# --------------------------------------------------------------------------- two agents

HANDOFF = ToolCall("h1", "handoff", '{"to_agent": "cashier", "reason": "a price is wanted"}')


def offers(name: str) -> Callable[[Call], bool]:
    return lambda call: any(offered["function"]["name"] == name for offered in call.tools)


def workflow(llm: Scaleway, *, streaming: bool = True, **options: Any) -> AgentWorkflow:
    clerk = agent(
        llm,
        name="clerk",
        description="Knows the timetable.",
        system_prompt="You are the clerk.",
        tools=[departures],
        can_handoff_to=["cashier"],
        streaming=streaming,
    )
    cashier = agent(
        llm,
        name="cashier",
        description="Knows the prices.",
        system_prompt="You are the cashier.",
        tools=[fare],
        can_handoff_to=[],
        streaming=streaming,
    )
    return AgentWorkflow(agents=[clerk, cashier], root_agent="clerk", **options)


def script_handoff(sandbox: Sandbox, *first: ToolCall) -> None:
    sandbox.add_rule(Reply(tool_calls=[*first, HANDOFF]), when=offers("departures"))
    sandbox.add_rule(Reply(reasoning="A car.", tool_calls=CALLS[1:]), when=offers("fare"), times=1)
    sandbox.add_rule(Reply(ANSWER), when=offers("fare"))


@BOTH_WAYS
async def test_a_hand_off_between_agents(llm: Scaleway, sandbox: Sandbox, streaming: bool) -> None:
    script_handoff(sandbox)
    result, events = await run(workflow(llm, streaming=streaming))
    assert str(result) == "At nine, for 31 euros."
    assert result.current_agent_name == "cashier"
    assert [event.current_agent_name for event in of(AgentOutput, events)] == ["clerk", "cashier", "cashier"]
    assert [event.tool_name for event in of(ToolCallResult, events)] == ["handoff", "fare"]

    first, second, third = chat_bodies(sandbox)
    assert [offered["function"]["name"] for offered in first["tools"]] == ["departures", "handoff"]
    assert [offered["function"]["name"] for offered in second["tools"]] == ["fare"]
    assert [body["messages"][0]["content"] for body in (first, second, third)] == [
        "You are the clerk.",
        "You are the cashier.",
        "You are the cashier.",
    ]
    # The cashier reads the question, and the hand-off as an answered call.
    assert [message["role"] for message in second["messages"]] == ["system", "user", "assistant", "tool"]
    assert second["messages"][1]["content"] == QUESTION
    assert second["messages"][2]["content"] is None
    assert calls_of(second["messages"][2]) == [(HANDOFF.id, HANDOFF.name, HANDOFF.arguments)]
    assert "a price is wanted" in results_of(second["messages"])["h1"]
    assert results_of(third["messages"])["c2"] == "car: 31.0 euros"


async def test_a_hand_off_is_streamed(llm: Scaleway, sandbox: Sandbox) -> None:
    script_handoff(sandbox)
    _, events = await run(workflow(llm))
    steps = of(AgentStream, events)
    assert "".join(step.delta for step in steps) == "At nine, for 31 euros."
    assert {step.current_agent_name for step in steps if step.delta or step.thinking_delta} == {"cashier"}
    reasons = [call.tool_kwargs.get("reason") for step in steps for call in step.tool_calls if call.tool_id == "h1"]
    assert reasons[0] is None
    assert reasons[-1] == "a price is wanted"


@BOTH_WAYS
async def test_a_hand_off_beside_another_call(llm: Scaleway, sandbox: Sandbox, streaming: bool) -> None:
    script_handoff(sandbox, CALLS[0])
    result, _ = await run(workflow(llm, streaming=streaming))
    assert str(result) == "At nine, for 31 euros."
    messages = chat_bodies(sandbox)[-1]["messages"]
    assert set(results_of(messages)) == {"c1", "h1", "c2"}
    assert results_of(messages)["c1"] == "Ostra: 09:00"


async def test_a_hand_off_to_nobody_goes_back_to_the_model(llm: Scaleway, sandbox: Sandbox) -> None:
    lost = ToolCall("h0", "handoff", '{"to_agent": "captain", "reason": "?"}')
    sandbox.add_rule(Reply(tool_calls=[lost]), when=offers("departures"), times=1)
    script_handoff(sandbox)
    result, _ = await run(workflow(llm))
    assert str(result) == "At nine, for 31 euros."
    assert "captain not found" in results_of(chat_bodies(sandbox)[1]["messages"])["h0"]


@BOTH_WAYS
async def test_a_workflow_goes_on_with_the_agent_that_has_it(llm: Scaleway, sandbox: Sandbox, streaming: bool) -> None:
    script_handoff(sandbox)
    runner = workflow(llm, streaming=streaming, initial_state={"season": "winter"})
    ctx = Context(runner)
    await run(runner, ctx=ctx)
    result, _ = await run(runner, "And a bicycle?", ctx=ctx)
    assert result.current_agent_name == "cashier"
    last = chat_bodies(sandbox)[-1]["messages"]
    assert last[0]["content"] == "You are the cashier."
    assert "winter" in last[-1]["content"]
    assert "And a bicycle?" in last[-1]["content"]
