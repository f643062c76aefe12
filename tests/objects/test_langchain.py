"""``with_structured_output``: by every class and method, in every way of asking, one whole object or one error."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Optional

import pytest
from langchain_core.exceptions import ModelInvalidRequestError, OutputParserException
from langchain_core.messages import HumanMessage
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, Json, RootModel
from pydantic import v1 as pydantic_v1
from typing_extensions import NotRequired, TypedDict

from linkspan import errors
from linkspan.conversation import ToolCall
from linkspan_sandbox import Reply
from tests.objects.conftest import LANGCHAIN, LANGCHAIN_WAYS, reply

if TYPE_CHECKING:
    from collections.abc import Callable

    from linkspan_sandbox import Sandbox


class Timetable(BaseModel):
    """Departures."""

    port: str
    departures: list[str] = []
    remark: Optional[str] = None  # noqa: UP045  # Python 3.10


class TimetableDict(TypedDict, total=False):
    """Departures."""

    port: str
    departures: list[str]


class Ship(TypedDict, total=False):
    """A ship."""

    name: str
    masts: int


class FleetDict(TypedDict):
    """A fleet."""

    port: str
    ships: list[Ship]
    flag: NotRequired[Ship]
    motto: NotRequired[Annotated[str, ..., "What they say."]]
    size: Annotated[int, 3, "How many."]


SCHEMA: dict[str, Any] = {
    "title": "Timetable",
    "description": "Departures.",
    "type": "object",
    "properties": {"port": {"type": "string"}, "departures": {"type": "array", "items": {"type": "string"}}},
    "required": ["port"],
}
WHOLE = '{"port": "Ostra", "departures": ["06:10", "09:45"]}'
FACTS = {"port": "Ostra", "departures": ["06:10", "09:45"]}

#: What the model wrote, why the server says that it ended, and what the error says.
UNFIT = [
    ('{"port": "Ostra", "departures": ["06:10", "09:4', "length", "cut off.*raise max_tokens"),
    ('{"port": "Ostra", "departures": ["06:10", "09:4', "stop", "cut off"),
    ('{"port": "Ostra"', "length", "cut off.*raise max_tokens"),
    (WHOLE + "\nThat is all.", "stop", "text after the JSON"),
    (WHOLE + WHOLE, "stop", "second JSON value"),
    ("Here it is: " + WHOLE, "stop", "text before"),
    ("Sorry.", "stop", "not JSON"),
    ('{"departures": []}', "stop", "port"),
    ('{"port": NaN}', "stop", "not JSON"),
]
#: Spellings of the same object.
FIT = [
    WHOLE,
    f"\n```json\n{WHOLE}\n```\n",
    f"```\n{WHOLE}\n```",
    f"```JSON\r\n{WHOLE}",
    f"  \ufeff{WHOLE} \n",
]


async def outcomes(plain: Any, raw: Any, *, few: bool = False) -> list[Any]:
    """What each way of asking gives, or only the two that differ most: the object, or the error.

    ``plain`` gives the object alone; ``raw`` is made with ``include_raw``.
    """

    def attempt(ask: Callable[[], Any]) -> Any:
        try:
            return ask()
        except (OutputParserException, errors.LinkspanError) as error:
            return error

    async def aattempt(ask: Callable[[], Any]) -> Any:
        try:
            return await ask()
        except (OutputParserException, errors.LinkspanError) as error:
            return error

    async def last(runnable: Any) -> Any:
        return [piece async for piece in runnable.astream("?")][-1]

    def of_raw(answer: Any) -> Any:
        assert set(answer) == {"raw", "parsed", "parsing_error"}
        assert (answer["parsed"] is None) != (answer["parsing_error"] is None)
        return answer["parsed"] if answer["parsing_error"] is None else answer["parsing_error"]

    def summed(pieces: list[Any]) -> Any:
        total = pieces[0]
        for piece in pieces[1:]:
            total = total + piece
        return of_raw(total)

    if few:
        return [attempt(lambda: plain.invoke("?")), summed([piece async for piece in raw.astream("?")])]
    return [
        attempt(lambda: plain.invoke("?")),
        await aattempt(lambda: plain.ainvoke("?")),
        plain.batch(["?"], return_exceptions=True)[0],
        (await plain.abatch(["?"], return_exceptions=True))[0],
        attempt(lambda: list(plain.stream("?"))[-1]),
        await aattempt(lambda: last(plain)),
        of_raw(raw.invoke("?")),
        of_raw(await raw.ainvoke("?")),
        of_raw(raw.batch(["?"])[0]),
        summed(list(raw.stream("?"))),
        summed([piece async for piece in raw.astream("?")]),
    ]


def shaped(model: Any, schema: Any, **options: Any) -> tuple[Any, Any]:
    """The model with structured output, plain and with ``include_raw``."""
    return (
        model.with_structured_output(schema, include_raw=False, **options),
        model.with_structured_output(schema, include_raw=True, **options),
    )


@pytest.fixture(params=LANGCHAIN_WAYS, ids="-".join)
def way(request: pytest.FixtureRequest) -> tuple[str, str]:
    kind, method = request.param
    return kind, method


@pytest.fixture
def ask(make: Callable[..., Any], sandbox: Sandbox, way: tuple[str, str]) -> Callable[..., Any]:
    """Ask a scripted model for an object in every way."""
    kind, method = way
    model = make(LANGCHAIN, kind)
    # Made once for each schema: this takes longer than an answer.
    made: dict[int, tuple[Any, Any]] = {}

    async def asked(schema: Any, answer: Reply, *, few: bool = True) -> list[Any]:
        sandbox.reset()
        sandbox.add_rule(answer)
        if id(schema) not in made:
            made[id(schema)] = shaped(model, schema, method=method)
        return await outcomes(*made[id(schema)], few=few)

    return asked


def name_for(way: tuple[str, str], name: str = "Timetable") -> str | None:
    return name if way[1] == "function_calling" else None


#: For each class its first way to an object: here a whole one is asked for in all eleven ways.
FIRST = {kind: (kind, method) for kind, method in reversed(LANGCHAIN_WAYS)}.values()
#: Text of a chat, call, and text of a completion model: here an error is asked for in all eleven.
KINDS_OF_ANSWERS = [("scaleway", "json_schema"), ("scaleway", "function_calling"), ("llm_engine", "json_schema")]
#: What is read in ways of its own: text and call, a call that stands for a schema, an answer without a finish reason,
#: and the text of a completion model. Here every spelling and schema is tried; elsewhere one of each.
READERS = [
    ("scaleway", "json_schema"),
    ("scaleway", "function_calling"),
    ("responses", "function_calling"),
    ("chat_v2", "json_schema"),
    ("chat_v1", "json_schema"),
    ("llm_engine", "json_schema"),
]
readers = pytest.mark.parametrize("way", READERS, ids="-".join, indirect=True)


def assert_unfit(found: list[Any], way: tuple[str, str], text: str, match: str) -> None:
    assert {type(error) for error in found} == {OutputParserException}, text
    for error in found:
        # Completion models tell no finish reason to what reads their text.
        told = match if way[0] not in {"chat_v1", "llm_engine", "datacrunch"} else match.split(".*", maxsplit=1)[0]
        assert re.search(told, str(error), re.DOTALL), (text, error)
        assert text[:20] in str(error)
        assert text in error.llm_output


async def test_one_whole_object_or_one_error(ask: Callable[..., Any], way: tuple[str, str]) -> None:
    by_call = name_for(way)
    at_the_limit = reply(WHOLE, by_call=by_call, finish_reason="length")
    found = await ask(Timetable, at_the_limit, few=way not in FIRST)
    assert found == [Timetable(**FACTS)] * (11 if way in FIRST else 2)
    text, finish_reason, match = UNFIT[0]
    answer = reply(text, by_call=by_call, finish_reason=finish_reason)
    assert_unfit(await ask(Timetable, answer, few=way not in KINDS_OF_ANSWERS), way, text, match)
    assert await ask(SCHEMA, reply(WHOLE, by_call=by_call)) == [FACTS] * 2
    text, finish_reason, match = UNFIT[4]
    assert_unfit(await ask(SCHEMA, reply(text, by_call=by_call)), way, text, match)
    found = await ask(Timetable, Reply(""))
    assert {type(error) for error in found} == {OutputParserException}
    assert all("the text is empty" in str(error) for error in found)


@readers
async def test_a_whole_object_in_any_spelling(ask: Callable[..., Any], way: tuple[str, str]) -> None:
    for text in FIT if name_for(way) is None else FIT[:1]:
        assert await ask(Timetable, reply(text, by_call=name_for(way))) == [Timetable(**FACTS)] * 2, text
    text = '{"port": "Os\ntra",\n "departures": ["06:10\t"]}'
    expected = Timetable(port="Os\ntra", departures=["06:10\t"])
    assert await ask(Timetable, reply(text, by_call=name_for(way))) == [expected] * 2


@readers
async def test_what_is_no_whole_object(ask: Callable[..., Any], way: tuple[str, str]) -> None:
    for schema, unfit in ((Timetable, UNFIT[1:]), (SCHEMA, UNFIT[8:])):
        for text, finish_reason, match in unfit:
            answer = reply(text, by_call=name_for(way), finish_reason=finish_reason)
            assert_unfit(await ask(schema, answer), way, text, match)


@readers
async def test_a_typed_dict_is_checked(ask: Callable[..., Any], way: tuple[str, str]) -> None:
    by_call = name_for(way, "TimetableDict")
    assert await ask(TimetableDict, reply(WHOLE, by_call=by_call)) == [FACTS] * 2
    found = await ask(TimetableDict, reply('{"port": 1}', by_call=by_call))
    assert {type(error) for error in found} == {OutputParserException}


@readers
async def test_a_typed_dict_says_what_may_be_missing(ask: Callable[..., Any], way: tuple[str, str]) -> None:
    fleet = {"port": "Ostra", "ships": [{"name": "Ada"}, {}]}
    answer = reply(json.dumps(fleet), by_call=name_for(way, "FleetDict"))
    assert await ask(FleetDict, answer) == [fleet] * 2
    found = await ask(FleetDict, reply('{"port": "Ostra"}', by_call=name_for(way, "FleetDict")))
    assert [type(error) for error in found] == [OutputParserException] * 2


def test_a_typed_dict_as_a_tool_says_what_may_be_missing(make: Callable[..., Any], sandbox: Sandbox) -> None:
    sandbox.add_rule("fine")
    make(LANGCHAIN, "scaleway").bind_tools([FleetDict]).invoke("?")
    parameters = sandbox.last_request.json["tools"][0]["function"]["parameters"]
    assert parameters["required"] == ["port", "ships"]
    assert parameters["properties"]["motto"] == {"type": "string", "description": "What they say."}
    assert "required" not in parameters["properties"]["ships"]["items"]


# ------------------------------------------------------------------ by tool call

BY_CALL = [kind for kind, method in LANGCHAIN_WAYS if method == "function_calling"]


@pytest.mark.parametrize("kind", BY_CALL)
async def test_another_answer_than_the_call(make: Callable[..., Any], sandbox: Sandbox, kind: str) -> None:
    model = make(LANGCHAIN, kind)
    a_list = Reply(tool_calls=[ToolCall("c", "Timetable", '["a"]')])
    answers = [
        (Reply("I cannot help with that."), "answered in words.*I cannot help"),
        (Reply("I would", finish_reason="length"), "answered in words.*length.*raise max_tokens"),
        (Reply(tool_calls=[ToolCall("c", "Price", "{}")]), "called 'Price' instead of 'Timetable'"),
        (Reply(tool_calls=[ToolCall("c", "Timetable", "")], finish_reason="length"), "no arguments.*raise max_tokens"),
        (a_list, "valid dictionary|an object"),
    ]
    # What is read before any schema is asked takes the same way for both.
    for schema, asked in ((Timetable, answers), (SCHEMA, [answers[0], (a_list, "an object|type 'object'")])):
        plain, raw = shaped(model, schema, method="function_calling")
        for answer, match in asked:
            sandbox.reset()
            sandbox.add_rule(answer)
            for error in await outcomes(plain, raw, few=True):
                assert isinstance(error, OutputParserException)
                assert re.search(match, str(error), re.DOTALL), error


@pytest.mark.parametrize("kind", BY_CALL)
def test_a_class_that_no_call_can_carry(make: Callable[..., Any], sandbox: Sandbox, kind: str) -> None:
    model = make(LANGCHAIN, kind)

    class Names(RootModel[list[str]]):
        """Names."""

    with pytest.raises(errors.ConfigurationError, match=r"Names.*class with one field, or use method='json_schema'"):
        model.with_structured_output(Names, method="function_calling")

    class Prices(RootModel[dict[str, int]]):
        """Prices."""

    sandbox.add_rule(Reply(tool_calls=[ToolCall("c", "Prices", '{"car": 31}')]))
    assert model.with_structured_output(Prices, method="function_calling").invoke("?") == Prices({"car": 31})


@pytest.mark.parametrize("kind", LANGCHAIN)
def test_what_is_refused_before_a_call_is_an_error_of_core_too(make: Callable[..., Any], kind: str) -> None:
    model = make(LANGCHAIN, kind)
    with pytest.raises(ModelInvalidRequestError, match="method"):
        model.with_structured_output(Timetable, method="telepathy")
    with pytest.raises(ModelInvalidRequestError, match="schema"):
        model.with_structured_output(int)
    if hasattr(model, "bind_tools"):
        with pytest.raises(ModelInvalidRequestError, match="tool_choice names the tool 'other'"):
            model.bind_tools([Timetable], tool_choice="other")
    for change in (
        lambda: make(LANGCHAIN, kind, temperature="hot"),
        lambda: model.model_copy(update={"temperature": "hot"}),
        lambda: setattr(model, "temperature", "hot"),
    ):
        with pytest.raises(ModelInvalidRequestError, match="temperature"):
            change()


@pytest.mark.parametrize("kind", LANGCHAIN)
def test_tools_and_objects_of_a_model_with_fallbacks(make: Callable[..., Any], sandbox: Sandbox, kind: str) -> None:
    sandbox.add_rule(lambda call: reply(WHOLE, by_call="Timetable" if call.tools else None))
    model: Any = make(LANGCHAIN, kind, base_url="http://127.0.0.1:9").with_fallbacks([make(LANGCHAIN, kind)])
    assert model.with_structured_output(Timetable).invoke("?") == Timetable(**FACTS)
    assert model.get_num_tokens_from_messages([HumanMessage("How late is it?")]) > 0
    if (kind, "function_calling") in LANGCHAIN_WAYS:
        (call,) = model.bind_tools([Timetable]).invoke("?").tool_calls
        assert call["args"] == FACTS


def test_a_keyword_that_a_method_sets_itself(make: Callable[..., Any], sandbox: Sandbox) -> None:
    tool = {"type": "function", "function": {"name": "look_up", "parameters": {"type": "object", "properties": {}}}}
    model = make(LANGCHAIN, "scaleway")
    for method, keyword in (("function_calling", "tools"), ("json_schema", "response_format")):
        with pytest.raises(errors.ConfigurationError, match=f"'{method}' sets {keyword} itself"):
            model.with_structured_output(Timetable, method=method, **{keyword: [tool]})
    sandbox.add_rule(WHOLE)
    assert model.with_structured_output(Timetable, tools=[tool]).invoke("?") == Timetable(**FACTS)
    assert sandbox.last_request.json["tools"] == [tool]


# ------------------------------------------------------------------ refusals, reasoning


#: The others' APIs have no such finish reason.
THAT_REFUSE = [way for way in LANGCHAIN_WAYS if way[0] in {"scaleway", "gray_swan", "chat_v2"}]


@pytest.mark.parametrize("way", THAT_REFUSE, ids="-".join, indirect=True)
async def test_a_blocked_answer_is_a_refusal(ask: Callable[..., Any], way: tuple[str, str]) -> None:
    for finish_reason, answer in (
        ("content_filter", reply(WHOLE, by_call=name_for(way), finish_reason="content_filter")),
        ("violation", Reply("No.", finish_reason="violation")),
    ):
        for error in await ask(Timetable, answer):
            assert isinstance(error, errors.ContentBlockedError)
            assert not isinstance(error, OutputParserException)
            assert error.code == finish_reason


def test_a_text_of_refusal(make: Callable[..., Any], sandbox: Sandbox) -> None:
    message = {"role": "assistant", "content": None, "refusal": "I will not."}
    body = {"id": "x", "model": "m", "choices": [{"index": 0, "finish_reason": "stop", "message": message}]}
    sandbox.add_rule(Reply(body=body))
    with pytest.raises(errors.ContentBlockedError, match="refusal") as caught:
        make(LANGCHAIN, "scaleway").with_structured_output(Timetable).invoke("?")
    assert caught.value.completion.refusal == "I will not."
    assert caught.value.raw_message.additional_kwargs["refusal"] == "I will not."


@pytest.mark.parametrize("kind", ["scaleway", "chat_v2"])
async def test_an_object_in_the_reasoning(make: Callable[..., Any], sandbox: Sandbox, kind: str) -> None:
    plain, raw = shaped(make(LANGCHAIN, kind), Timetable)
    for answer, match in [
        (Reply("", reasoning=WHOLE), None),
        (Reply("", reasoning="A timetable: " + WHOLE), "there is reasoning of 64 characters"),
        (Reply("", reasoning=WHOLE, finish_reason="length"), "raise max_tokens"),
        (Reply("", reasoning=WHOLE[:-1]), "there is reasoning"),
    ]:
        sandbox.reset()
        sandbox.add_rule(answer)
        for found in await outcomes(plain, raw, few=True):
            if match is None:
                assert found == Timetable(**FACTS)
            else:
                assert isinstance(found, OutputParserException)
                assert match in str(found)


# ------------------------------------------------------------------ what a class takes, it gets


class Strict(BaseModel):
    """JSON read as JSON, not as Python."""

    model_config = ConfigDict(strict=True)

    day: dt.date
    data: bytes
    places: tuple[int, int]


class Aliased(BaseModel):
    """Names that are no identifiers."""

    port_name: str = Field(alias="port name")
    inner: Json[list[int]]
    words: Annotated[list[str], BeforeValidator(lambda value: value.split())]


class Old(pydantic_v1.BaseModel):
    """A class of pydantic 1's."""

    port: str


@dataclass
class Record:
    """A dataclass."""

    port: str
    day: dt.date


OWN_JSON: list[tuple[type[Any], str, Any]] = [
    (
        Strict,
        '{"day": "2026-05-01", "data": "abc", "places": [1, 2]}',
        Strict(day=dt.date(2026, 5, 1), data=b"abc", places=(1, 2)),
    ),
    (
        Aliased,
        '{"port name": "O", "inner": "[1]", "words": "a b"}',
        Aliased(**{"port name": "O", "inner": "[1]", "words": "a b"}),
    ),
    (Old, '{"port": "O"}', Old(port="O")),
    (Record, '{"port": "O", "day": "2026-05-01"}', Record("O", dt.date(2026, 5, 1))),
]


# Beside the readers, the API that writes schemas anew for its grammars.
@pytest.mark.parametrize("way", [*READERS, ("chat_generate", "json_schema")], ids="-".join, indirect=True)
async def test_a_class_takes_its_own_json(ask: Callable[..., Any], way: tuple[str, str]) -> None:
    for schema, text, expected in OWN_JSON:
        assert await ask(schema, reply(text, by_call=name_for(way, schema.__name__))) == [expected] * 2, schema


def test_any_json_object(make: Callable[..., Any], sandbox: Sandbox) -> None:
    for kind in ("scaleway", "gray_swan", "chat_v2", "chat_v1", "chat_generate", "chat_messages"):
        sandbox.reset()
        sandbox.add_rule('{"any": ["thing"]}', times=1)
        sandbox.add_rule("[1]")
        shaped = make(LANGCHAIN, kind).with_structured_output(None, method="json_mode")
        assert shaped.invoke("?") == {"any": ["thing"]}
        with pytest.raises(OutputParserException, match="object"):
            shaped.invoke("?")


def test_a_stream_shows_the_object_grow(make: Callable[..., Any], sandbox: Sandbox, way: tuple[str, str]) -> None:
    kind, method = way
    # A schema is a required call here; a text instead of it is held back, because a call may follow.
    is_forced = way == ("chat_v2", "json_schema")
    sandbox.add_rule(reply(WHOLE, by_call="Timetable" if is_forced else name_for(way)))
    steps = list(make(LANGCHAIN, kind).with_structured_output(SCHEMA, method=method).stream("?"))
    assert len(steps) > 1
    assert steps[-1] == FACTS
    assert all(step.keys() <= FACTS.keys() for step in steps)


def test_a_limit_shows_in_the_count_where_there_is_no_finish_reason(make: Callable[..., Any], sandbox: Sandbox) -> None:
    sandbox.add_rule(WHOLE)
    model = make(LANGCHAIN, "chat_v1", max_tokens=3)
    with pytest.raises(OutputParserException, match=r"The token limit cut it off: raise max_tokens"):
        model.with_structured_output(Timetable).invoke("?")


def test_a_schema_that_cannot_be_is_refused_also_after_a_sound_one(make: Callable[..., Any]) -> None:
    model = make(LANGCHAIN, "scaleway")
    schema = {**SCHEMA, "properties": {"port": {"type": "string"}}}
    model.with_structured_output(schema)
    schema["properties"]["port"]["type"] = "words"
    for _ in range(2):
        with pytest.raises(errors.ConfigurationError, match=r"Not a valid JSON Schema, at \$\.properties\.port\.type"):
            model.with_structured_output(schema)
    schema["properties"]["port"] = {"type": "string", "default": dt.date(2026, 5, 1)}
    with pytest.raises(errors.ConfigurationError, match=r"cannot be written as JSON.*date"):
        model.with_structured_output(schema)


def test_json_mode_sends_the_schema_where_the_api_wants_one(make: Callable[..., Any], sandbox: Sandbox) -> None:
    sandbox.add_rule(WHOLE)
    for kind in ("chat_v1", "chat_generate", "chat_messages"):
        assert make(LANGCHAIN, kind).with_structured_output(Timetable, method="json_mode").invoke("?").port == "Ostra"
        assert "'departures'" in str(sandbox.last_request.json)


def test_the_ways_agree_in_threads_and_loops(make: Callable[..., Any], sandbox: Sandbox) -> None:
    """One shaped model, asked from a plain thread and from a loop at once."""
    sandbox.add_rule(WHOLE)
    shaped = make(LANGCHAIN, "scaleway").with_structured_output(Timetable)
    assert [shaped.invoke("?"), asyncio.run(shaped.ainvoke("?"))] == [Timetable(**FACTS)] * 2


async def test_one_of_two_calls_of_the_tool_can_be_read(make: Callable[..., Any], sandbox: Sandbox) -> None:
    model = make(LANGCHAIN, "gray_swan")
    sandbox.add_rule(Reply(tool_calls=[ToolCall("a", "Timetable", '{"port"'), ToolCall("b", "Timetable", WHOLE)]))
    found = await outcomes(*shaped(model, Timetable), few=True)
    assert found == [Timetable(**FACTS)] * 2
