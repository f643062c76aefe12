"""LangChain's ``create_agent`` over ChatScaleway: what goes over the wire and what users see, streamed and whole."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import HumanInTheLoopMiddleware, ModelRetryMiddleware, ToolErrorMiddleware
from langchain_core.exceptions import ModelAuthenticationError, ModelError
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, ToolMessage
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command

from linkspan.conversation import ToolCall, Usage
from linkspan.errors import AuthenticationError, InterruptedStreamError, ServerError
from linkspan_sandbox import EndEarly, ErrorEvent, HTTPError, Reply, Sandbox
from tests.agents.conftest import NEEDS_TASK_CONTEXT
from tests.agents.wire import calls_of, chat_bodies, results_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from linkspan.langchain import ChatScaleway

WAYS = ["invoke", "ainvoke", "stream", "astream"]
STREAMED = ["stream", pytest.param("astream", marks=NEEDS_TASK_CONTEXT)]
QUESTION = {"messages": [HumanMessage("When does the ferry to Ostra leave, and what does a car cost?")]}
CALLS = [ToolCall("c1", "departures", '{"port": "Ostra"}'), ToolCall("c2", "fare", '{"vehicle": "car", "seats": 2}')]
ASK_BOTH = Reply(tool_calls=CALLS, usage=Usage(20, 8, 28))
ANSWER = Reply(["At nine,", " for 31", " euros."], usage=Usage(40, 5, 45))
ONE_CALL = Reply(tool_calls=CALLS[:1])


@tool
def departures(port: str) -> str:
    """The departures to a port."""
    return f"{port}: 09:00"


@tool
def fare(vehicle: str, seats: int) -> dict[str, Any]:
    """The price of a crossing."""
    return {"vehicle": vehicle, "euros": 15.5 * seats}


TOOLS = [departures, fare]


def script(sandbox: Sandbox) -> None:
    """Ask for both tools at once, then answer."""
    sandbox.add_rule(ASK_BOTH, role="user")
    sandbox.add_rule(ANSWER, role="tool")


async def final_state(agent: Any, way: str, given: Any = QUESTION, config: Any = None) -> dict[str, Any]:
    if way == "invoke":
        return agent.invoke(given, config)
    if way == "ainvoke":
        return await agent.ainvoke(given, config)
    if way == "stream":
        return list(agent.stream(given, config, stream_mode="values"))[-1]
    return [state async for state in agent.astream(given, config, stream_mode="values")][-1]


async def streamed(agent: Any, way: str, mode: Any) -> list[Any]:
    if way == "stream":
        return list(agent.stream(QUESTION, stream_mode=mode))
    return [event async for event in agent.astream(QUESTION, stream_mode=mode)]


# --------------------------------------------------------------------------- two tools at once


@pytest.mark.parametrize("way", WAYS)
async def test_parallel_calls_are_run_and_answered(chat: ChatScaleway, sandbox: Sandbox, way: str) -> None:
    script(sandbox)
    state = await final_state(create_agent(chat, TOOLS, system_prompt="Be brief."), way)
    assert [type(message) for message in state["messages"]] == [
        HumanMessage,
        AIMessage,
        ToolMessage,
        ToolMessage,
        AIMessage,
    ]
    assert state["messages"][-1].content == "At nine, for 31 euros."
    assert [message.usage_metadata["total_tokens"] for message in state["messages"][1::3]] == [28, 45]
    first, second = chat_bodies(sandbox)
    assert [message["role"] for message in first["messages"]] == ["system", "user"]
    assert [offered["function"]["name"] for offered in first["tools"]] == ["departures", "fare"]
    assert first["tools"][1]["function"]["parameters"]["required"] == ["vehicle", "seats"]
    assert second["tools"] == first["tools"]
    assert not {"tool_choice", "parallel_tool_calls", "response_format"} & first.keys()
    turn = second["messages"][2]
    assert turn["content"] is None
    assert calls_of(turn) == [(call.id, call.name, call.arguments) for call in CALLS]
    assert results_of(second["messages"]) == {"c1": "Ostra: 09:00", "c2": '{"vehicle": "car", "euros": 31.0}'}


async def test_text_beside_calls_is_kept_and_reasoning_stays_here(chat: ChatScaleway, sandbox: Sandbox) -> None:
    sandbox.add_rule(Reply("Let me look.", reasoning="Two things.", tool_calls=CALLS), role="user")
    sandbox.add_rule(ANSWER, role="tool")
    state = await create_agent(chat, TOOLS).ainvoke(QUESTION)
    assert [block["type"] for block in state["messages"][1].content_blocks] == [
        "reasoning",
        "text",
        "tool_call",
        "tool_call",
    ]
    turn = chat_bodies(sandbox)[1]["messages"][1]
    assert turn.keys() == {"role", "content", "tool_calls"}
    assert turn["content"] == "Let me look."


# --------------------------------------------------------------------------- streamed


@pytest.mark.parametrize("way", STREAMED)
async def test_tokens_of_every_step_are_streamed(chat: ChatScaleway, sandbox: Sandbox, way: str) -> None:
    script(sandbox)
    events = await streamed(create_agent(chat, TOOLS), way, "messages")
    assert all(body["stream"] is True for body in chat_bodies(sandbox))
    chunks = [message for message, _ in events if isinstance(message, AIMessageChunk)]
    assert [chunk.text for chunk in chunks if chunk.text] == ["At nine,", " for 31", " euros."]
    results = [message for message, _ in events if isinstance(message, ToolMessage)]
    assert {message.tool_call_id: message.content for message in results}["c1"] == "Ostra: 09:00"
    assert {where["langgraph_node"] for _, where in events} == {"model", "tools"}

    # Added up, the chunks are the two turns: nothing came twice, nothing is missing.
    turns: dict[str, AIMessageChunk] = {}
    for chunk in chunks:
        assert chunk.id is not None
        turns[chunk.id] = turns[chunk.id] + chunk if chunk.id in turns else chunk
    asked, answered = turns.values()
    assert [(call["id"], call["args"]) for call in asked.tool_calls] == [
        ("c1", {"port": "Ostra"}),
        ("c2", {"vehicle": "car", "seats": 2}),
    ]
    assert asked.invalid_tool_calls == []
    assert asked.usage_metadata is not None
    assert asked.usage_metadata["total_tokens"] == 28
    assert answered.usage_metadata is not None
    assert answered.usage_metadata["total_tokens"] == 45
    assert [turn.response_metadata["finish_reason"] for turn in turns.values()] == ["tool_calls", "stop"]


@pytest.mark.parametrize("way", STREAMED)
async def test_updates_show_each_step(chat: ChatScaleway, sandbox: Sandbox, way: str) -> None:
    script(sandbox)
    events = await streamed(create_agent(chat, TOOLS), way, ["updates", "messages"])
    updates = [event for mode, event in events if mode == "updates"]
    assert [name for update in updates for name in update] == ["model", "tools", "tools", "model"]
    last = updates[-1]["model"]["messages"][-1]
    assert last.content == "At nine, for 31 euros."
    # The tokens of a step come before its update.
    assert [mode for mode, _ in events][-1] == "updates"
    streamed_text = "".join(event[0].text for mode, event in events if mode == "messages" and event[0].type != "tool")
    assert streamed_text == last.content


@NEEDS_TASK_CONTEXT
async def test_v3_events_of_an_agent(chat: ChatScaleway, sandbox: Sandbox) -> None:
    sandbox.add_rule(Reply("Let me look.", reasoning="Two things.", tool_calls=CALLS), role="user")
    sandbox.add_rule(ANSWER, role="tool")
    agent = create_agent(chat, TOOLS)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The v3 streaming protocol", category=Warning)
        events = [event async for event in await agent.astream_events(QUESTION, version="v3")]
    messages = [event["params"]["data"][0] for event in events if event["method"] == "messages"]
    blocks = [event["content"] for event in messages if event["event"] == "content-block-finish"]
    assert [block["type"] for block in blocks] == ["reasoning", "text", "tool_call", "tool_call", "text"]
    assert blocks[3]["args"] == {"vehicle": "car", "seats": 2}
    tools = [event["params"]["data"] for event in events if event["method"] == "tools"]
    assert {event["tool_call_id"] for event in tools if event["event"] == "tool-finished"} == {"c1", "c2"}
    # In this protocol the history holds v1 blocks; it still goes back as the API wants it.
    turn = chat_bodies(sandbox)[1]["messages"][1]
    assert turn["content"] == "Let me look."
    assert [call_id for call_id, _, _ in calls_of(turn)] == ["c1", "c2"]


# --------------------------------------------------------------------------- tools that fail


@pytest.mark.parametrize("way", WAYS)
async def test_wrong_arguments_go_back_to_the_model(chat: ChatScaleway, sandbox: Sandbox, way: str) -> None:
    wrong = ToolCall("bad", "fare", '{"vehicle": "car", "seats": "several"}')
    sandbox.add_rule(Reply(tool_calls=[wrong, CALLS[0]]), times=1)
    sandbox.add_rule(Reply(tool_calls=CALLS[1:]), times=1)
    sandbox.add_rule(ANSWER)
    state = await final_state(create_agent(chat, TOOLS), way)
    assert state["messages"][-1].content == "At nine, for 31 euros."
    results = results_of(chat_bodies(sandbox)[-1]["messages"])
    assert results["bad"].startswith("Error")
    assert "seats" in results["bad"]
    assert results["c1"] == "Ostra: 09:00"
    assert '"euros": 31.0' in results["c2"]


@pytest.mark.parametrize("way", WAYS)
async def test_an_unknown_tool_and_arguments_that_are_no_json(chat: ChatScaleway, sandbox: Sandbox, way: str) -> None:
    sandbox.add_rule(
        Reply(tool_calls=[ToolCall("x", "timetable", "{}"), ToolCall("y", "fare", '{"vehicle": ')]), times=1
    )
    sandbox.add_rule(ANSWER)
    state = await final_state(create_agent(chat, TOOLS), way)
    assert state["messages"][-1].content == "At nine, for 31 euros."
    results = results_of(chat_bodies(sandbox)[-1]["messages"])
    assert results["x"].startswith("Error")
    assert "timetable" in results["x"]
    assert results["y"].startswith("Error")
    assert "malformed" in results["y"]


@tool
def broken(port: str) -> str:
    """Always out of order."""
    raise RuntimeError(f"no connection to {port}")


BROKEN_CALL = Reply(tool_calls=[ToolCall("c1", "broken", '{"port": "Ostra"}')])


@pytest.mark.parametrize("way", WAYS)
async def test_a_tools_own_exception_reaches_the_user(chat: ChatScaleway, sandbox: Sandbox, way: str) -> None:
    sandbox.add_rule(BROKEN_CALL)
    with pytest.raises(RuntimeError, match="no connection to Ostra"):
        await final_state(create_agent(chat, [broken]), way)
    assert len(chat_bodies(sandbox)) == 1


@pytest.mark.parametrize("way", WAYS)
async def test_or_the_model_where_a_middleware_says_so(chat: ChatScaleway, sandbox: Sandbox, way: str) -> None:
    sandbox.add_rule(BROKEN_CALL, role="user")
    sandbox.add_rule("It is out of order.", role="tool")
    middleware = ToolErrorMiddleware(lambda error, _: f"{type(error).__name__}: try later")
    state = await final_state(create_agent(chat, [broken], middleware=[middleware]), way)
    assert state["messages"][-1].content == "It is out of order."
    assert results_of(chat_bodies(sandbox)[1]["messages"]) == {"c1": "RuntimeError: try later"}
    assert state["messages"][2].status == "error"


# --------------------------------------------------------------------------- a service that fails


@pytest.mark.parametrize("way", WAYS)
async def test_a_failed_request_is_repeated_and_leaves_no_trace(
    make_chat: Callable[..., ChatScaleway], sandbox: Sandbox, way: str
) -> None:
    busy = Reply(fault=HTTPError(503, headers={"retry-after": "0"}))
    sandbox.add_rule(busy, role="user", times=1)
    sandbox.add_rule(busy, role="tool", times=1)
    script(sandbox)
    state = await final_state(create_agent(make_chat(max_retries=1), TOOLS), way)
    assert len(state["messages"]) == 5
    first, again, second, once_more = chat_bodies(sandbox)
    assert first == again
    assert second == once_more


@pytest.mark.parametrize("way", WAYS)
async def test_middleware_repeats_what_is_worth_it(chat: ChatScaleway, sandbox: Sandbox, way: str) -> None:
    sandbox.add_rule(Reply(fault=HTTPError(503)), times=1)
    script(sandbox)
    retry = ModelRetryMiddleware(max_retries=1, on_failure="error", initial_delay=0, jitter=False)
    agent = create_agent(chat, TOOLS, middleware=[retry])
    assert len((await final_state(agent, way))["messages"]) == 5
    sandbox.reset()
    sandbox.add_rule(Reply(fault=HTTPError(401)))
    with pytest.raises(AuthenticationError) as caught:
        await final_state(agent, way)
    assert isinstance(caught.value, ModelAuthenticationError)
    assert len(sandbox.requests) == 1


@pytest.mark.parametrize("fault", [ErrorEvent(after=1), EndEarly(after=1)])
@pytest.mark.parametrize("way", STREAMED)
async def test_an_answer_that_breaks_off_is_an_error(
    chat: ChatScaleway, sandbox: Sandbox, way: str, fault: Any
) -> None:
    sandbox.add_rule(ASK_BOTH, role="user")
    sandbox.add_rule(Reply(ANSWER.text, fault=fault), role="tool")
    seen: list[str] = []

    async def read() -> None:
        agent = create_agent(chat, TOOLS)
        if way == "stream":
            for message, _ in agent.stream(QUESTION, stream_mode="messages"):
                seen.append(message.text)
        else:
            async for message, _ in agent.astream(QUESTION, stream_mode="messages"):
                seen.append(message.text)

    with pytest.raises(ModelError) as caught:
        await read()
    assert isinstance(caught.value, InterruptedStreamError if isinstance(fault, EndEarly) else ServerError)
    assert "At nine," in seen


# --------------------------------------------------------------------------- threads, and going on after a stop


@pytest.mark.parametrize("way", WAYS)
async def test_a_thread_remembers(chat: ChatScaleway, sandbox: Sandbox, way: str) -> None:
    script(sandbox)
    config = {"configurable": {"thread_id": "1"}}
    saver = InMemorySaver()
    await final_state(create_agent(chat, TOOLS, checkpointer=saver), way, config=config)
    # Another agent, as after a restart, knows what was said from the saved state alone.
    again = create_agent(chat, TOOLS, checkpointer=saver)
    state = await final_state(again, way, {"messages": [HumanMessage("And back?")]}, config)
    assert len(state["messages"]) == 10
    bodies = chat_bodies(sandbox)
    assert [message["role"] for message in bodies[2]["messages"]] == [
        "user",
        "assistant",
        "tool",
        "tool",
        "assistant",
        "user",
    ]
    assert bodies[2]["messages"][4]["content"] == "At nine, for 31 euros."
    other = await final_state(again, way, config={"configurable": {"thread_id": "2"}})
    assert len(other["messages"]) == 5


@pytest.mark.parametrize("way", WAYS)
async def test_after_a_failure_it_goes_on_where_it_stopped(chat: ChatScaleway, sandbox: Sandbox, way: str) -> None:
    runs: list[str] = []

    @tool("departures")
    def counted(port: str) -> str:
        """The departures to a port."""
        runs.append(port)
        return f"{port}: 09:00"

    sandbox.add_rule(ONE_CALL, role="user")
    sandbox.add_rule(Reply(fault=HTTPError(503)), role="tool", times=1)
    sandbox.add_rule("At nine.", role="tool")
    agent = create_agent(chat, [counted], checkpointer=InMemorySaver())
    config = {"configurable": {"thread_id": "1"}}
    with pytest.raises(ServerError):
        await final_state(agent, way, config=config)
    state = await final_state(agent, way, None, config)
    assert state["messages"][-1].content == "At nine."
    assert runs == ["Ostra"]
    asked, failed, repeated = chat_bodies(sandbox)
    assert len(asked["messages"]) == 1
    assert failed["messages"] == repeated["messages"]


@NEEDS_TASK_CONTEXT
@pytest.mark.parametrize("decision", ["approve", "edit", "reject"])
async def test_a_person_decides_on_a_call(chat: ChatScaleway, sandbox: Sandbox, decision: str) -> None:
    script(sandbox)
    middleware = HumanInTheLoopMiddleware(interrupt_on={"fare": True})
    agent = create_agent(chat, TOOLS, middleware=[middleware], checkpointer=InMemorySaver())
    config: Any = {"configurable": {"thread_id": "1"}}
    stopped = await agent.ainvoke(QUESTION, config)
    (request,) = stopped["__interrupt__"][0].value["action_requests"]
    assert request["args"] == {"vehicle": "car", "seats": 2}
    assert len(sandbox.requests) == 1
    decisions: dict[str, Any] = {
        "approve": {"type": "approve"},
        "edit": {"type": "edit", "edited_action": {"name": "fare", "args": {"vehicle": "car", "seats": 4}}},
        "reject": {"type": "reject", "message": "Too expensive."},
    }
    await agent.ainvoke(Command(resume={"decisions": [decisions[decision]]}), config)
    messages = chat_bodies(sandbox)[1]["messages"]
    expected = {"approve": '"euros": 31.0', "edit": '"euros": 62.0', "reject": "Too expensive."}
    results = results_of(messages)
    assert results["c1"] == "Ostra: 09:00"
    assert expected[decision] in results["c2"]
    # What the model wrote stays as it is; the result tells it of an edit.
    assert calls_of(messages[1]) == [(call.id, call.name, call.arguments) for call in CALLS]
