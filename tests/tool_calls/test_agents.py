"""Agents of both frameworks, every way to run one: no tool runs on half a call, and somebody hears of it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from langchain.agents import create_agent
from langchain_core.load import dumps, loads
from langchain_core.messages import AIMessageChunk, messages_from_dict, messages_to_dict
from llama_index.core.agent.workflow import AgentWorkflow, FunctionAgent
from llama_index.core.tools import FunctionTool

from linkspan.errors import InvalidResponseError
from linkspan.langchain import ChatScaleway
from linkspan.llama_index import Scaleway
from tests.tool_calls.conftest import KEY, TOOLS, answer_with, merged, piece, streamed

if TYPE_CHECKING:
    from collections.abc import Callable

    from linkspan_sandbox import Sandbox

CUT = '{"to": "Ada", "amount": 12'
MODEL = "llama-3.3-70b-instruct"


@pytest.fixture
def ran() -> list[tuple[str, int]]:
    return []


@pytest.fixture
def pay(ran: list[tuple[str, int]]) -> Callable[..., str]:
    def pay(to: str = "harbour", amount: int = 1) -> str:
        """Pay an invoice."""
        ran.append((to, amount))
        return "paid"

    return pay


@pytest.fixture
def where(sandbox: Sandbox) -> dict[str, Any]:
    answer_with(sandbox, piece(CUT, name="pay", id="call_a"), finish="length")
    return {"model": MODEL, "api_key": KEY, "base_url": sandbox.scaleway_url, "max_retries": 0, "timeout": 60}


@pytest.mark.parametrize("settings", [{}, {"streaming": True}, {"output_version": "v1"}], ids=str)
@pytest.mark.parametrize("mode", ["invoke", "ainvoke", "values", "messages", "events"])
def test_langchain(
    where: dict[str, Any], pay: Callable[..., str], ran: list[Any], settings: dict[str, Any], mode: str
) -> None:
    with ChatScaleway(**where, **settings) as model:
        agent: Any = create_agent(model, [pay])
        asked = {"messages": [("user", "Pay Ada 1250.")]}

        async def events() -> list[Any]:
            return [event async for event in agent.astream_events(asked, version="v2")]

        if mode == "invoke":
            last = agent.invoke(asked)["messages"][-1]
        elif mode == "ainvoke":
            last = asyncio.run(agent.ainvoke(asked))["messages"][-1]
        elif mode == "values":
            last = list(agent.stream(asked, stream_mode="values"))[-1]["messages"][-1]
        elif mode == "messages":
            last = merged([chunk for chunk, _ in agent.stream(asked, stream_mode="messages")])
        else:
            last = asyncio.run(events())[-1]["data"]["output"]["messages"][-1]
    assert ran == []
    assert last.tool_calls == []
    assert [(call["args"], call["id"]) for call in last.invalid_tool_calls] == [(CUT, "call_a")]
    assert "No tool was called. The arguments of pay were cut off by max_tokens: raise it." in str(last.text)


def test_v3_events_judge_as_invoke_does(where: dict[str, Any], sandbox: Sandbox) -> None:
    async def whole(model: ChatScaleway) -> Any:
        stream: Any = await model.bind_tools(TOOLS).astream_events("go", version="v3")
        return await stream.output

    for arguments in (CUT, "[1]", '{"to": "Ada"}}', '{"to": "Ada"}'):
        sandbox.reset()
        answer_with(sandbox, piece('{"to": "Ben"}', name="look_up", id="a"), piece(arguments, name="pay", id="b"))
        with ChatScaleway(**where) as model:
            expected = model.bind_tools(TOOLS).invoke("go")
            message = asyncio.run(whole(model))
        assert message.tool_calls == expected.tool_calls
        assert message.invalid_tool_calls == expected.invalid_tool_calls


def test_a_sum_of_chunks_is_judged_however_it_was_made(where: dict[str, Any], sandbox: Sandbox) -> None:
    sandbox.reset()
    head, rest = piece(CUT[:9], name="pay", id="call_a", index=0), piece(CUT[9:], index=0)
    sandbox.add_rule(streamed({"tool_calls": [head]}, {"tool_calls": [rest]}, finish="length"))
    with ChatScaleway(**where) as model:
        chunks: list[Any] = list(model.bind_tools(TOOLS).stream("go"))
    whole = merged(chunks)
    sums = {
        "one by one": whole,
        "all at once": chunks[0] + chunks[1:],
        "from the end": chunks[0] + merged(chunks[1:]),
        "to core's own chunk": AIMessageChunk("") + chunks[0] + chunks[1:],
        "the whole to core's own chunk": AIMessageChunk("") + whole,
        "core's own chunk to it": whole + AIMessageChunk(""),
        "stored as dicts": messages_from_dict(messages_to_dict([whole]))[0],
        "stored by core": loads(dumps(whole), allowed_objects="all"),
        "stored, and added to": messages_from_dict(messages_to_dict([whole]))[0] + AIMessageChunk(""),  # type: ignore[operator]
    }
    for how, message in sums.items():
        assert message.tool_calls == [], how
        assert len(message.invalid_tool_calls) == 1, how
    so_far = merged(chunks[:-1])
    assert so_far.tool_calls[0]["args"] == {"to": "Ada", "amount": 12}, "half-read arguments are there meanwhile"


@pytest.mark.parametrize("streaming", [True, False])
@pytest.mark.parametrize("workflow", [True, False])
def test_llama_index(
    where: dict[str, Any], pay: Callable[..., str], ran: list[Any], streaming: bool, workflow: bool
) -> None:
    async def ask() -> str:
        async with Scaleway(**where) as llm:
            agent: Any = FunctionAgent(name="payer", description="Pays.", tools=[pay], llm=llm, streaming=streaming)
            return str(await (AgentWorkflow(agents=[agent]) if workflow else agent).run("Pay Ada 1250."))

    with pytest.raises(InvalidResponseError, match="cut off by max_tokens: raise it") as caught:
        asyncio.run(ask())
    assert ran == []
    assert caught.value.partial is not None
    assert caught.value.partial.tool_calls[0].arguments == CUT


def test_llama_index_predict_and_call(where: dict[str, Any], pay: Callable[..., str], ran: list[Any]) -> None:
    with Scaleway(**where) as llm, pytest.raises(InvalidResponseError, match="cut off by max_tokens"):
        llm.predict_and_call([FunctionTool.from_defaults(pay)], "Pay Ada 1250.")
    assert ran == []
