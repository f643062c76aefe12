"""LangChain's own agent middleware over ChatScaleway: what it needs of a model is there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from langchain.agents import create_agent
from langchain.agents.middleware import LLMToolSelectorMiddleware, ModelFallbackMiddleware, SummarizationMiddleware
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.tools import tool

from linkspan_sandbox import HTTPError, Reply, Sandbox
from tests.agents.wire import chat_bodies

if TYPE_CHECKING:
    from collections.abc import Callable

    from linkspan.langchain import ChatScaleway

OTHER_MODEL = "mistral-small-3.2-24b-instruct-2506"


@tool
def departures(port: str) -> str:
    """The departures to a port."""
    return f"{port}: 09:00"


@tool
def fare(vehicle: str) -> str:
    """The price of a crossing."""
    return f"{vehicle}: 31 euros"


async def test_a_long_conversation_is_summarised(chat: ChatScaleway, sandbox: Sandbox) -> None:
    sandbox.add_rule("They spoke of ferries.", when="Extract")
    sandbox.add_rule("At nine.")
    # A share of the context window: the window comes from the model's profile.
    middleware = SummarizationMiddleware(chat, trigger=("fraction", 0.001), keep=("messages", 1))
    turns = [message for number in range(30) for message in (HumanMessage(f"Ferry {number}?"), AIMessage("Yes. " * 5))]
    state = await create_agent(chat, middleware=[middleware]).ainvoke({"messages": [*turns, HumanMessage("When?")]})
    assert state["messages"][-1].content == "At nine."
    _, asked = chat_bodies(sandbox)
    assert len(asked["messages"]) == 2
    assert "They spoke of ferries." in asked["messages"][0]["content"]
    assert asked["messages"][1]["content"] == "When?"


async def test_another_model_steps_in(make_chat: Callable[..., ChatScaleway], sandbox: Sandbox) -> None:
    sandbox.add_rule(Reply(fault=HTTPError(503)), when=lambda call: call.model != OTHER_MODEL)
    sandbox.add_rule("At nine.")
    chat = make_chat()
    agent = create_agent(chat, [departures], middleware=[ModelFallbackMiddleware(make_chat(model=OTHER_MODEL))])
    state = await agent.ainvoke({"messages": "When?"})
    assert state["messages"][-1].content == "At nine."
    first, second = chat_bodies(sandbox)
    assert (first["model"], second["model"]) == (chat.model, OTHER_MODEL)
    assert first["messages"] == second["messages"]
    assert first["tools"] == second["tools"]


async def test_tools_are_selected_first(chat: ChatScaleway, sandbox: Sandbox) -> None:
    sandbox.add_rule('{"tools": ["fare"]}', when=lambda call: call.response_format is not None)
    sandbox.add_rule("31 euros.")
    agent = create_agent(chat, [departures, fare], middleware=[LLMToolSelectorMiddleware(max_tools=1)])
    await agent.ainvoke({"messages": "How much?"})
    selection, asked = chat_bodies(sandbox)
    assert "tools" not in selection
    assert [offered["function"]["name"] for offered in asked["tools"]] == ["fare"]
    assert "response_format" not in asked
