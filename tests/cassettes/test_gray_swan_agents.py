"""Agents whose tools' results travel as data, in both frameworks: each result a turn of its own, in the role ``data``.

The model is a script (``agent_script.py``), for no small one calls tools unless it has to.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessageChunk
from langchain_core.tools import tool
from llama_index.core.agent.workflow import AgentStream, FunctionAgent

from linkspan.langchain import ToolResultsAsData
from tests.agents.conftest import NEEDS_TASK_CONTEXT
from tests.cassettes.test_gray_swan import PAGE, QUESTION, chat_model, llm

if TYPE_CHECKING:
    from tests.cassettes.tape import Tape

pytestmark = pytest.mark.recorded_from("scripted-agents-gray-swan")

ANSWER = "It was built in 1974."


@tool("fetch_page")
def fetch_page_tool(address: str) -> str:
    """Fetch a page."""
    return PAGE


def fetch_page(address: str) -> str:
    """Fetch a page."""
    return PAGE


def check_wire(tape: Tape, *, stream: bool) -> None:
    asked, answered = tape.requests
    assert [message["role"] for message in asked["messages"]] == ["user"]
    _, turn, result = answered["messages"]
    (call,) = turn["tool_calls"]
    assert (call["function"]["name"], turn["role"]) == ("fetch_page", "assistant")
    # The line that names the call is not the page's.
    data = f"Result of the tool fetch_page (call {call['id']}):\n{PAGE}"
    assert result == {"role": "data", "content": data}
    assert [request.get("stream") for request in tape.requests] == [stream or None] * 2


def agent(tape: Tape) -> Any:
    return create_agent(chat_model(tape, model=tape.model), tools=[fetch_page_tool], middleware=[ToolResultsAsData()])


def check_state(state: dict[str, Any]) -> None:
    """The agent's own state keeps the result as the tool's."""
    assert [message.type for message in state["messages"]] == ["human", "ai", "tool", "ai"]
    assert state["messages"][2].text == PAGE
    assert state["messages"][-1].text == ANSWER


def test_langchain_invoke(tape: Tape) -> None:
    check_state(agent(tape).invoke({"messages": [("human", QUESTION)]}))
    check_wire(tape, stream=False)


async def test_langchain_ainvoke(tape: Tape) -> None:
    check_state(await agent(tape).ainvoke({"messages": [("human", QUESTION)]}))
    check_wire(tape, stream=False)


@NEEDS_TASK_CONTEXT
async def test_langchain_astream(tape: Tape) -> None:
    given: Any = {"messages": [("human", QUESTION)]}
    events = [message async for message, _ in agent(tape).astream(given, stream_mode="messages")]
    pieces = [message.text for message in events if isinstance(message, AIMessageChunk) and message.text]
    assert "".join(pieces) == f"The page says so.{ANSWER}"
    assert len(pieces) > 5
    check_wire(tape, stream=True)


async def test_llama_index_stream(tape: Tape) -> None:
    handler = FunctionAgent(tools=[fetch_page], llm=llm(tape, model=tape.model, tool_results="data")).run(QUESTION)
    events = [event async for event in handler.stream_events()]
    assert str(await handler) == ANSWER
    assert "".join(event.delta for event in events if isinstance(event, AgentStream)).endswith(ANSWER)
    check_wire(tape, stream=True)


async def test_llama_index_whole(tape: Tape) -> None:
    model = llm(tape, model=tape.model, tool_results="data")
    assert str(await FunctionAgent(tools=[fetch_page], llm=model, streaming=False).run(QUESTION)) == ANSWER
    check_wire(tape, stream=False)
