"""LangChain's ReAct agent over prompt models: text alone, no tools on the wire."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from langchain_classic.agents import AgentExecutor, create_react_agent
from langchain_core.prompts import PromptTemplate
from langchain_core.tools import tool

from linkspan_sandbox import Reply, Sandbox
from tests.langchain_completions.conftest import COMPLETIONS

if TYPE_CHECKING:
    from collections.abc import Callable

PROMPT = PromptTemplate.from_template(
    "You have these tools: {tools}\n"
    "Write Thought, then Action (one of {tool_names}) and Action Input, or Final Answer.\n"
    "Question: {input}\nThought:{agent_scratchpad}"
)


@tool
def departures(port: str) -> str:
    """When ferries leave for a port."""
    return f"{port}: 09:00"


def agent(llm: Any, sandbox: Sandbox) -> AgentExecutor:
    # The model goes on and makes up what the tool says: that is beyond the agent's stop text.
    sandbox.add_rule(
        Reply(text=[" I look.\nAction: dep", "artures\nAction Input: Ostra\n", "Observation: made up"]), times=1
    )
    sandbox.add_rule(Reply(text=" I know.\nFinal Answer: At nine."), times=1)
    return AgentExecutor(agent=create_react_agent(llm, [departures], PROMPT), tools=[departures])


def prompts(sandbox: Sandbox) -> list[str]:
    return [request.json.get("prompt") or request.json["inputs"] for request in sandbox.requests]


@pytest.mark.parametrize("way", ["stream", "astream"])
@pytest.mark.parametrize("kind", COMPLETIONS)
async def test_a_react_agent_uses_its_tool(make: Callable[..., Any], sandbox: Sandbox, kind: str, way: str) -> None:
    executor = agent(make(kind), sandbox)
    if way == "stream":
        steps = list(executor.stream({"input": "When?"}))
    else:
        steps = [step async for step in executor.astream({"input": "When?"})]
    (taken,) = [action for step in steps for action in step.get("actions", ())]
    assert (taken.tool, taken.tool_input) == ("departures", "Ostra")
    assert steps[-1]["output"] == "At nine."
    first, second = prompts(sandbox)
    assert first.endswith("Question: When?\nThought:")
    assert second.endswith("Action Input: Ostra\nObservation: Ostra: 09:00\nThought: ")
    assert "made up" not in second


@pytest.mark.parametrize("kind", COMPLETIONS)
async def test_its_tokens_are_streamed(make: Callable[..., Any], sandbox: Sandbox, kind: str) -> None:
    executor = agent(make(kind), sandbox)
    tokens = [
        event["data"]["chunk"].text if hasattr(event["data"]["chunk"], "text") else event["data"]["chunk"]
        async for event in executor.astream_events({"input": "When?"}, version="v2")
        if event["event"] == "on_llm_stream"
    ]
    assert "".join(map(str, tokens)).replace("\n\n", "\n").startswith(" I look.\nAction: departures")
    assert "Final Answer: At nine." in "".join(map(str, tokens))
    assert len(tokens) > 4
