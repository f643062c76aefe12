"""Objects from LLM Engine's current images, which ignore ``guided_json``: by a forced call on v2, not at all on v1."""

from __future__ import annotations

import asyncio
import json
from enum import Enum
from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.exceptions import OutputParserException
from llama_index.core import PromptTemplate
from llama_index.core.llms import ChatMessage
from llama_index.core.types import PydanticProgramMode
from pydantic import BaseModel

from linkspan import langchain, llama_index
from linkspan.conversation import ToolCall
from linkspan.errors import InvalidResponseError, NotFoundError, UnsupportedContentError
from linkspan_sandbox import LLMEngineOptions, Reply

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from linkspan_sandbox import Sandbox

MODEL = "llama-3-8b-instruct"


class City(BaseModel):
    """A city."""

    name: str
    people: int


class Mood(Enum):
    GOOD = "good"
    BAD = "very bad"


PARIS = '{"name": "Paris", "people": 2100000}'
CITY = City(name="Paris", people=2_100_000)
QUESTION = PromptTemplate("Name a city of {country}")
FORMAT = {"type": "json_schema", "json_schema": {"name": "City", "schema": City.model_json_schema()}}


@pytest.fixture
def make(sandbox: Sandbox) -> Iterator[Callable[..., Any]]:
    made: list[Any] = []

    def build(cls: Any, **fields: Any) -> Any:
        where = {"base_url": sandbox.llm_engine_url, "api_key": sandbox.api_key, "max_retries": 0}
        made.append(cls(**{"model": MODEL, **where, **fields}))
        return made[-1]

    yield build
    for model in made:
        model.close()


def calls(arguments: str, name: str = "City") -> Reply:
    return Reply(tool_calls=[ToolCall(None, name, arguments)])


def langchain_ways(model: Any, schema: Any) -> list[Any]:
    """What invoke, ainvoke, stream and astream end with."""
    shaped = model.with_structured_output(schema)

    async def in_a_loop() -> list[Any]:
        found = [await shaped.ainvoke("?"), [piece async for piece in shaped.astream("?")][-1]]
        await model.aclose()
        return found

    return [shaped.invoke("?"), list(shaped.stream("?"))[-1], *asyncio.run(in_a_loop())]


def llama_index_ways(llm: Any) -> list[Any]:
    """What the four ways to predict an object end with."""

    async def in_a_loop() -> list[Any]:
        whole = await llm.astructured_predict(City, QUESTION, country="France")
        stream = await llm.astream_structured_predict(City, QUESTION, country="France")
        found = [whole, [piece async for piece in stream][-1]]
        await llm.aclose()
        return found

    return [
        llm.structured_predict(City, QUESTION, country="France"),
        list(llm.stream_structured_predict(City, QUESTION, country="France"))[-1],
        *asyncio.run(in_a_loop()),
    ]


# ------------------------------------------------------------------ v2: a tool that must be called


@pytest.mark.parametrize("framework", ["langchain", "llama_index"])
def test_an_object_is_asked_for_by_a_forced_call(make: Callable[..., Any], sandbox: Sandbox, framework: str) -> None:
    sandbox.add_rule(calls(PARIS))
    if framework == "langchain":
        found = langchain_ways(make(langchain.ChatLLMEngine), City)
    else:
        found = llama_index_ways(make(llama_index.ChatLLMEngine))
    assert found == [CITY] * 4
    for request in sandbox.requests:
        body = request.json
        (tool,) = body["tools"]
        assert tool["function"]["parameters"]["required"] == ["name", "people"]
        assert body["tool_choice"] == {"type": "function", "function": {"name": "City"}}
        assert not body.keys() & {"guided_json", "response_format"}


def test_without_a_rule_the_stand_in_holds_to_the_schema(make: Callable[..., Any]) -> None:
    # As vLLM does with a forced call; were the schema sent in a field that it ignores, words would come.
    assert isinstance(make(langchain.ChatLLMEngine).with_structured_output(City).invoke("?"), City)
    assert isinstance(make(llama_index.ChatLLMEngine).structured_predict(City, QUESTION, country="x"), City)


def test_the_answer_is_a_text_as_of_any_other_response_format(make: Callable[..., Any], sandbox: Sandbox) -> None:
    sandbox.add_rule(calls(PARIS))
    message = make(langchain.ChatLLMEngine).bind(response_format=FORMAT).invoke("?")
    assert (message.text, message.tool_calls, message.response_metadata["finish_reason"]) == (PARIS, [], "stop")
    pieces = list(make(langchain.ChatLLMEngine).bind(response_format=FORMAT).stream("?"))
    assert len(pieces) > 3
    assert sum(pieces[1:], pieces[0]).text == PARIS
    response = make(llama_index.ChatLLMEngine).chat([ChatMessage("?")], response_format=FORMAT)
    assert response.message.content == PARIS


def test_choices_and_lists_are_an_argument_of_the_call(make: Callable[..., Any], sandbox: Sandbox) -> None:
    sandbox.add_rule(calls('{"answer": "very bad"}', "choice"), times=4)
    assert langchain_ways(make(langchain.ChatLLMEngine), Mood) == [Mood.BAD] * 4
    assert sandbox.last_request.json["tools"][0]["function"]["parameters"] == {
        "type": "object",
        "properties": {"answer": {"type": "string", "enum": ["good", "very bad"]}},
        "required": ["answer"],
    }
    sandbox.add_rule(calls('{"answer": [1, 2]}', "numbers"))
    numbers = {"title": "numbers", "type": "array", "items": {"type": "integer"}}
    assert langchain_ways(make(langchain.ChatLLMEngine), numbers) == [[1, 2]] * 4


def test_what_is_no_such_object_is_an_error(make: Callable[..., Any], sandbox: Sandbox) -> None:
    for answer in (calls('{"name": "Par'), calls('{"name": "Paris"}'), "Paris, of course."):
        sandbox.add_rule(answer, times=2)
        with pytest.raises(OutputParserException, match="City"):
            make(langchain.ChatLLMEngine).with_structured_output(City).invoke("?")
        with pytest.raises(InvalidResponseError, match="City"):
            make(llama_index.ChatLLMEngine).structured_predict(City, QUESTION, country="x")
    sandbox.add_rule(Reply(tool_calls=[ToolCall(None, "City", '{"name": "Par')], finish_reason="length"))
    with pytest.raises(OutputParserException, match="max_tokens"):
        make(langchain.ChatLLMEngine).with_structured_output(City).invoke("?")


@pytest.mark.parametrize("framework", ["langchain", "llama_index"])
def test_a_call_of_another_name_is_an_error_that_keeps_the_answer(
    make: Callable[..., Any], sandbox: Sandbox, framework: str
) -> None:
    sandbox.add_rule(calls(PARIS, "Town"))
    if framework == "langchain":
        model = make(langchain.ChatLLMEngine)
        ask = [
            lambda: model.with_structured_output(City).invoke("?"),
            lambda: list(model.with_structured_output(City).stream("?")),
        ]
        whole = model.with_structured_output(City, include_raw=True).invoke("?")
        assert (whole["parsed"], [call["name"] for call in whole["raw"].tool_calls]) == (None, ["Town"])
    else:
        llm = make(llama_index.ChatLLMEngine)
        ask = [
            lambda: llm.structured_predict(City, QUESTION, country="x"),
            lambda: list(llm.stream_structured_predict(City, QUESTION, country="x")),
        ]
    for way in ask:
        with pytest.raises((OutputParserException, InvalidResponseError), match=r"City.*called 'Town'") as caught:
            way()
        if isinstance(caught.value, InvalidResponseError):
            assert caught.value.partial is not None
            assert [call.name for call in caught.value.partial.tool_calls] == ["Town"]


@pytest.mark.parametrize("framework", ["langchain", "llama_index"])
def test_other_calls_and_words_beside_the_call_are_kept(
    make: Callable[..., Any], sandbox: Sandbox, framework: str
) -> None:
    both = [ToolCall(None, "Town", "{}"), ToolCall(None, "City", PARIS), ToolCall(None, "City", "{}")]
    sandbox.add_rule(Reply("<think>A city.</think>Here it is: ", tool_calls=both))
    if framework == "langchain":
        model = make(langchain.ChatLLMEngine, split_reasoning=True)
        assert langchain_ways(model, City) == [CITY] * 4
        pieces = list(model.bind(response_format=FORMAT).stream("?"))
        for message in (model.bind(response_format=FORMAT).invoke("?"), sum(pieces[1:], pieces[0])):
            assert (message.text, [call["name"] for call in message.tool_calls]) == (PARIS, ["Town", "City"])
            assert message.response_metadata["extra"] == {"text_beside_call": "Here it is: "}
            assert [part["reasoning"] for part in message.content_blocks if part["type"] == "reasoning"] == ["A city."]
    else:
        assert llama_index_ways(make(llama_index.ChatLLMEngine, split_reasoning=True)) == [CITY] * 4


def test_a_call_leaves_no_room_for_other_tools(make: Callable[..., Any], sandbox: Sandbox) -> None:
    model = make(langchain.ChatLLMEngine).bind_tools([City]).bind(response_format=FORMAT)
    with pytest.raises(UnsupportedContentError, match="leaves no room for other tools"):
        model.invoke("?")
    assert len(sandbox.requests) == 0


# ------------------------------------------------------------------ v1, and fields that do nothing


def test_the_prompt_api_says_before_the_network_that_it_cannot(make: Callable[..., Any], sandbox: Sandbox) -> None:
    by_template = {"api": "v1", "chat_template": "chatml"}
    prompt_chat = make(langchain.ChatLLMEngine, **by_template)
    for ask in (
        lambda: make(langchain.LLMEngine).with_structured_output(City),
        lambda: make(langchain.LLMEngine).with_structured_output(Mood),
        lambda: prompt_chat.with_structured_output(City).invoke("?"),
        lambda: make(llama_index.LLMEngine).structured_predict(City, QUESTION, country="x"),
    ):
        with pytest.raises(UnsupportedContentError, match=r'api="v2".*guided_decoding=True'):
            ask()
    assert len(sandbox.requests) == 0
    # In words it can be asked for, and the answer is checked.
    sandbox.add_rule(PARIS)
    assert prompt_chat.with_structured_output(City, method="json_mode").invoke("?") == CITY
    told = make(llama_index.LLMEngine, pydantic_program_mode=PydanticProgramMode.LLM)
    assert told.structured_predict(City, QUESTION, country="France") == CITY
    assert all('"people"' in request.json["prompt"] for request in sandbox.requests)
    assert not any("guided_json" in request.json for request in sandbox.requests)


@pytest.mark.parametrize("cls", [langchain.LLMEngine, langchain.ChatLLMEngine, llama_index.ChatLLMEngine])
def test_a_guided_field_that_nobody_obeys_is_refused(make: Callable[..., Any], sandbox: Sandbox, cls: Any) -> None:
    model = make(cls, guided_regex="[a-z]+")
    with pytest.raises(UnsupportedContentError, match=r"guided_regex has no effect .* set guided_decoding=True"):
        (model.invoke if hasattr(model, "invoke") else model.complete)("?")
    assert len(sandbox.requests) == 0


def test_old_images_are_asked_by_guided_json_if_told(sandboxes: Callable[..., Sandbox]) -> None:
    sandbox = sandboxes(llm_engine_options=LLMEngineOptions(obeys_guides=True))
    where = {"base_url": sandbox.llm_engine_url, "api_key": sandbox.api_key, "model": MODEL, "guided_decoding": True}
    with langchain.ChatLLMEngine(**where) as model, llama_index.LLMEngine(**where) as llm:
        assert isinstance(model.with_structured_output(City).invoke("?"), City)
        assert isinstance(llm.structured_predict(City, QUESTION, country="x"), City)
    assert all(request.json["guided_json"]["required"] == ["name", "people"] for request in sandbox.requests)


# ------------------------------------------------------------------ a model that is not there


@pytest.mark.parametrize("framework", ["langchain", "llama_index"])
@pytest.mark.parametrize("api", ["v1", "v2"])
def test_an_unknown_model_is_named_with_the_way_to_find_it(make: Callable[..., Any], framework: str, api: str) -> None:
    classes = {
        ("langchain", "v1"): langchain.LLMEngine,
        ("langchain", "v2"): langchain.ChatLLMEngine,
        ("llama_index", "v1"): llama_index.LLMEngine,
        ("llama_index", "v2"): llama_index.ChatLLMEngine,
    }
    model = make(classes[framework, api], model="nobody")
    whole = model.invoke if framework == "langchain" else model.complete
    streamed = model.stream if framework == "langchain" else model.stream_complete

    async def in_a_loop() -> None:
        try:
            await (model.ainvoke if framework == "langchain" else model.acomplete)("?")
        finally:
            await model.aclose()

    for ask in (lambda: whole("?"), lambda: list(streamed("?")), lambda: asyncio.run(in_a_loop())):
        with pytest.raises(NotFoundError) as caught:
            ask()
        said = str(caught.value)
        assert "nobody" in said
        assert "list_models()" in said
        assert "base_url" not in said


def test_a_wrong_address_is_another_matter(make: Callable[..., Any], sandbox: Sandbox) -> None:
    with pytest.raises(NotFoundError, match=r"no such route: base_url") as caught:
        make(langchain.ChatLLMEngine, base_url=f"{sandbox.llm_engine_url}/v2").invoke("?")
    assert MODEL not in json.dumps(str(caught.value))
