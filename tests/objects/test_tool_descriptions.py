"""A tool in every form that the frameworks know, and what a server gets of it: a description that stands on its own."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, Literal, Union

import pytest
from langchain_core.tools import StructuredTool
from llama_index.core.tools import FunctionTool
from pydantic import BaseModel, Field, RootModel
from typing_extensions import TypedDict

from linkspan.errors import ConfigurationError, UnsupportedContentError
from linkspan.json_schema import resolve_references, standing_alone, takes_object
from linkspan_sandbox import Reply
from tests.objects.conftest import LANGCHAIN, LLAMA_INDEX

if TYPE_CHECKING:
    from collections.abc import Callable

    from linkspan_sandbox import Sandbox

PARAMETERS = {
    "type": "object",
    "properties": {"port": {"$ref": "#/$defs/Port"}},
    "required": ["port"],
    "$defs": {"Port": {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}},
}


class Port(BaseModel):
    """A port."""

    name: str


class fare(BaseModel):  # noqa: N801  # the tool's name
    """Look a fare up."""

    port: Port


class PortDict(TypedDict):
    """A port."""

    name: str


class FareDict(TypedDict):
    port: PortDict


FareDict.__name__ = "fare"
FareDict.__doc__ = "Look a fare up."


def fare_function(port: Port) -> str:
    """Look a fare up."""
    return port.name


fare_function.__name__ = "fare"
# LlamaIndex reads annotations as they are, not as what they name.
fare_function.__annotations__ = {"port": Port, "return": str}

FACTS: dict[str, Any] = {"name": "fare", "description": "Look a fare up."}
DICTS: dict[str, dict[str, Any]] = {
    "Chat Completions": {"type": "function", "function": {**FACTS, "parameters": PARAMETERS}},
    "Responses": {"type": "function", **FACTS, "parameters": PARAMETERS},
}
LANGCHAIN_TOOLS: dict[str, Any] = {
    **DICTS,
    "function dict": {**FACTS, "parameters": PARAMETERS},
    "JSON schema": {"title": "fare", "description": "Look a fare up.", **PARAMETERS},
    "Anthropic": {**FACTS, "input_schema": PARAMETERS},
    "pydantic": fare,
    "TypedDict": FareDict,
    "function": fare_function,
    "BaseTool": StructuredTool.from_function(fare_function, name="fare"),
    "tool with a JSON schema, as from MCP": StructuredTool(
        name="fare", description="Look a fare up.", args_schema=PARAMETERS, func=lambda **_: None
    ),
}
LLAMA_INDEX_TOOLS: dict[str, Any] = {
    **DICTS,
    "function": fare_function,
    "FunctionTool": FunctionTool.from_defaults(fare_function, name="fare", description="Look a fare up."),
    "schema": FunctionTool.from_defaults(lambda **_: None, name="fare", description="Look a fare up.", fn_schema=fare),
}


def check(sandbox: Sandbox, *, standing_alone: bool) -> None:
    function = sandbox.last_request.json["tools"][0]["function"]
    assert function["name"] == "fare"
    assert "Look a fare up." in function["description"]
    port = function["parameters"]["properties"]["port"]
    if standing_alone:
        assert port["properties"]["name"]["type"] == "string"
        assert "$" not in str(function)
    else:
        assert port.get("$ref", "#/$defs/Port") == "#/$defs/Port"


@pytest.mark.parametrize("form", LANGCHAIN_TOOLS)
def test_langchain(make: Callable[..., Any], sandbox: Sandbox, form: str) -> None:
    for kind in ("scaleway", "gray_swan", "chat_v2", "chat_messages"):
        sandbox.reset()
        sandbox.add_rule(Reply("ok"))
        make(LANGCHAIN, kind).bind_tools([LANGCHAIN_TOOLS[form]]).invoke("?")
        check(sandbox, standing_alone=kind in {"gray_swan", "chat_messages"})


@pytest.mark.parametrize("form", LLAMA_INDEX_TOOLS)
def test_llama_index(make: Callable[..., Any], sandbox: Sandbox, form: str) -> None:
    for kind in ("scaleway", "gray_swan", "chat_llm_engine", "chat_datacrunch"):
        sandbox.reset()
        sandbox.add_rule(Reply("ok"))
        make(LLAMA_INDEX, kind).complete("?", tools=[LLAMA_INDEX_TOOLS[form]])
        check(sandbox, standing_alone=kind in {"gray_swan", "chat_datacrunch"})


@pytest.mark.parametrize("schema", list(DICTS.values()), ids=list(DICTS))
def test_a_tool_dict_describes_an_object_too(make: Callable[..., Any], sandbox: Sandbox, schema: Any) -> None:
    sandbox.add_rule('{"port": {"name": "Ostra"}}')
    answer = make(LANGCHAIN, "scaleway").with_structured_output(schema).invoke("?")
    assert answer == {"port": {"name": "Ostra"}}
    assert sandbox.last_request.json["response_format"]["json_schema"]["name"] == "fare"


@pytest.mark.parametrize(
    ("tool", "error", "said"),
    [
        ({"type": "bash_20250124", "name": "bash"}, UnsupportedContentError, "type 'bash_20250124' runs on its own"),
        ({"type": "custom", "name": "patch", "description": "Patch."}, UnsupportedContentError, "type 'custom'"),
        ({"type": "custom", "custom": {"name": "patch"}}, UnsupportedContentError, "type 'custom'"),
        (functools.partial(fare_function, port=None), ConfigurationError, "has no name: call it in a function"),
        (
            {"type": "function", "function": {"name": "names", "parameters": {"type": "array"}}},
            ConfigurationError,
            "names must be the schema of an object",
        ),
    ],
)
def test_what_is_no_function_is_refused(
    make: Callable[..., Any], sandbox: Sandbox, tool: Any, error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        make(LANGCHAIN, "scaleway").bind_tools([tool]).invoke("?")
    with pytest.raises(error, match=said):
        make(LLAMA_INDEX, "scaleway").complete("?", tools=[tool])
    assert not sandbox.requests


def test_a_list_as_arguments_is_refused(make: Callable[..., Any]) -> None:
    class Ports(RootModel[list[str]]):
        """Ports."""

    with pytest.raises(ConfigurationError, match="Ports must be the schema of an object"):
        make(LANGCHAIN, "scaleway").bind_tools([Ports]).invoke("?")


@pytest.mark.parametrize("facts", [{"type": "custom", "input_schema": PARAMETERS}, {"inputSchema": PARAMETERS}])
def test_tools_in_other_forms_keep_their_parameters(
    make: Callable[..., Any], sandbox: Sandbox, facts: dict[str, Any]
) -> None:
    sandbox.add_rule("ok")
    make(LANGCHAIN, "scaleway").bind_tools([{**FACTS, **facts}]).invoke("?")
    check(sandbox, standing_alone=False)
    make(LLAMA_INDEX, "scaleway").complete("?", tools=[{**FACTS, **facts}])
    check(sandbox, standing_alone=False)


def test_a_tool_without_a_name(make: Callable[..., Any], sandbox: Sandbox) -> None:
    nameless = {"type": "function", "function": {"parameters": {}}}
    with pytest.raises(ConfigurationError, match="name"):
        make(LANGCHAIN, "scaleway").bind_tools([nameless]).invoke("?")
    with pytest.raises(ConfigurationError, match="name"):
        make(LLAMA_INDEX, "scaleway").complete("?", tools=[nameless])
    assert len(sandbox.requests) == 0


class Tree(BaseModel):
    """A tree."""

    branches: list[Tree]


def test_a_tool_that_refers_to_itself(make: Callable[..., Any], sandbox: Sandbox) -> None:
    tool = {"type": "function", "function": {"name": "grow", "parameters": Tree.model_json_schema()}}
    sandbox.add_rule("ok")
    for kinds, kind in ((LANGCHAIN, "chat_messages"), (LLAMA_INDEX, "chat_datacrunch")):
        with pytest.raises(UnsupportedContentError, match="refers to itself"):
            ask_with(make(kinds, kind), tool)
    assert len(sandbox.requests) == 0
    ask_with(make(LLAMA_INDEX, "gray_swan"), FunctionTool.from_defaults(lambda **_: None, name="grow", fn_schema=Tree))
    parameters = sandbox.last_request.json["tools"][0]["function"]["parameters"]
    assert parameters["properties"]["branches"]["items"] == {"$ref": "#/$defs/Tree"}
    assert parameters["$defs"]["Tree"]["type"] == "object"


def test_the_recursion_of_a_class_is_sent(make: Callable[..., Any], sandbox: Sandbox) -> None:
    def grow(tree: Tree) -> str:
        """Grow."""
        return str(tree)

    grow.__annotations__ = {"tree": Tree, "return": str}
    sandbox.add_rule("ok")
    tools = [
        (LANGCHAIN, Tree),
        (LANGCHAIN, StructuredTool.from_function(grow)),
        (LANGCHAIN, Tree.model_json_schema()),
        (LLAMA_INDEX, FunctionTool.from_defaults(grow)),
        (LLAMA_INDEX, FunctionTool.from_defaults(lambda **_: None, name="grow", fn_schema=Tree)),
    ]
    for kinds, tool in tools:
        ask_with(make(kinds, "scaleway"), tool)
        parameters = sandbox.last_request.json["tools"][0]["function"]["parameters"]
        assert parameters["$defs"]["Tree"]["properties"]["branches"]["items"] == {"$ref": "#/$defs/Tree"}
    make(LANGCHAIN, "scaleway").with_structured_output(Tree, include_raw=True).invoke("?")
    sent = sandbox.last_request.json["response_format"]["json_schema"]
    assert sent["schema"]["$defs"]["Tree"]["properties"]["branches"]["items"] == {"$ref": "#/$defs/Tree"}


def ask_with(model: Any, tool: Any) -> None:
    if hasattr(model, "bind_tools"):
        model.bind_tools([tool]).invoke("?")
    else:
        model.complete("?", tools=[tool])


# ------------------------------------------------------------------ the resolver itself


class Ferry(BaseModel):
    kind: Literal["ferry"]
    deck: Port


class Train(BaseModel):
    kind: Literal["train"]


class Trip(BaseModel):
    """A trip."""

    by: Union[Ferry, Train] = Field(discriminator="kind")  # Python 3.10


def test_choices_by_a_kind_need_no_definitions() -> None:
    resolved = resolve_references(Trip.model_json_schema())
    assert [choice["title"] for choice in resolved["properties"]["by"]["oneOf"]] == ["Ferry", "Train"]
    assert "$" not in str(resolved)


def test_properties_that_are_named_like_keywords() -> None:
    schema = {"type": "object", "properties": {"$ref": {"type": "string"}, "$defs": {}, "discriminator": {}}}
    assert resolve_references(schema) == schema


@pytest.mark.parametrize(
    ("schema", "takes"),
    [
        ({}, True),
        ({"type": "object"}, True),
        ({"type": ["object", "null"]}, True),
        ({"type": "array", "items": {}}, False),
        ({"$ref": "#/$defs/A", "$defs": {"A": {"type": "object"}}}, True),
        ({"$ref": "#/$defs/A", "$defs": {"A": {"type": "string"}}}, False),
        ({"anyOf": [{"type": "string"}, {"type": "object"}]}, True),
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, False),
        ({"allOf": [{"type": "object"}]}, True),
        ({"enum": ["a"]}, False),
        (Tree.model_json_schema(), True),
    ],
)
def test_whether_arguments_can_be_of_a_schema(schema: dict[str, Any], takes: bool) -> None:
    assert takes_object(schema) is takes
    assert takes_object(standing_alone(schema)) is takes
