"""Answers of a shape: what is asked of the server, what comes back, and what becomes of an answer that does not fit."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any, Optional

import pytest
from langchain_core.exceptions import OutputParserException
from pydantic import BaseModel, Field
from typing_extensions import TypedDict

from linkspan import errors
from linkspan_sandbox import Sandbox, llm_engine, run
from tests.langchain_completions.conftest import CHATS, COMPLETIONS, KINDS, defaults

if TYPE_CHECKING:
    from collections.abc import Callable

PARIS = '{"name": "Paris", "inhabitants": 2100000}'


class City(BaseModel):
    """A city."""

    name: str
    inhabitants: int = Field(ge=0)


class CityDict(TypedDict):
    """A city."""

    name: str
    inhabitants: int


class Stop(BaseModel):
    port: City
    next: Optional[City] = None  # noqa: UP045  # Python 3.10


class Mood(Enum):
    GOOD = "good"
    VERY_BAD = "very bad (1)"


class Number(Enum):
    ONE = 1


SCHEMA = {"title": "city", "type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}

NOBODY = {"title": "n", "type": "object", "properties": {"inhabitants": {"minimum": 0}}, "required": ["inhabitants"]}


def sent_schema(kind: str, body: dict[str, Any]) -> dict[str, Any]:
    """The schema of a request, wherever its API has it; and nothing else that would hold the answer."""
    if kind in {"llm_engine", "chat_v1", "chat_v2"}:
        assert "response_format" not in body
        return dict(body["guided_json"])
    grammar = body["response_format"] if kind == "chat_messages" else body["parameters"]["grammar"]
    assert grammar["type"] == "json"
    return dict(grammar["value"])


@pytest.fixture(params=(*COMPLETIONS, *CHATS))
def any_kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def model(make: Callable[..., Any], any_kind: str) -> Any:
    return make(any_kind)


async def test_answers_are_objects(model: Any, any_kind: str, sandbox: Sandbox) -> None:
    sandbox.add_rule(PARIS)
    facts = {"name": "Paris", "inhabitants": 2_100_000}
    shaped = model.with_structured_output(City)
    assert [shaped.invoke("?"), list(shaped.stream("?"))[-1], shaped.batch(["?", "?"])[1]] == [City(**facts)] * 3
    assert await shaped.ainvoke("?") == City(**facts)
    for schema in (CityDict, SCHEMA):
        shaped = model.with_structured_output(schema)
        assert [shaped.invoke("?"), list(shaped.stream("?"))[-1]] == [facts] * 2, schema
    for request in sandbox.requests:
        assert sent_schema(any_kind, request.json)["properties"]["name"]["type"] == "string"


def test_the_server_holds_the_model_to_the_schema(model: Any) -> None:
    """Nothing is scripted: the sandbox answers with the smallest value of the schema that it was sent."""
    answer = model.with_structured_output(Stop).invoke("?")
    assert isinstance(answer, Stop)
    assert isinstance(answer.port, City)


def test_references_are_resolved_for_tgi(make: Callable[..., Any], sandbox: Sandbox) -> None:
    for kind in ("datacrunch", "chat_generate", "chat_messages"):
        make(kind).with_structured_output(Stop).invoke("?")
        schema = sent_schema(kind, sandbox.last_request.json)
        assert "$defs" not in schema
        assert schema["properties"]["port"]["properties"]["name"]["type"] == "string"


async def test_an_answer_that_does_not_fit(model: Any, sandbox: Sandbox) -> None:
    texts = ["no JSON", '{"name": "Par', '{"name": "Paris"}', "[]", '{"name": "P", "inhabitants": -1}']
    for schema, unfit in ((City, texts), (NOBODY, texts[-2:])):
        shaped = model.with_structured_output(schema)
        for text in unfit:
            sandbox.reset()
            sandbox.add_rule(text)
            with pytest.raises(OutputParserException, match="is not a valid") as caught:
                shaped.invoke("?")
            assert caught.value.llm_output == text
        with pytest.raises(OutputParserException):
            await shaped.ainvoke("?")


def test_a_misfit_names_the_field(llm: Any, sandbox: Sandbox) -> None:
    sandbox.add_rule('{"port": {"name": "Ostra", "inhabitants": -1}}')
    with pytest.raises(OutputParserException, match=r"port\.inhabitants: Input should be greater"):
        llm.with_structured_output(Stop).invoke("?")


async def test_include_raw(model: Any, any_kind: str, sandbox: Sandbox) -> None:
    sandbox.add_rule(PARIS, times=1)
    sandbox.add_rule("no JSON")
    shaped = model.with_structured_output(City, include_raw=True)

    def text_of(raw: Any) -> str:
        return str(raw) if any_kind in COMPLETIONS else str(raw.content)

    good = shaped.invoke("?")
    assert (text_of(good["raw"]), good["parsed"].name, good["parsing_error"]) == (PARIS, "Paris", None)
    bad = await shaped.ainvoke("?")
    assert (text_of(bad["raw"]), bad["parsed"]) == ("no JSON", None)
    assert isinstance(bad["parsing_error"], OutputParserException)


def test_schemas_that_cannot_be(model: Any, any_kind: str, sandbox: Sandbox) -> None:
    with pytest.raises((errors.ConfigurationError, errors.UnsupportedContentError)):
        model.with_structured_output({"no": "schema"}).invoke("?")
    if "data" in any_kind or "cont" in any_kind or any_kind in {"chat_generate", "chat_messages"}:
        with pytest.raises(errors.UnsupportedContentError, match="properties"):
            model.with_structured_output({"title": "t", "type": "array", "items": {}}).invoke("?")
    assert len(sandbox.requests) == 0


def test_shapes_are_traced(make: Callable[..., Any]) -> None:
    bound = make("llm_engine").with_structured_output(City).first
    assert bound.kwargs["ls_structured_output_format"]["schema"] is City


# ------------------------------------------------------------------ choices, fields of the APIs


async def test_choices(model: Any, any_kind: str, sandbox: Sandbox) -> None:
    sandbox.add_rule(" very bad (1)\n", times=2)
    sandbox.add_rule("middling")
    shaped = model.with_structured_output(Mood)
    assert shaped.invoke("?") is Mood.VERY_BAD
    assert await shaped.ainvoke("?") is Mood.VERY_BAD
    body = sandbox.last_request.json
    if any_kind in {"llm_engine", "chat_v1", "chat_v2"}:
        assert body["guided_choice"] == ["good", "very bad (1)"]
    else:
        grammar = body["response_format"] if any_kind == "chat_messages" else body["parameters"]["grammar"]
        assert grammar == {"type": "regex", "value": r"good|very\ bad\ \(1\)"}
    with pytest.raises(OutputParserException, match="good, very bad"):
        shaped.invoke("?")
    with pytest.raises(errors.ConfigurationError, match="must be strings"):
        model.with_structured_output(Number)
    raw = model.with_structured_output(Mood, include_raw=True).invoke("?")
    assert (raw["parsed"], type(raw["parsing_error"])) == (None, OutputParserException)


def test_a_chats_choice_has_one_method(make: Callable[..., Any]) -> None:
    with pytest.raises(errors.ConfigurationError, match="json_schema"):
        make("chat_v2").with_structured_output(Mood, method="function_calling")


def test_shapes_of_the_apis_own(make: Callable[..., Any], sandbox: Sandbox) -> None:
    make("llm_engine", guided_grammar="root ::= 'a'").invoke("x")
    assert sandbox.last_request.json["guided_grammar"] == "root ::= 'a'"
    with pytest.raises(errors.InvalidRequestError, match="guided_json"):
        make("llm_engine", guided_regex="a").with_structured_output(City).invoke("x")
    make("container", grammar={"type": "regex", "value": "[a-z]+"}).invoke("x")
    assert sandbox.last_request.json["parameters"]["grammar"] == {"type": "regex", "value": "[a-z]+"}


@pytest.mark.parametrize("kind", ["llm_engine", "chat_v1", "chat_v2"])
def test_deployments_that_ignore_the_schema_are_found_out(kind: str) -> None:
    deaf = llm_engine.Options(obeys_guides=False)
    with run(llm_engine_options=deaf) as sandbox, KINDS[kind][0](**defaults(kind, sandbox)) as model:
        shaped = model.with_structured_output(City)
        with pytest.raises(OutputParserException, match="is not a valid"):
            shaped.invoke("Say what you like.")


# ------------------------------------------------------------------ chats: the other methods


def test_json_mode_where_the_api_has_one(make: Callable[..., Any], sandbox: Sandbox) -> None:
    sandbox.add_rule(PARIS)
    answer = make("chat_v2").with_structured_output(City, method="json_mode").invoke("?")
    assert answer.name == "Paris"
    assert sandbox.last_request.json["response_format"] == {"type": "json_object"}


@pytest.mark.parametrize("chat_kind", ["chat_v2", "chat_messages"])
def test_function_calling(chat: Any, sandbox: Sandbox) -> None:
    answer = chat.with_structured_output(City, method="function_calling").invoke("?")
    assert isinstance(answer, City)
    assert sandbox.last_request.json["tools"][0]["function"]["name"] == "City"


def test_a_shape_beside_one_of_the_apis_own(make: Callable[..., Any]) -> None:
    with pytest.raises(errors.LinkspanError, match="guided_json"):
        make("chat_v2", guided_regex="a").with_structured_output(City).invoke("?")
    with pytest.raises(errors.LinkspanError, match="grammar"):
        make("chat_generate", grammar={"type": "regex", "value": "a"}).with_structured_output(City).invoke("?")
