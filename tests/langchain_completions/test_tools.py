"""Tools, images and agents on the chat routes: LLM Engine's v2 and TGI's Messages API."""

from __future__ import annotations

import base64
import sys
from typing import TYPE_CHECKING, Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, ToolMessage
from langchain_core.tools import tool
from pydantic import BaseModel

from linkspan import errors
from linkspan.conversation import ToolCall
from linkspan_sandbox import Reply, Sandbox, datacrunch, run
from tests.agents.wire import calls_of, chat_bodies, results_of
from tests.langchain_completions.conftest import KINDS, defaults

if TYPE_CHECKING:
    from collections.abc import Callable

PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(32)).decode()
CALLS = [ToolCall("c1", "departures", '{"port": "Östra"}'), ToolCall("c2", "fare", '{"vehicle": "car", "seats": 2}')]
QUESTION = {"messages": [HumanMessage("When does the ferry to Östra leave, and what does a car cost?")]}


@tool
def departures(port: str) -> str:
    """The departures to a port."""
    return f"{port}: 09:00"


@tool
def fare(vehicle: str, seats: int) -> dict[str, Any]:
    """The price of a crossing."""
    return {"vehicle": vehicle, "euros": 15.5 * seats}


TOOLS = [departures, fare]


class Trip(BaseModel):
    """A crossing."""

    port: str
    euros: float


@pytest.fixture(params=["chat_v2", "chat_messages"])
def chat_kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def script(sandbox: Sandbox) -> None:
    sandbox.add_rule(Reply(tool_calls=CALLS), role="user")
    sandbox.add_rule(Reply(["At nine,", " for 31", " euros."]), role="tool")


async def test_calls_in_every_way(chat: Any, sandbox: Sandbox) -> None:
    sandbox.add_rule(Reply(tool_calls=CALLS))
    bound = chat.bind_tools(TOOLS)
    streamed: AIMessageChunk | None = None
    for chunk in bound.stream("?"):
        streamed = chunk if streamed is None else streamed + chunk
    assert streamed is not None
    for message in (bound.invoke("?"), await bound.ainvoke("?"), streamed):
        assert [(call["id"], call["name"], call["args"]) for call in message.tool_calls] == [
            ("c1", "departures", {"port": "Östra"}),
            ("c2", "fare", {"vehicle": "car", "seats": 2}),
        ]
        assert not message.invalid_tool_calls
    offered = sandbox.last_request.json["tools"]
    assert [one["function"]["name"] for one in offered] == ["departures", "fare"]
    assert offered[1]["function"]["parameters"]["required"] == ["vehicle", "seats"]


@pytest.mark.parametrize(
    ("choice", "sent"),
    [
        ("auto", "auto"),
        ("any", "required"),
        (True, "required"),
        ("none", "none"),
        ("fare", {"type": "function", "function": {"name": "fare"}}),
    ],
)
def test_the_choice_among_several_tools(chat: Any, sandbox: Sandbox, choice: Any, sent: Any) -> None:
    """The generic wrapper took a choice with one tool only."""
    chat.bind_tools(TOOLS, tool_choice=choice).invoke("?")
    assert sandbox.last_request.json["tool_choice"] == sent
    with pytest.raises(errors.ConfigurationError, match="no_such_tool"):
        chat.bind_tools(TOOLS, tool_choice="no_such_tool")


def test_results_make_the_round_trip(chat: Any, sandbox: Sandbox) -> None:
    script(sandbox)
    bound = chat.bind_tools(TOOLS)
    asked = bound.invoke(QUESTION["messages"])
    results = [ToolMessage("09:00", tool_call_id="c1"), ToolMessage("no fare", tool_call_id="c2", status="error")]
    answer = bound.invoke([*QUESTION["messages"], asked, *results])
    assert answer.content == "At nine, for 31 euros."
    _, body = chat_bodies(sandbox)
    assert calls_of(body["messages"][1]) == [(call.id, call.name, call.arguments) for call in CALLS]
    assert results_of(body["messages"])["c1"] == "09:00"
    assert "no fare" in results_of(body["messages"])["c2"]


def test_tgis_old_tool_calls(sandbox: Sandbox) -> None:
    """Up to TGI 2.0 the call's id was the number 0 and its arguments an object."""
    with run(datacrunch_options=datacrunch.Options(version="1.4.5")) as old:
        old.add_rule(Reply(tool_calls=CALLS[1:]))
        with KINDS["chat_messages"][0](**defaults("chat_messages", old)) as chat:
            (call,) = chat.bind_tools(TOOLS).invoke("?").tool_calls
    assert (call["name"], call["args"]) == ("fare", {"vehicle": "car", "seats": 2})
    assert isinstance(call["id"], str)


def test_images(make: Callable[..., Any], sandbox: Sandbox) -> None:
    image = {"type": "image", "base64": PNG, "mime_type": "image/png"}
    link = {"type": "image", "url": "https://example.com/harbour.png"}
    make("chat_v2").invoke([HumanMessage([{"type": "text", "text": "What is it?"}, image, link])])
    (message,) = sandbox.last_request.json["messages"]
    assert [part["type"] for part in message["content"]] == ["text", "image_url", "image_url"]
    assert message["content"][1]["image_url"]["url"] == f"data:image/png;base64,{PNG}"
    assert message["content"][2]["image_url"]["url"] == "https://example.com/harbour.png"
    with pytest.raises(errors.UnsupportedContentError, match=r"[Ff]ile"):
        make("chat_v2").invoke([HumanMessage([{"type": "file", "base64": PNG, "mime_type": "application/pdf"}])])


def test_tools_and_a_shape_at_once_are_refused_by_tgi(make: Callable[..., Any], sandbox: Sandbox) -> None:
    bound = make("chat_messages").bind_tools(TOOLS, response_format=Trip)
    with pytest.raises(errors.UnsupportedContentError, match="not both"):
        bound.invoke("?")
    assert len(sandbox.requests) == 0


# ------------------------------------------------------------------ agents


@pytest.mark.parametrize("way", ["invoke", "ainvoke"])
async def test_an_agent_calls_both_tools_and_answers(chat: Any, sandbox: Sandbox, way: str) -> None:
    script(sandbox)
    agent = create_agent(chat, TOOLS, system_prompt="Be brief.")
    state = agent.invoke(QUESTION) if way == "invoke" else await agent.ainvoke(QUESTION)
    kinds = [HumanMessage, AIMessage, ToolMessage, ToolMessage, AIMessage]
    assert [type(message) for message in state["messages"]] == kinds
    assert state["messages"][-1].content == "At nine, for 31 euros."
    first, second = chat_bodies(sandbox)
    assert [message["role"] for message in first["messages"]] == ["system", "user"]
    assert calls_of(second["messages"][2]) == [(call.id, call.name, call.arguments) for call in CALLS]
    assert results_of(second["messages"]) == {"c1": "Östra: 09:00", "c2": '{"vehicle": "car", "euros": 31.0}'}


#: Before Python 3.11 asyncio's tasks take no context, with which langgraph hands its callbacks to the model.
needs_task_context = pytest.mark.skipif(sys.version_info < (3, 11), reason="langgraph streams no tokens here")


@pytest.mark.parametrize("way", ["stream", pytest.param("astream", marks=needs_task_context)])
async def test_an_agents_tokens_are_streamed(chat: Any, sandbox: Sandbox, way: str) -> None:
    script(sandbox)
    agent = create_agent(chat, TOOLS)
    if way == "stream":
        events = list(agent.stream(QUESTION, stream_mode="messages"))
    else:
        events = [event async for event in agent.astream(QUESTION, stream_mode="messages")]
    assert all(body["stream"] is True for body in chat_bodies(sandbox))
    chunks = [message for message, _ in events if isinstance(message, AIMessageChunk)]
    assert [chunk.content for chunk in chunks if chunk.content] == ["At nine,", " for 31", " euros."]
    names = [call["name"] for chunk in chunks for call in chunk.tool_call_chunks if call["name"]]
    assert names == ["departures", "fare"]


def test_an_agent_answers_with_an_object(make: Callable[..., Any], sandbox: Sandbox) -> None:
    sandbox.add_rule(
        Reply(tool_calls=[ToolCall(None, "Trip", '{"port": "Ostra", "euros": 31}')]),
        when=lambda call: call.tool_choice == "required",
    )
    from langchain.agents.structured_output import ToolStrategy

    state = create_agent(make("chat_v2"), TOOLS, response_format=ToolStrategy(Trip)).invoke(QUESTION)
    assert state["structured_response"] == Trip(port="Ostra", euros=31)


@pytest.mark.parametrize("chat_kind", ["chat_v1", "chat_generate"])
def test_an_agent_without_a_chat_route_is_told(chat: Any, sandbox: Sandbox) -> None:
    with pytest.raises(errors.UnsupportedContentError, match="ReAct"):
        create_agent(chat, TOOLS).invoke(QUESTION)
    assert len(sandbox.requests) == 0
