"""Names of tools: on the wire one that every server takes, for the user always the one that was given."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain.agents import create_agent
from langchain.agents.structured_output import ToolStrategy
from langchain_core.messages import AIMessage
from llama_index.core import PromptTemplate
from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.tools import FunctionTool
from pydantic import BaseModel, ConfigDict

from linkspan.conversation import ChatRequest, Message, Tool, ToolCall
from linkspan.errors import ConfigurationError
from linkspan.providers.tool_names import ToolNames, wire_name
from linkspan_sandbox import Reply
from tests.history.conftest import Subject

if TYPE_CHECKING:
    from linkspan_sandbox import Sandbox

VALID = re.compile(r"[A-Za-z0-9_-]{1,64}")
T = TypeVar("T")
ODD = ["files.read", "files/read", "files_read", "Ferry fare (single)", "Page[int]", "Überfahrt", "検索", "x" * 90]


class Page(BaseModel, Generic[T]):
    """A page."""

    items: list[T]


class Fare(BaseModel):
    """A fare."""

    model_config = ConfigDict(title="Ferry fare (single)")
    euros: int


def tool(name: str) -> dict[str, Any]:
    function = {"name": name, "description": "x", "parameters": {"type": "object", "properties": {}}}
    return {"type": "function", "function": function}


def names_sent(sandbox: Sandbox) -> list[str]:
    return [offered["function"]["name"] for offered in sandbox.last_request.json["tools"]]


def calling(*numbers: int) -> Any:
    """Answer with calls of the tools of these numbers, under the names in which they were offered."""

    def reply(call: Any) -> Reply:
        return Reply(
            tool_calls=[ToolCall(f"c{number}", call.tools[number]["function"]["name"], "{}") for number in numbers]
        )

    return reply


@pytest.mark.parametrize("way", ["whole", "stream", "async", "astream"])
def test_names_go_out_valid_and_come_back_as_they_were(subject: Subject, way: str) -> None:
    subject.sandbox.add_rule(calling(*range(len(ODD))))
    answer = subject.ask("?", way=way, tools=[tool(name) for name in ODD])
    sent = names_sent(subject.sandbox)
    assert all(VALID.fullmatch(name) for name in sent)
    assert len(set(sent)) == len(ODD)
    assert sent[2] == "files_read"
    assert [name for name, _ in subject.calls(answer)] == ODD


def test_a_chosen_tool_and_earlier_calls_have_the_name_that_was_offered(subject: Subject) -> None:
    turns = ["?", [("c1", "files.read", {}), ("c2", "no longer offered", {})], ("c1", "a"), ("c2", "b"), "Again?"]
    tools = [tool("files_read"), tool("files.read")]
    subject.ask(*turns, tools=tools, tool_choice="files.read")
    body = subject.sandbox.last_request.json
    offered = names_sent(subject.sandbox)
    assert body["tool_choice"]["function"]["name"] == offered[1]
    calls = next(message["tool_calls"] for message in body["messages"] if message.get("tool_calls"))
    assert [call["function"]["name"] for call in calls] == [offered[1], "no_longer_offered"]


def test_two_tools_of_one_name_are_refused(subject: Subject) -> None:
    with pytest.raises(ConfigurationError, match=r"Two tools have the name 'read'"):
        subject.ask("?", tools=[tool("read"), tool("write"), tool("read")])


@pytest.mark.parametrize("way", ["whole", "stream"])
@pytest.mark.parametrize("schema", [Page[int], Fare])
def test_classes_with_odd_names_by_function(sandbox: Sandbox, api: str, schema: Any, way: str) -> None:
    subject = Subject("langchain", api, sandbox)
    shaped = subject.make().with_structured_output(schema, method="function_calling")
    found = shaped.invoke("?") if way == "whole" else list(shaped.stream("?"))[-1]
    assert isinstance(found, schema)
    assert VALID.fullmatch(names_sent(sandbox)[0])


@pytest.mark.parametrize("schema", [Page[int], Fare])
def test_classes_with_odd_names_by_schema(scaleway: Subject, schema: Any) -> None:
    model = scaleway.make()
    if scaleway.framework == "langchain":
        found = model.with_structured_output(schema, method="json_schema").invoke("?")
    else:
        found = model.structured_predict(schema, PromptTemplate("{x}"), x="?")
    assert isinstance(found, schema)
    assert VALID.fullmatch(scaleway.sandbox.last_request.json["response_format"]["json_schema"]["name"])


def test_a_response_format_given_by_hand_has_a_valid_name(scaleway: Subject) -> None:
    inner = {"name": "my answer!", "schema": {"type": "object", "properties": {}}}
    scaleway.ask("?", response_format={"type": "json_schema", "json_schema": inner})
    assert scaleway.sandbox.last_request.json["response_format"]["json_schema"]["name"] == "my_answer_"


@pytest.mark.parametrize("schema", [Page[int], Fare])
def test_llama_index_programs_by_function(sandbox: Sandbox, schema: Any) -> None:
    llm = Subject("llama_index", "GraySwan", sandbox).make()
    assert isinstance(llm.structured_predict(schema, PromptTemplate("{x}"), x="?"), schema)
    assert VALID.fullmatch(names_sent(sandbox)[0])


def test_an_agent_of_llama_index_with_odd_names(sandbox: Sandbox) -> None:
    ran = []
    read = FunctionTool.from_defaults(lambda: ran.append(1), name="files.read", description="Read.")
    sandbox.add_rule(calling(0), role="user")
    sandbox.add_rule("Done.", role="tool")

    async def talk() -> str:
        async with Subject("llama_index", "Scaleway", sandbox).make() as llm:
            return str(await FunctionAgent(tools=[read], llm=llm).run("?"))

    assert asyncio.run(talk()) == "Done."
    assert ran == [1]


def test_an_agent_with_a_generic_class_and_an_mcp_tool(sandbox: Sandbox) -> None:
    from langchain_core.tools import StructuredTool

    read = StructuredTool.from_function(lambda: "text", name="files.read", description="Read.")
    sandbox.add_rule(calling(0), role="user")
    sandbox.add_rule(
        lambda call: Reply(tool_calls=[ToolCall("c9", call.tools[1]["function"]["name"], '{"items": [1]}')]),
        role="tool",
    )
    model = Subject("langchain", "Scaleway", sandbox).make()
    agent = create_agent(model, [read], response_format=ToolStrategy(Page[int]))
    end = agent.invoke({"messages": [("user", "?")]})
    assert end["structured_response"] == Page[int](items=[1])
    assert next(message.name for message in end["messages"] if message.type == "tool") == "files.read"
    first = next(message for message in end["messages"] if isinstance(message, AIMessage))
    assert first.tool_calls[0]["name"] == "files.read"


@settings(max_examples=100)
@given(st.lists(st.text(max_size=80) | st.text("ab._ /", min_size=60, max_size=70), unique=True, max_size=6))
def test_any_names_are_valid_distinct_and_found_again(names: list[str]) -> None:
    request = ChatRequest("m", [Message("user")], tools=[Tool(name) for name in names])
    table = ToolNames(request)
    sent = [offered.name for offered in table.on_wire(request).tools]
    assert len(set(sent)) == len(names)
    assert all(VALID.fullmatch(name) for name in sent)
    assert all(name == sent[place] for place, name in enumerate(names) if VALID.fullmatch(name))
    again = table.on_wire(table.on_wire(request))
    assert [offered.name for offered in again.tools] == sent
    assert all(wire_name(name) == name for name in sent)
