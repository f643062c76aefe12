"""``with_structured_output`` and ``bind_tools``: schemas in unusual forms, and those that LangChain cannot read."""

from __future__ import annotations

import json
import pickle
from enum import Enum
from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.caches import InMemoryCache
from langchain_core.exceptions import OutputParserException
from pydantic import BaseModel
from typing_extensions import TypedDict

from linkspan import errors
from linkspan_sandbox import Reply
from tests.objects.conftest import LANGCHAIN

if TYPE_CHECKING:
    from collections.abc import Callable

    from linkspan_sandbox import Sandbox


class Port(BaseModel):
    """A port."""

    name: str


class Mixed(TypedDict):
    """A TypedDict with a class of pydantic in it, which core cannot read."""

    port: Port


@pytest.mark.filterwarnings("ignore:Mixing V1 and V2 models")
def test_what_core_cannot_read_is_refused_with_what_it_can(make: Callable[..., Any]) -> None:
    model = make(LANGCHAIN, "scaleway")
    for given in (Mixed, {"google_search": {}}, {"$ref": "#/$defs/A"}):
        for bind in (model.with_structured_output, lambda given: model.bind_tools([given])):
            with pytest.raises(errors.ConfigurationError, match="Cannot derive a JSON schema"):
                bind(given)


class Nameless:
    def __call__(self, port: int) -> None:
        """Open a port."""


def undefined(port: NoSuchType) -> None:  # type: ignore[name-defined]  # noqa: F821
    """Open a port."""


def test_what_has_no_name_or_no_types_is_refused(make: Callable[..., Any]) -> None:
    model = make(LANGCHAIN, "scaleway")
    for given in (Nameless(), undefined):
        for bind in (model.with_structured_output, lambda given: model.bind_tools([given])):
            with pytest.raises(errors.ConfigurationError, match=r"Cannot derive a JSON schema|has no name"):
                bind(given)
    for wrong in ({"name": 5, "parameters": {}}, {"name": "a", "description": "b", "parameters": "c"}):
        with pytest.raises(errors.ConfigurationError, match="of a schema must be"):
            model.with_structured_output(wrong)


CHOICE: dict[str, Any] = {"anyOf": [{"type": "object", "required": ["a"]}, {"type": "object", "required": ["b"]}]}
#: JSON Schemas without properties at their top: a value that fits, and one that does not.
WITHOUT_PROPERTIES: list[tuple[dict[str, Any], Any, Any]] = [
    ({"title": "Numbers", "type": "array", "items": {"type": "integer"}}, [1, 2], ["a"]),
    ({"title": "Prices", "type": "object", "additionalProperties": {"type": "integer"}}, {"car": 31}, {"car": "x"}),
    ({"title": "Choice", **CHOICE}, {"b": 1}, {"c": 1}),
    ({"title": "Size", "enum": ["s", "m"]}, "m", "xl"),
    ({"title": "Port", "$ref": "#/$defs/P", "$defs": {"P": {"type": "object", "required": ["p"]}}}, {"p": 1}, {}),
    ({"name": "Port", "schema": {"type": "object", "required": ["p"]}}, {"p": 1}, {}),
    ({"type": "json_schema", "json_schema": {"name": "Port", "schema": {"required": ["p"]}}}, {"p": 1}, {}),
]


@pytest.mark.parametrize(("schema", "fit", "unfit"), WITHOUT_PROPERTIES)
def test_a_schema_without_properties_is_sent_whole(
    make: Callable[..., Any], sandbox: Sandbox, schema: dict[str, Any], fit: Any, unfit: Any
) -> None:
    for kind, method in (("scaleway", "json_schema"), ("scaleway", "json_mode"), ("gray_swan", "json_mode")):
        sandbox.reset()
        sandbox.add_rule(json.dumps(fit), times=1)
        sandbox.add_rule(json.dumps(unfit))
        asked = make(LANGCHAIN, kind).with_structured_output(schema, method=method)
        assert asked.invoke("?") == fit
        with pytest.raises(OutputParserException):
            asked.invoke("?")
        if kind == "gray_swan" or method == "json_schema":
            rule = next(
                key for key in ("items", "additionalProperties", "anyOf", "enum", "required") if key in str(schema)
            )
            assert rule in str(sandbox.last_request.json)


def test_a_tool_of_a_schema_without_properties_is_sent_whole(make: Callable[..., Any], sandbox: Sandbox) -> None:
    sandbox.add_rule("fine")
    make(LANGCHAIN, "scaleway").bind_tools([WITHOUT_PROPERTIES[1][0]]).invoke("?")
    function = sandbox.last_request.json["tools"][0]["function"]
    assert function == {
        "name": "Prices",
        "parameters": {"type": "object", "additionalProperties": {"type": "integer"}},
    }


def test_json_mode_needs_no_title(make: Callable[..., Any], sandbox: Sandbox) -> None:
    sandbox.add_rule('{"port": "Ostra"}')
    nameless = {"type": "object", "properties": {"port": {"type": "string"}}, "required": ["port"]}
    for kind in ("scaleway", "gray_swan", "chat_v2", "chat_v1", "chat_generate", "chat_messages"):
        for schema in (nameless, {"type": "function", "function": {"name": "Port", "parameters": nameless}}):
            asked = make(LANGCHAIN, kind).with_structured_output(schema, method="json_mode")
            assert asked.invoke("?") == {"port": "Ostra"}, kind


class Reading(Enum):
    YES = "yes"
    BUT = "yes, but"


def test_a_choice_that_may_be_half_of_another(make: Callable[..., Any], sandbox: Sandbox) -> None:
    shaped = make(LANGCHAIN, "chat_v2").with_structured_output(Reading)
    sandbox.add_rule(Reply("yes", finish_reason="length"), times=1)
    sandbox.add_rule(Reply("yes, but", finish_reason="length"), times=1)
    sandbox.add_rule(Reply("yes", finish_reason="content_filter"), times=1)
    sandbox.add_rule("yes")
    with pytest.raises(OutputParserException, match=r"raise max_tokens.*'yes, but'"):
        shaped.invoke("?")
    assert shaped.invoke("?") is Reading.BUT
    with pytest.raises(errors.ContentBlockedError):
        shaped.invoke("?")
    assert shaped.invoke("?") is Reading.YES


@pytest.mark.parametrize("include_raw", [False, True])
@pytest.mark.parametrize("schema", [Port, {"title": "port", "type": "object", "required": ["name"]}])
def test_what_asks_for_objects_can_be_pickled(
    make: Callable[..., Any], sandbox: Sandbox, schema: Any, include_raw: bool
) -> None:
    asks = make(LANGCHAIN, "scaleway").with_structured_output(schema, include_raw=include_raw)
    again = pickle.loads(pickle.dumps(asks))
    sandbox.add_rule('{"name": "Ostra"}')
    found = again.invoke("?")
    assert dict(found["parsed"] if include_raw else found) == {"name": "Ostra"}
    sandbox.reset()
    sandbox.add_rule("{}")
    if include_raw:
        assert "name" in str(again.invoke("?")["parsing_error"])
    else:
        with pytest.raises(OutputParserException, match="name"):
            again.invoke("?")


def test_an_object_without_counts_from_langchains_cache(make: Callable[..., Any], sandbox: Sandbox) -> None:
    asks = make(LANGCHAIN, "gray_swan", cache=InMemoryCache(), streaming=True).with_structured_output(
        Port, method="json_mode"
    )
    choice = {"index": 0, "delta": {"content": '{"name": "Ostra"}'}, "finish_reason": "stop"}
    sandbox.add_rule(Reply(events=[{"choices": [choice]}, "[DONE]"]))
    assert [asks.invoke("?").name for _ in range(2)] == ["Ostra", "Ostra"]
    assert len(sandbox.requests) == 1
