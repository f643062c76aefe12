"""Agents over TGI in both frameworks: ReAct on ``generate``, and tool calls on TGI's own chat route.

The model is a script (``agent_script.py``): the small local one finds neither ReAct's format nor tools by itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from langchain.agents import create_agent
from llama_index.core.agent.workflow import FunctionAgent, ToolCallResult

from linkspan import llama_index
from tests.agents.conftest import NEEDS_TASK_CONTEXT
from tests.agents.wire import assert_well_formed
from tests.cassettes import test_scaleway_agents as agents
from tests.cassettes.test_datacrunch import chat, chat_route, settings
from tests.cassettes.test_llm_engine_agents import check_react

if TYPE_CHECKING:
    from tests.cassettes.tape import Tape

pytestmark = pytest.mark.recorded_from("scripted-agents-datacrunch")


async def test_llama_index_react(tape: Tape) -> None:
    await check_react(llama_index.DataCrunch(**settings(tape, max_tokens=64)), tape, streaming=False)
    assert all(request["inputs"] for request in tape.requests)


async def test_llama_index_react_stream(tape: Tape) -> None:
    await check_react(llama_index.DataCrunch(**settings(tape, max_tokens=64)), tape, streaming=True)


async def test_llama_index_react_on_chat(tape: Tape) -> None:
    await check_react(llama_index.ChatDataCrunch(**chat_route(tape, max_tokens=64)), tape, streaming=True)
    assert all("tools" not in request for request in tape.requests)


async def test_llama_index_function_agent(tape: Tape) -> None:
    model = llama_index.ChatDataCrunch(**chat_route(tape))
    result, events = await agents.run(FunctionAgent(tools=[agents.departures, agents.fare], llm=model))
    assert str(result) == agents.ANSWER
    assert [event.tool_output.content for event in agents.of(ToolCallResult, events)] == agents.RESULTS
    assert_well_formed(tape.requests[1]["messages"])


def test_langchain_agent(tape: Tape) -> None:
    state = create_agent(chat(tape, api="messages"), agents.TOOLS).invoke(agents.QUESTION)
    assert state["messages"][-1].text == agents.ANSWER
    assert [message.text for message in state["messages"][2:4]] == agents.RESULTS
    assert_well_formed(tape.requests[1]["messages"])


@NEEDS_TASK_CONTEXT
async def test_langchain_agent_astream(tape: Tape) -> None:
    agent = create_agent(chat(tape, api="messages"), agents.TOOLS)
    events = [message async for message, _ in agent.astream(agents.QUESTION, stream_mode="messages")]
    pieces = [message.text for message in events if message.type == "AIMessageChunk" and message.text]
    assert "".join(pieces) == f"Both, then.{agents.ANSWER}"
    assert len(pieces) > 5
    assert all(request["stream"] is True for request in tape.requests)
