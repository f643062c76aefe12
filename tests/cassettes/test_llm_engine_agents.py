"""Agents over LLM Engine in both frameworks: ReAct on prompts and chats, and tool calls on the chat API (v2).

The model is a script (``agent_script.py``): the small local one finds neither ReAct's format nor tools by itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from langchain.agents import create_agent
from llama_index.core.agent.workflow import AgentStream, FunctionAgent, ReActAgent, ToolCallResult

from linkspan import llama_index
from tests.agents.conftest import NEEDS_TASK_CONTEXT
from tests.agents.wire import assert_well_formed
from tests.cassettes import test_scaleway_agents as agents
from tests.cassettes.test_llm_engine import chat, settings

if TYPE_CHECKING:
    from tests.cassettes.tape import Tape

pytestmark = pytest.mark.recorded_from("scripted-agents-llm-engine")

ASKED = "When does the ferry to Ostra leave?"


def of_the_tape(tape: Tape, **more: Any) -> dict[str, Any]:
    return settings(tape, model="llama-3-8b-instruct", max_tokens=64, **more)


async def check_react(model: Any, tape: Tape, *, streaming: bool) -> None:
    """The tool's answer is observed in the second request, and the agent's is the text behind ``Answer:``."""
    handler = ReActAgent(tools=[agents.departures], llm=model, streaming=streaming).run(ASKED)
    events = [event async for event in handler.stream_events()]
    assert str(await handler) == "It leaves at nine."
    (result,) = [event for event in events if isinstance(event, ToolCallResult)]
    assert (result.tool_name, result.tool_kwargs) == ("departures", {"port": "Ostra"})
    assert (len([event for event in events if isinstance(event, AgentStream)]) > 10) is streaming
    first, second = map(str, tape.requests)
    assert ASKED in first
    assert "Observation: Ostra: 09:00" not in first
    assert "Observation: Ostra: 09:00" in second


async def test_llama_index_react(tape: Tape) -> None:
    await check_react(llama_index.LLMEngine(**of_the_tape(tape)), tape, streaming=False)
    assert all(request["prompt"] for request in tape.requests)


async def test_llama_index_react_stream(tape: Tape) -> None:
    await check_react(llama_index.LLMEngine(**of_the_tape(tape)), tape, streaming=True)


async def test_llama_index_react_on_chat(tape: Tape) -> None:
    await check_react(llama_index.ChatLLMEngine(**of_the_tape(tape)), tape, streaming=True)
    assert all("tools" not in request for request in tape.requests)


async def test_llama_index_function_agent(tape: Tape) -> None:
    model = llama_index.ChatLLMEngine(**of_the_tape(tape))
    result, events = await agents.run(FunctionAgent(tools=[agents.departures, agents.fare], llm=model))
    assert str(result) == agents.ANSWER
    assert [event.tool_output.content for event in agents.of(ToolCallResult, events)] == agents.RESULTS
    assert_well_formed(tape.requests[1]["messages"])


def test_langchain_agent(tape: Tape) -> None:
    state = create_agent(chat(tape, model="llama-3-8b-instruct"), agents.TOOLS).invoke(agents.QUESTION)
    assert state["messages"][-1].text == agents.ANSWER
    assert [message.text for message in state["messages"][2:4]] == agents.RESULTS
    assert_well_formed(tape.requests[1]["messages"])


@NEEDS_TASK_CONTEXT
async def test_langchain_agent_astream(tape: Tape) -> None:
    agent = create_agent(chat(tape, model="llama-3-8b-instruct"), agents.TOOLS)
    events = [message async for message, _ in agent.astream(agents.QUESTION, stream_mode="messages")]
    pieces = [message.text for message in events if message.type == "AIMessageChunk" and message.text]
    assert "".join(pieces) == f"Both, then.{agents.ANSWER}"
    assert len(pieces) > 5
    assert all(request["stream"] is True for request in tape.requests)
