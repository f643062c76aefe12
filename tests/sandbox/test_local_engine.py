"""The local engine with the real model, where its weights are on this machine."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any, Literal

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import wrap_model_call
from langchain_core.tools import StructuredTool
from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.tools import FunctionTool
from pydantic import BaseModel

from linkspan.errors import InvalidResponseError
from linkspan.langchain import ChatScaleway
from linkspan.llama_index import Scaleway
from linkspan_sandbox import local_model
from tests.sandbox.conftest import Client, text_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from linkspan_sandbox import Sandbox


@pytest.fixture
def client(local: Sandbox) -> Client:
    return Client(local.scaleway_url)


def test_answers_and_says_which_model_it_is(client: Client) -> None:
    answer = client.post("Name the capital of France.", temperature=0, max_tokens=4).json()
    assert answer["model"] == local_model.MODEL_NAME
    assert answer["choices"][0]["message"]["content"].strip()
    assert answer["usage"]["total_tokens"] == answer["usage"]["prompt_tokens"] + answer["usage"]["completion_tokens"]


def test_streams_what_it_would_answer(client: Client) -> None:
    options = {"temperature": 0, "max_tokens": 4}
    whole = client.post("Count to five.", **options).json()["choices"][0]
    *events, usage, marker = client.events("Count to five.", stream_options={"include_usage": True}, **options)
    assert text_of(events) == whole["message"]["content"]
    assert events[-1]["choices"][0]["finish_reason"] == whole["finish_reason"]
    assert usage["usage"]["completion_tokens"] <= 4
    assert marker == "[DONE]"


def test_keeps_to_a_schema(client: Client) -> None:
    schema = {"type": "object", "properties": {"city": {"type": "string", "maxLength": 2}}, "required": ["city"]}
    wanted = {"type": "json_schema", "json_schema": {"name": "place", "schema": schema}}
    answer = client.post("Which city?", response_format=wanted, max_tokens=60, temperature=0).json()
    assert list(json.loads(answer["choices"][0]["message"]["content"])) == ["city"]


def test_gives_log_probabilities(client: Client) -> None:
    choice = client.post("Hello", logprobs=True, top_logprobs=2, max_tokens=3, temperature=0).json()["choices"][0]
    tokens = choice["logprobs"]["content"]
    assert "".join(entry["token"] for entry in tokens) == choice["message"]["content"]
    assert {len(entry["top_logprobs"]) for entry in tokens} == {2}
    assert all(entry["logprob"] <= 0 for entry in tokens)


def test_says_what_it_cannot_do(client: Client) -> None:
    picture = [{"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}]
    refusals = [
        (client.post(messages=[{"role": "user", "content": picture}]), "takes text only, not image_url"),
        (client.post("word " * 5000), "maximum context length is 4096 tokens"),
    ]
    for response, words in refusals:
        assert response.status_code == 400
        assert words in response.json()["error"]["message"]


# --------------------------------------------------------------------------- forced tools, and calls that are cut off

WHERE = {"model": "llama-3.3-70b-instruct", "api_key": "any", "max_retries": 0, "temperature": 0}
ran: list[str] = []


class Note(BaseModel):
    """A note."""

    place: Literal["the old harbour of Ostra, behind the lighthouse"]
    remark: Literal["none"] = "none"


def note_down(place: str, remark: str = "none") -> str:
    """Note a place down."""
    ran.append(f"{place} {remark}")
    return "noted"


def test_calls_a_forced_tool(local: Sandbox) -> None:
    model = ChatScaleway(base_url=local.scaleway_url, max_tokens=60, **WHERE)
    answer = model.bind_tools([Note], tool_choice="required").invoke("Where?")
    (call,) = answer.tool_calls
    assert Note.model_validate(call["args"])
    assert answer.response_metadata["finish_reason"] == "tool_calls"


@pytest.mark.parametrize("limit", [3, 8])
def test_agents_run_no_tool_on_half_a_call(local: Sandbox, limit: int) -> None:
    ran.clear()
    model = ChatScaleway(base_url=local.scaleway_url, max_tokens=limit, **WHERE)

    @wrap_model_call
    def force(request: Any, ask: Callable[[Any], Any]) -> Any:
        return ask(request.override(tool_choice="required"))

    tool = StructuredTool.from_function(note_down, args_schema=Note)
    agent = create_agent(model, [tool], middleware=[force])
    asked: Any = {"messages": [("user", "Where?")]}
    assert "cut off by max_tokens" in agent.invoke(asked)["messages"][-1].content
    list(agent.stream(asked, stream_mode="messages"))

    of_llama_index = FunctionTool.from_defaults(note_down, fn_schema=Note)

    async def talk(streaming: bool) -> None:
        options = {"base_url": local.scaleway_url, "max_tokens": limit, **WHERE}
        async with Scaleway(additional_kwargs={"tool_choice": "required"}, **options) as llm:
            await FunctionAgent(tools=[of_llama_index], llm=llm, streaming=streaming).run("Where?")

    for streaming in (True, False):
        with pytest.raises(InvalidResponseError, match="cut off by max_tokens"):
            asyncio.run(talk(streaming))
    assert ran == []
