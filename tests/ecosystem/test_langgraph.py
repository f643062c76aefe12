"""Agents of LangGraph and what is built on it: prebuilt ones, supervisors, swarms, deep agents, memory, extraction."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.agents.structured_output import ToolStrategy
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.graph import MessagesState, StateGraph
from langgraph.prebuilt import ToolNode, create_react_agent, tools_condition
from langgraph.store.memory import InMemoryStore
from pydantic import BaseModel

from linkspan.conversation import ToolCall
from linkspan_sandbox import Reply, Sandbox

component = pytest.mark.component


class Trip(BaseModel):
    """A trip."""

    city: str
    days: int


def weather(city: str) -> str:
    """Tell the weather."""
    return f"Sunny in {city}."


ASKED = {"messages": [HumanMessage("Weather in Ostra?")]}


def called(result: Any) -> list[str]:
    return [
        call["name"] for message in result["messages"] if isinstance(message, AIMessage) for call in message.tool_calls
    ]


def ended_in_words(result: Any) -> bool:
    return bool(result["messages"][-1].text) and not result["messages"][-1].tool_calls


@component("langchain", "create_agent")
async def test_agent(chat: Any) -> None:
    agent = create_agent(chat, [weather])
    for result in (agent.invoke(ASKED), await agent.ainvoke(ASKED)):
        assert called(result) == ["weather"]
        assert ended_in_words(result)
    assert list(agent.stream(ASKED, stream_mode="messages"))


@component("langchain", "create_agent(response_format=...)")
def test_agent_with_an_object(chat: Any, served: Sandbox) -> None:
    served.reset()
    served.add_rule(Reply(tool_calls=[ToolCall("c2", "Trip", '{"city": "Ostra", "days": 2}')]), role="tool")
    served.add_rule(Reply(tool_calls=[ToolCall("c1", "weather", '{"city": "Ostra"}')]))
    result = create_agent(chat, [weather], response_format=ToolStrategy(Trip)).invoke(ASKED)
    assert called(result) == ["weather", "Trip"]
    assert result["structured_response"] == Trip(city="Ostra", days=2)


@component("langgraph", "create_react_agent")
def test_react_agent(chat: Any) -> None:
    result = create_react_agent(chat, [weather]).invoke(ASKED)
    assert called(result) == ["weather"]
    assert ended_in_words(result)


@component("langgraph", "StateGraph, ToolNode, tools_condition")
def test_graph_by_hand(chat: Any) -> None:
    bound = chat.bind_tools([weather])
    graph = StateGraph(MessagesState)
    graph.add_node("model", lambda state: {"messages": [bound.invoke(state["messages"])]})
    graph.add_node("tools", ToolNode([weather]))
    graph.set_entry_point("model")
    graph.add_conditional_edges("model", tools_condition)
    graph.add_edge("tools", "model")
    result = graph.compile().invoke(ASKED)
    assert [message.type for message in result["messages"]] == ["human", "ai", "tool", "ai"]


@component("langgraph", "InMemorySaver, threads")
@component("langgraph-checkpoint-sqlite", "SqliteSaver")
@pytest.mark.parametrize("saver", ["memory", "sqlite"])
def test_checkpoints(chat: Any, saver: str) -> None:
    thread: Any = {"configurable": {"thread_id": "1"}}
    with SqliteSaver.from_conn_string(":memory:") as sqlite:
        agent = create_agent(chat, [weather], checkpointer=sqlite if saver == "sqlite" else InMemorySaver())
        first = agent.invoke({"messages": [("human", "Weather in Ostra?")]}, thread)
        second = agent.invoke({"messages": [("human", "And in Vinnholm?")]}, thread)
    assert second["messages"][: len(first["messages"])] == first["messages"]
    assert called(second) == ["weather", "weather"]


@component("langgraph-supervisor", "create_supervisor")
def test_supervisor(chat: Any, served: Sandbox) -> None:
    from langgraph_supervisor import create_supervisor

    worker = create_agent(chat, [weather], name="forecaster")
    result = create_supervisor([worker], model=chat).compile().invoke(ASKED)
    assert "transfer_to_forecaster" in called(result)


@component("langgraph-swarm", "create_swarm, create_handoff_tool")
def test_swarm(chat: Any) -> None:
    from langgraph_swarm import create_handoff_tool, create_swarm

    first = create_agent(chat, [create_handoff_tool(agent_name="second")], name="first")
    second = create_agent(chat, [], name="second")
    result = create_swarm([first, second], default_active_agent="first").compile().invoke(ASKED)
    assert called(result) == ["transfer_to_second"]
    assert result["active_agent"] == "second"


@component("deepagents", "create_deep_agent")
def test_deep_agent(chat: Any, sandbox: Sandbox) -> None:
    from deepagents import create_deep_agent

    sandbox.reset()
    result = create_deep_agent(chat, tools=[weather], system_prompt="Be brief.").invoke(ASKED)
    assert ended_in_words(result)
    offered = {tool["function"]["name"] for tool in sandbox.last_request.json["tools"]}
    assert {"weather", "task", "write_file"} <= offered


@component("deepagents", "create_deep_agent(response_format=...)")
def test_deep_agent_with_an_object(chat: Any, sandbox: Sandbox) -> None:
    from deepagents import create_deep_agent

    sandbox.reset()
    sandbox.add_rule(Reply(tool_calls=[ToolCall("c1", "Trip", '{"city": "Ostra", "days": 2}')]))
    result = create_deep_agent(chat, response_format=ToolStrategy(Trip)).invoke(ASKED)
    assert result["structured_response"] == Trip(city="Ostra", days=2)


@component("trustcall", "create_extractor, new")
def test_extractor(chat: Any) -> None:
    from trustcall import create_extractor

    result = create_extractor(chat, tools=[Trip], tool_choice="Trip").invoke("Two days in Ostra.")
    assert [type(found) for found in result["responses"]] == [Trip]


@component("trustcall", "create_extractor, existing and inserts")
def test_extractor_updates(chat: Any, served: Sandbox) -> None:
    from trustcall import create_extractor

    extractor = create_extractor(chat, tools=[Trip], enable_inserts=True)
    given: Any = {"messages": "Two days in Ostra.", "existing": [("1", "Trip", {"city": "Vinnholm", "days": 1})]}
    result = extractor.invoke(given)
    assert result["messages"]
    offered = {tool["function"]["name"] for tool in next(iter(served.requests)).json["tools"]}
    assert offered == {"PatchDoc", "Trip"}


@component("langmem", "create_memory_manager")
def test_memory_manager(chat: Any) -> None:
    from langmem import create_memory_manager

    manager = create_memory_manager(chat, schemas=[Trip], enable_inserts=True)
    first = manager.invoke({"messages": [{"role": "user", "content": "I was in Ostra for two days."}]})
    assert [type(memory.content) for memory in first] == [Trip]
    assert manager.invoke({"messages": [{"role": "user", "content": "And in Vinnholm."}], "existing": first})


@component("langmem", "create_manage_memory_tool, create_search_memory_tool")
def test_memory_tools(chat: Any) -> None:
    from langmem import create_manage_memory_tool, create_search_memory_tool

    namespace = ("memories",)
    tools = [create_search_memory_tool(namespace), create_manage_memory_tool(namespace)]
    result = create_agent(chat, tools, store=InMemoryStore()).invoke(ASKED)
    assert called(result) == ["search_memory"]
    assert ended_in_words(result)


@component("langmem", "SummarizationNode")
def test_summary_node(chat: Any) -> None:
    from langmem.short_term import SummarizationNode

    node = SummarizationNode(model=chat, max_tokens=60, max_tokens_before_summary=20, max_summary_tokens=30)
    turns = [HumanMessage("word " * 30, id="1"), AIMessage("word " * 30, id="2"), HumanMessage("And?", id="3")]
    assert node.invoke({"messages": turns, "context": {}})["summarized_messages"]


@component("ag-ui-langgraph", "LangGraphAgent")
async def test_ag_ui(chat: Any) -> None:
    from ag_ui.core import RunAgentInput, UserMessage
    from ag_ui_langgraph import LangGraphAgent

    graph = create_agent(chat, [weather], checkpointer=InMemorySaver())
    asked = RunAgentInput(
        thread_id="1",
        run_id="1",
        state={},
        messages=[UserMessage(id="1", role="user", content="Weather?")],
        tools=[],
        context=[],
        forwarded_props={},
    )
    kinds = [event.type.value async for event in LangGraphAgent(name="agent", graph=graph).run(asked)]
    assert {"RUN_STARTED", "TOOL_CALL_START", "TEXT_MESSAGE_CONTENT", "RUN_FINISHED"} <= set(kinds)


SERVER = """
from mcp.server.fastmcp import FastMCP

server = FastMCP("weather")


@server.tool()
def weather(city: str) -> str:
    "Tell the weather."
    return f"Sunny in {city}."


server.run()
"""


@component("langchain-mcp-adapters", "MultiServerMCPClient")
async def test_mcp_tools(chat: Any, tmp_path: Any) -> None:
    from langchain_mcp_adapters.client import MultiServerMCPClient

    program = tmp_path / "server.py"
    program.write_text(SERVER)
    connection: Any = {"weather": {"transport": "stdio", "command": sys.executable, "args": [str(program)]}}
    tools = await MultiServerMCPClient(connection).get_tools()
    result = await create_agent(chat, tools).ainvoke(ASKED)
    assert called(result) == ["weather"]
    assert "Sunny" in str(result["messages"][2].content)
