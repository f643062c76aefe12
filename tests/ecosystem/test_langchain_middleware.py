"""LangChain's own middleware for agents, each around an agent that calls one tool."""

from __future__ import annotations

from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import (
    ClearToolUsesEdit,
    ContextEditingMiddleware,
    FilesystemFileSearchMiddleware,
    HumanInTheLoopMiddleware,
    LLMToolEmulator,
    LLMToolSelectorMiddleware,
    ModelCallLimitMiddleware,
    ModelFallbackMiddleware,
    ModelRefusalMiddleware,
    ModelRetryMiddleware,
    PIIMiddleware,
    SummarizationMiddleware,
    TodoListMiddleware,
    ToolCallLimitMiddleware,
    ToolRetryMiddleware,
)
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command

from linkspan.conversation import ToolCall
from linkspan_sandbox import HTTPError, Reply, Sandbox
from tests.ecosystem.conftest import as_asked

component = pytest.mark.component
ASKED = {"messages": [HumanMessage("Weather in Ostra? Write to ann@example.com.")]}


def weather(city: str) -> str:
    """Tell the weather."""
    return f"Sunny in {city}."


def kinds(result: Any) -> list[str]:
    return [message.type for message in result["messages"]]


USUAL = ["human", "ai", "tool", "ai"]


@component("langchain", "SummarizationMiddleware")
def test_summary(chat: Any) -> None:
    long = [HumanMessage("word " * 50), AIMessage("word " * 50), HumanMessage("Weather?")]
    middleware = SummarizationMiddleware(model=chat, trigger=("tokens", 60), keep=("messages", 1))
    result = create_agent(chat, [weather], middleware=[middleware]).invoke({"messages": long})
    assert "summary" in result["messages"][0].text


@component("langchain", "SummarizationMiddleware, fraction of the window")
def test_summary_by_fraction(chat: Any) -> None:
    if "max_input_tokens" not in chat.profile:
        chat.context_window = 4096
    middleware = SummarizationMiddleware(model=chat, trigger=("fraction", 0.9), keep=("messages", 1))
    assert kinds(create_agent(chat, [weather], middleware=[middleware]).invoke(ASKED)) == USUAL


@component("langchain", "HumanInTheLoopMiddleware")
def test_approval(chat: Any) -> None:
    agent = create_agent(
        chat,
        [weather],
        middleware=[HumanInTheLoopMiddleware(interrupt_on={"weather": True})],
        checkpointer=InMemorySaver(),
    )
    thread: Any = {"configurable": {"thread_id": "1"}}
    assert agent.invoke(ASKED, thread)["__interrupt__"]
    assert kinds(agent.invoke(Command(resume={"decisions": [{"type": "approve"}]}), thread)) == USUAL


@component("langchain", "ModelCallLimitMiddleware")
def test_model_limit(chat: Any) -> None:
    middleware = ModelCallLimitMiddleware(run_limit=1, exit_behavior="end")
    result = create_agent(chat, [weather], middleware=[middleware]).invoke(ASKED)
    assert "limit" in result["messages"][-1].text


@component("langchain", "ToolCallLimitMiddleware")
def test_tool_limit(chat: Any) -> None:
    middleware = ToolCallLimitMiddleware(run_limit=1)
    assert kinds(create_agent(chat, [weather], middleware=[middleware]).invoke(ASKED)) == USUAL


@component("langchain", "ModelFallbackMiddleware")
def test_fallback(chat: Any, served: Sandbox) -> None:
    served.reset()
    served.add_rule(Reply(fault=HTTPError(503)), times=1)
    result = create_agent(chat, middleware=[ModelFallbackMiddleware(chat)]).invoke(ASKED)
    assert result["messages"][-1].text


@component("langchain", "ModelRetryMiddleware")
def test_model_retry(chat: Any, served: Sandbox) -> None:
    served.reset()
    served.add_rule(Reply(fault=HTTPError(503)), times=1)
    middleware = ModelRetryMiddleware(max_retries=1, initial_delay=0, on_failure="error")
    assert create_agent(chat, middleware=[middleware]).invoke(ASKED)["messages"][-1].text


@component("langchain", "ToolRetryMiddleware")
def test_tool_retry(chat: Any) -> None:
    tries: list[str] = []

    def weather(city: str) -> str:
        """Tell the weather."""
        tries.append(city)
        if len(tries) == 1:
            raise OSError("no line")
        return "Sunny."

    middleware = ToolRetryMiddleware(max_retries=1, initial_delay=0)
    result = create_agent(chat, [weather], middleware=[middleware]).invoke(ASKED)
    assert kinds(result) == USUAL
    assert len(tries) == 2


@component("langchain", "PIIMiddleware")
def test_personal_data(chat: Any, served: Sandbox) -> None:
    create_agent(chat, [weather], middleware=[PIIMiddleware("email", strategy="redact")]).invoke(ASKED)
    assert b"ann@example.com" not in served.last_request.content


@component("langchain", "TodoListMiddleware")
def test_plan(chat: Any) -> None:
    result = create_agent(chat, [], middleware=[TodoListMiddleware()]).invoke(ASKED)
    assert kinds(result) == USUAL
    assert "todos" in result


@component("langchain", "LLMToolSelectorMiddleware")
def test_tool_selection(chat: Any, served: Sandbox) -> None:
    def tides(port: str) -> str:
        """Tell the tides."""
        return port

    served.reset()
    selecting = lambda call: "select the most relevant tools" in str(call.messages[0])  # noqa: E731
    served.add_rule(lambda call: as_asked(call, '{"tools": ["weather"]}'), when=selecting)
    served.add_rule(Reply(tool_calls=[ToolCall("c1", "weather", '{"city": "Ostra"}')]), role="user")
    middleware = LLMToolSelectorMiddleware(model=chat, max_tools=1)
    assert kinds(create_agent(chat, [weather, tides], middleware=[middleware]).invoke(ASKED)) == USUAL
    assert len(served.last_request.json["tools"]) == 1


@component("langchain", "LLMToolEmulator")
def test_emulated_tools(chat: Any) -> None:
    result = create_agent(chat, [weather], middleware=[LLMToolEmulator(tools=["weather"], model=chat)]).invoke(ASKED)
    assert kinds(result) == USUAL
    assert "Sunny" not in result["messages"][2].text


@component("langchain", "ContextEditingMiddleware")
def test_context_editing(chat: Any, served: Sandbox) -> None:
    middleware = ContextEditingMiddleware(edits=[ClearToolUsesEdit(trigger=1, keep=0, placeholder="[gone]")])
    create_agent(chat, [weather], middleware=[middleware]).invoke(ASKED)
    assert b"[gone]" in served.last_request.content


@component("langchain", "FilesystemFileSearchMiddleware")
def test_file_search(chat: Any, tmp_path: Any) -> None:
    (tmp_path / "notes.txt").write_text("Ostra")
    middleware = FilesystemFileSearchMiddleware(root_path=str(tmp_path), use_ripgrep=False)
    assert kinds(create_agent(chat, [], middleware=[middleware]).invoke(ASKED)) == USUAL


@component("langchain", "ModelRefusalMiddleware")
def test_refusal(chat: Any) -> None:
    agent = create_agent(chat, [weather], middleware=[ModelRefusalMiddleware()])
    assert kinds(agent.invoke(ASKED)) == USUAL
