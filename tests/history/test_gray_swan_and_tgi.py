"""What frameworks' own components ask of Gray Swan and TGI, in both frameworks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from langchain.agents import create_agent
from langchain.agents.structured_output import ToolStrategy
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from llama_index.core.base.llms.types import ChatMessage as LlamaIndexMessage
from llama_index.core.base.llms.types import ImageBlock, MessageRole, TextBlock, ToolCallBlock
from pydantic import BaseModel

from linkspan import langchain, llama_index
from linkspan.conversation import ToolCall
from linkspan.errors import UnsupportedContentError
from linkspan_sandbox import Reply
from tests.history.conftest import Subject
from tests.history.test_names import calling, tool

if TYPE_CHECKING:
    from linkspan_sandbox import Sandbox

TOOLS = [tool("look"), tool("book")]
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


class Trip(BaseModel):
    """A trip."""

    port: str


@pytest.fixture
def gray_swan(framework: str, sandbox: Sandbox) -> Subject:
    return Subject(framework, "GraySwan", sandbox)


@pytest.fixture
def tgi(framework: str, sandbox: Sandbox) -> Subject:
    return Subject(framework, "DataCrunch", sandbox)


# --------------------------------------------------------------------------- any tool


def test_any_of_several_tools_is_left_to_the_model_if_you_say_so(gray_swan: Subject) -> None:
    model = gray_swan.make(any_tool="auto")
    gray_swan.ask("?", model=model, tools=TOOLS, tool_choice="required")
    assert gray_swan.sandbox.last_request.json["tool_choice"] == "auto"
    gray_swan.ask("?", model=model, tools=TOOLS[:1], tool_choice="required")
    assert gray_swan.sandbox.last_request.json["tool_choice"]["function"]["name"] == "look"
    gray_swan.ask("?", model=model, tools=TOOLS, tool_choice="book")
    assert gray_swan.sandbox.last_request.json["tool_choice"]["function"]["name"] == "book"


def test_any_of_several_tools_is_refused_by_default_and_the_setting_named(gray_swan: Subject) -> None:
    with pytest.raises(UnsupportedContentError, match="any_tool='auto'"):
        gray_swan.ask("?", tools=TOOLS, tool_choice="required")


def test_an_agent_with_a_response_format(sandbox: Sandbox) -> None:
    model = Subject("langchain", "GraySwan", sandbox).make(any_tool="auto")
    sandbox.add_rule(lambda call: Reply(tool_calls=[ToolCall("c", "Trip", '{"port": "Ostra"}')]))

    def look(port: str) -> str:
        """Look."""
        return port

    end = create_agent(model, [look], response_format=ToolStrategy(Trip)).invoke({"messages": [("user", "?")]})
    assert end["structured_response"] == Trip(port="Ostra")


# --------------------------------------------------------------------------- one call at a time


@pytest.mark.parametrize("api", ["GraySwan", "DataCrunch"])
@pytest.mark.parametrize("way", ["whole", "stream", "async", "astream"])
def test_parallel_tool_calls_is_not_sent_and_false_keeps_the_first_call(
    framework: str, sandbox: Sandbox, api: str, way: str
) -> None:
    subject = Subject(framework, api, sandbox)
    sandbox.add_rule(calling(0, 1))
    both = subject.ask("?", way=way, tools=TOOLS, parallel_tool_calls=True)
    assert [name for name, _ in subject.calls(both)] == ["look", "book"]
    assert "parallel_tool_calls" not in sandbox.last_request.json
    first = subject.ask("?", way=way, tools=TOOLS, parallel_tool_calls=False)
    assert [name for name, _ in subject.calls(first)] == ["look"]
    assert "parallel_tool_calls" not in sandbox.last_request.json


# --------------------------------------------------------------------------- names of speakers


def test_names_of_speakers_are_written_into_the_text_if_you_say_so(gray_swan: Subject) -> None:
    model = gray_swan.make(speaker_names="text")
    if gray_swan.framework == "langchain":
        named: Any = HumanMessage("Ostra is open.", name="researcher")
    else:
        named = LlamaIndexMessage("Ostra is open.", additional_kwargs={"name": "researcher"})
    gray_swan.ask("?", named, model=model)
    assert gray_swan.sent()[1] == {"role": "user", "content": "researcher: Ostra is open."}
    with pytest.raises(UnsupportedContentError, match="speaker_names='text'"):
        gray_swan.ask(named)


# --------------------------------------------------------------------------- what asks for nothing

IDLE = {
    "n": 1,
    "stream": False,
    "logprobs": False,
    "top_logprobs": 0,
    "best_of": 1,
    "echo": False,
    "logit_bias": {},
    "presence_penalty": 0.0,
    "frequency_penalty": 0,
}


@pytest.mark.parametrize("cls", ["LLMEngine", "DataCrunch"])
def test_prompt_apis_take_what_asks_for_nothing(framework: str, sandbox: Sandbox, cls: str) -> None:
    where = {"LLMEngine": ("llm_engine_url", "llama-2-7b"), "DataCrunch": ("tgi_url", "m")}[cls]
    made = getattr(langchain if framework == "langchain" else llama_index, cls)
    llm = made(base_url=getattr(sandbox, where[0]), model=where[1], api_key="any-key", max_retries=0)
    sandbox.add_rule("fine")
    for parallel in (True, False):
        idle = {**IDLE, "parallel_tool_calls": parallel}
        answer = llm.invoke("x", **idle) if framework == "langchain" else llm.complete("x", **idle).text
        assert answer == "fine"
    body = str(sandbox.last_request.json)
    assert "parallel" not in body
    assert "logprobs'" not in body
    assert "'n'" not in body
    with pytest.raises(UnsupportedContentError):
        llm.invoke("x", n=2) if framework == "langchain" else llm.complete("x", n=2)


def test_chats_of_gray_swan_take_what_asks_for_nothing(gray_swan: Subject) -> None:
    gray_swan.ask("?", **IDLE)
    assert not IDLE.keys() & gray_swan.sandbox.last_request.json.keys()


# --------------------------------------------------------------------------- TGI


def test_pictures_of_tools(tgi: Subject) -> None:
    call: Any
    if tgi.framework == "langchain":
        call = AIMessage("", tool_calls=[{"id": "c1", "name": "look", "args": {}}])
        block = {"type": "image", "base64": PNG, "mime_type": "image/png"}
        result: Any = ToolMessage([{"type": "text", "text": "a map"}, block], tool_call_id="c1")
    else:
        blocks = [TextBlock(text=""), ToolCallBlock(tool_call_id="c1", tool_name="look", tool_kwargs={})]
        call = LlamaIndexMessage(role=MessageRole.ASSISTANT, blocks=blocks)
        picture = ImageBlock(url=f"data:image/png;base64,{PNG}")
        extra = {"tool_call_id": "c1"}
        result = LlamaIndexMessage(
            role=MessageRole.TOOL, blocks=[TextBlock(text="a map"), picture], additional_kwargs=extra
        )
    tgi.ask("?", call, result)
    parts = tgi.sent()[2]["content"]
    assert [part["type"] for part in parts] == ["text", "image_url"]


def test_a_text_beside_calls_is_a_turn_of_its_own(tgi: Subject) -> None:
    if tgi.framework == "langchain":
        turn: Any = AIMessage("Looking.", tool_calls=[{"id": "c1", "name": "look", "args": {}}])
    else:
        blocks = [TextBlock(text="Looking."), ToolCallBlock(tool_call_id="c1", tool_name="look", tool_kwargs={})]
        turn = LlamaIndexMessage(role=MessageRole.ASSISTANT, blocks=blocks)
    tgi.ask("?", turn, ("c1", "open"))
    _, said, called, _ = tgi.sent()
    assert said == {"role": "assistant", "content": "Looking."}
    assert called["content"] is None
    assert called["tool_calls"][0]["function"]["name"] == "look"


def test_a_tool_is_described_without_references(tgi: Subject) -> None:
    schema = {
        "type": "object",
        "properties": {"trip": {"$ref": "#/$defs/Trip"}},
        "$defs": {"Trip": {"type": "object", "properties": {"port": {"type": "string"}}}},
    }
    described = {"type": "function", "function": {"name": "book", "description": "x", "parameters": schema}}
    tgi.ask("?", tools=[described])
    sent = tgi.sandbox.last_request.json["tools"][0]["function"]["parameters"]
    assert "$" not in str(sent)
    assert sent["properties"]["trip"]["properties"] == {"port": {"type": "string"}}
