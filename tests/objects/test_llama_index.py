"""``structured_predict`` and its kin: by every class, mode and way of asking, one whole object or one error."""

from __future__ import annotations

import datetime as dt  # noqa: TC003  # pydantic reads the annotations
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Optional

import pytest
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.program import FunctionCallingProgram
from llama_index.core.prompts import PromptTemplate
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, Json, RootModel

from linkspan.conversation import ToolCall
from linkspan.errors import ConfigurationError, ContentBlockedError, InvalidResponseError, LinkspanError
from linkspan_sandbox import Reply
from tests.objects.conftest import LLAMA_INDEX, LLAMA_INDEX_WAYS, reply

if TYPE_CHECKING:
    from collections.abc import Callable

    from linkspan_sandbox import Sandbox


class Crew(BaseModel):
    """Who is aboard."""

    names: list[str]
    captain: Optional[str] = None  # noqa: UP045  # Python 3.10


@dataclass
class Sailor:
    name: str


PROMPT = PromptTemplate("Who is aboard? {text}")
WHOLE = '{"names": ["Ada", "Ben", "Cleo"]}'
CREW = Crew(names=["Ada", "Ben", "Cleo"])

#: What the model wrote, why the server says that it ended, and what the error says.
UNFIT = [
    ('{"names": ["Ada", "Ben", "Cl', "length", "cut off.*raise max_tokens"),
    ('{"names": ["Ada", "Ben"]', "stop", "cut off"),
    (WHOLE + " That is all.", "stop", "text after the JSON"),
    (WHOLE + WHOLE, "stop", "second JSON value"),
    ("Here: " + WHOLE, "stop", "text before"),
    ("I had rather not.", "stop", "not JSON"),
    ('{"captain": "Ada"}', "stop", "names"),
]
FIT = [WHOLE, f"```json\n{WHOLE}\n```", f"```\n{WHOLE}", f" \n{WHOLE} "]


async def outcomes(llm: Any, output_cls: Any, *, few: bool = False) -> list[Any]:
    """What each way of asking gives, or only the two that differ most: the object, or the error."""

    def attempt(ask: Callable[[], Any]) -> Any:
        try:
            return ask()
        except LinkspanError as error:
            return error

    async def aattempt(ask: Callable[[], Any]) -> Any:
        try:
            return await ask()
        except LinkspanError as error:
            return error

    async def last(stream: Any) -> Any:
        return [piece async for piece in await stream][-1]

    async def last_raw() -> Any:
        return [piece async for piece in await shaped.astream_chat([ChatMessage("Who?")])][-1].raw

    asked = (output_cls, PROMPT)
    first = [
        attempt(lambda: llm.structured_predict(*asked, text="?")),
        await aattempt(lambda: last(llm.astream_structured_predict(*asked, text="?"))),
    ]
    if few:
        return first
    shaped = llm.as_structured_llm(output_cls)
    return [
        *first,
        await aattempt(lambda: llm.astructured_predict(*asked, text="?")),
        attempt(lambda: list(llm.stream_structured_predict(*asked, text="?"))[-1]),
        attempt(lambda: shaped.chat([ChatMessage("Who?")]).raw),
        attempt(lambda: list(shaped.stream_chat([ChatMessage("Who?")]))[-1].raw),
        (await aattempt(last_raw)),
    ]


@pytest.fixture(params=LLAMA_INDEX_WAYS, ids="-".join)
def way(request: pytest.FixtureRequest) -> tuple[str, str]:
    kind, mode = request.param
    return kind, mode


@pytest.fixture
def ask(make: Callable[..., Any], sandbox: Sandbox, way: tuple[str, str]) -> Callable[..., Any]:
    """Ask a scripted model for an object in every way."""
    llm = make(LLAMA_INDEX, way[0], pydantic_program_mode=way[1])

    async def asked(output_cls: Any, answer: Reply, *, few: bool = True) -> list[Any]:
        sandbox.reset()
        sandbox.add_rule(answer)
        return await outcomes(llm, output_cls, few=few)

    return asked


def by_call(way: tuple[str, str], name: str = "Crew") -> str | None:
    return name if way[1] == "function" or way == ("gray_swan", "default") else None


#: For each class its first way to an object: here a whole one is asked for in all seven ways.
FIRST = {kind: (kind, mode) for kind, mode in reversed(LLAMA_INDEX_WAYS)}.values()
#: Text of a chat, call, and text of a completion model: here an error is asked for in all seven.
KINDS_OF_ANSWERS = [("scaleway", "default"), ("scaleway", "function"), ("llm_engine", "default")]
#: What is read in ways of its own: these, the call of the Responses API, and one that stands for a schema. Here every
#: spelling and class is tried; elsewhere one of each.
READERS = [*KINDS_OF_ANSWERS, ("responses", "function"), ("chat_llm_engine", "default")]
readers = pytest.mark.parametrize("way", READERS, ids="-".join, indirect=True)


def assert_unfit(found: list[Any], way: tuple[str, str], text: str, match: str) -> None:
    for error in found:
        assert type(error) is InvalidResponseError, text
        # The prompt API of LLM Engine gives no finish reason.
        told = match.split(".*", maxsplit=1)[0] if way[0] in {"llm_engine", "datacrunch"} else match
        assert re.search(told, str(error), re.DOTALL), (text, error)
        assert "Ben" not in str(error)
        assert (error.partial.text or error.partial.tool_calls[0].arguments).strip() == text.strip()


async def test_one_whole_object_or_one_error(ask: Callable[..., Any], way: tuple[str, str]) -> None:
    found = await ask(Crew, reply(WHOLE, by_call=by_call(way)), few=way not in FIRST)
    assert found == [CREW] * (7 if way in FIRST else 2)
    text, finish_reason, match = UNFIT[0]
    answer = reply(text, by_call=by_call(way), finish_reason=finish_reason)
    assert_unfit(await ask(Crew, answer, few=way not in KINDS_OF_ANSWERS), way, text, match)


@readers
async def test_a_whole_object_in_any_spelling(ask: Callable[..., Any], way: tuple[str, str]) -> None:
    for text in FIT[1:] if by_call(way) is None else ():
        assert await ask(Crew, reply(text)) == [CREW] * 2
    assert await ask(Crew, reply('{"names": ["A\nda"]}', by_call=by_call(way))) == [Crew(names=["A\nda"])] * 2


@readers
async def test_what_is_no_whole_object(ask: Callable[..., Any], way: tuple[str, str]) -> None:
    for text, finish_reason, match in UNFIT[1:]:
        answer = reply(text, by_call=by_call(way), finish_reason=finish_reason)
        assert_unfit(await ask(Crew, answer), way, text, match)


#: The others' APIs have no such finish reason.
THAT_REFUSE = [way for way in LLAMA_INDEX_WAYS if way[0] in {"scaleway", "gray_swan", "chat_llm_engine"}]
#: The others' have no reasoning apart from the text.
THAT_REASON = [way for way in LLAMA_INDEX_WAYS if way[0] in {"scaleway", "chat_llm_engine"} and not by_call(way)]


@pytest.mark.parametrize("way", THAT_REFUSE, ids="-".join, indirect=True)
async def test_a_blocked_answer_says_so(ask: Callable[..., Any], way: tuple[str, str]) -> None:
    for answer in (
        Reply("", finish_reason="content_filter"),
        reply(WHOLE, by_call=by_call(way), finish_reason="violation"),
    ):
        for error in await ask(Crew, answer, few=way not in KINDS_OF_ANSWERS):
            assert type(error) is ContentBlockedError
            assert error.completion.finish_reason == error.code


@pytest.mark.parametrize("way", THAT_REASON, ids="-".join, indirect=True)
async def test_an_object_in_the_reasoning(ask: Callable[..., Any], way: tuple[str, str]) -> None:
    assert await ask(Crew, Reply("", reasoning=WHOLE)) == [CREW] * 2
    for reasoning, finish_reason in (("Hm. " + WHOLE, "stop"), (WHOLE, "length")):
        for error in await ask(Crew, Reply("", reasoning=reasoning, finish_reason=finish_reason)):
            assert "there is reasoning" in str(error)
            assert ("raise max_tokens" in str(error)) == (finish_reason == "length")


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


OWN_JSON: list[tuple[type[BaseModel], str]] = [
    (Strict, '{"day": "2026-05-01", "data": "abc", "places": [1, 2]}'),
    (Aliased, '{"port name": "O", "inner": "[1]", "words": "a b"}'),
]


# Beside the readers, an API that writes schemas anew for its grammars.
@pytest.mark.parametrize("way", [*READERS, ("datacrunch", "default")], ids="-".join, indirect=True)
async def test_a_class_takes_its_own_json(ask: Callable[..., Any], way: tuple[str, str]) -> None:
    for output_cls, text in OWN_JSON:
        expected = output_cls.model_validate_json(text)
        assert await ask(output_cls, reply(text, by_call=by_call(way, output_cls.__name__))) == [expected] * 2


# ------------------------------------------------------------------ by tool call


@pytest.mark.parametrize("kind", [kind for kind, mode in LLAMA_INDEX_WAYS if by_call((kind, mode))])
async def test_another_answer_than_the_call(make: Callable[..., Any], sandbox: Sandbox, kind: str) -> None:
    llm = make(LLAMA_INDEX, kind, pydantic_program_mode="function")
    answers = [
        (Reply("I had rather not."), "answered in words"),
        (Reply("I would", finish_reason="length"), "answered in words.*length.*raise max_tokens"),
        (Reply(""), "did not call 'Crew'"),
        (Reply(tool_calls=[ToolCall("c", "Price", '{"names": ["Ada"]}')]), "called 'Price' instead of 'Crew'"),
        (Reply(tool_calls=[ToolCall("c", "Crew", '{"names": "many"}')]), "names: .*array"),
        (Reply(tool_calls=[ToolCall("c", "Crew", "")], finish_reason="length"), "no arguments.*raise max_tokens"),
    ]
    for answer, match in answers:
        sandbox.reset()
        sandbox.add_rule(answer)
        for error in await outcomes(llm, Crew, few=True):
            assert type(error) is InvalidResponseError
            assert re.search(match, str(error), re.DOTALL), error


@pytest.mark.parametrize("kind", [kind for kind, mode in LLAMA_INDEX_WAYS if by_call((kind, mode))])
async def test_cores_own_program_never_ends_with_half_an_object(
    make: Callable[..., Any], sandbox: Sandbox, kind: str
) -> None:
    # It goes on after what a chunk raises, so the stream itself has to end in the error.
    llm = make(LLAMA_INDEX, kind)
    sandbox.add_rule(Reply(tool_calls=[ToolCall("c", "Crew", UNFIT[0][0])], finish_reason="length"))
    for parallel in (False, True):
        program = FunctionCallingProgram.from_defaults(
            output_cls=Crew, prompt=PROMPT, llm=llm, allow_parallel_tool_calls=parallel
        )
        with pytest.raises(InvalidResponseError, match=r"Crew were cut off.*raise it"):
            list(program.stream_call(text="?"))
        with pytest.raises(InvalidResponseError, match=r"Crew were cut off.*raise it"):
            [step async for step in await program.astream_call(text="?")]


class Leaf(BaseModel):
    """A leaf."""

    colour: str


class Branch(RootModel[list[Leaf]]):
    """Leaves."""


class Tree(BaseModel):
    """A tree."""

    leaves: list[Leaf]
    best: Optional[Leaf] = None  # noqa: UP045  # Python 3.10


class Nested(RootModel[Tree]):
    """A tree behind a name."""


async def test_a_class_that_no_call_can_carry(make: Callable[..., Any], sandbox: Sandbox) -> None:
    llm = make(LLAMA_INDEX, "gray_swan")
    with pytest.raises(ConfigurationError, match="class with one field"):
        llm.structured_predict(Branch, PROMPT, text="?")
    assert len(sandbox.requests) == 0
    sandbox.add_rule('[{"colour": "red"}]')
    by_schema = make(LLAMA_INDEX, "scaleway")
    assert await outcomes(by_schema, Branch, few=True) == [Branch([Leaf(colour="red")])] * 2


@pytest.mark.parametrize("output_cls", [Tree, Nested])
def test_what_is_sent_of_a_class_stands_on_its_own(make: Callable[..., Any], sandbox: Sandbox, output_cls: Any) -> None:
    llm = make(LLAMA_INDEX, "gray_swan")
    text = '{"leaves": [{"colour": "red"}]}'
    sandbox.add_rule(reply(text, by_call=output_cls.__name__))
    assert llm.structured_predict(output_cls, PROMPT, text="?") == output_cls.model_validate_json(text)
    parameters = sandbox.last_request.json["tools"][0]["function"]["parameters"]
    assert parameters["properties"]["leaves"]["items"]["properties"]["colour"]["type"] == "string"
    assert "$" not in str(parameters)


def test_modes_that_cannot_be(make: Callable[..., Any], sandbox: Sandbox) -> None:
    for kind, mode in (("scaleway", "openai"), ("datacrunch", "function")):
        with pytest.raises(ConfigurationError, match="pydantic_program_mode"):
            make(LLAMA_INDEX, kind, pydantic_program_mode=mode).structured_predict(Crew, PROMPT, text="?")
    with pytest.raises(ConfigurationError, match="tools"):
        make(LLAMA_INDEX, "scaleway").structured_predict(Crew, PROMPT, {"tools": []}, text="?")
    form = {"response_format": {"type": "json_object"}}
    with pytest.raises(ConfigurationError, match="response_format"):
        make(LLAMA_INDEX, "scaleway").structured_predict(Crew, PROMPT, form, text="?")
    assert len(sandbox.requests) == 0


@pytest.mark.parametrize("way", [*READERS, ("datacrunch", "default")], ids="-".join)
@pytest.mark.parametrize("output_cls", [Sailor, list[int], dict, Crew | None, CREW, {"type": "object"}, None], ids=repr)
async def test_only_classes_of_pydantic_are_asked_for(
    make: Callable[..., Any], sandbox: Sandbox, way: tuple[str, str], output_cls: Any
) -> None:
    llm = make(LLAMA_INDEX, way[0], pydantic_program_mode=way[1])
    asked = (output_cls, PROMPT)
    with pytest.raises(ConfigurationError, match="output_cls must be a class of pydantic 2"):
        llm.structured_predict(*asked, text="?")
    with pytest.raises(ConfigurationError, match="output_cls must be a class of pydantic 2"):
        [step async for step in await llm.astream_structured_predict(*asked, text="?")]
    assert len(sandbox.requests) == 0


def test_the_count_tells_of_the_limit_where_no_finish_reason_does(make: Callable[..., Any], sandbox: Sandbox) -> None:
    sandbox.add_rule(WHOLE)
    llm = make(LLAMA_INDEX, "llm_engine")
    with pytest.raises(InvalidResponseError, match=r"The token limit cut it off: raise max_tokens"):
        llm.structured_predict(Crew, PROMPT, {"max_tokens": 3}, text="?")


def test_a_stream_shows_the_object_grow(make: Callable[..., Any], sandbox: Sandbox, way: tuple[str, str]) -> None:
    # A schema is a required call here; a text instead of it is held back, because a call may follow.
    is_forced = way == ("chat_llm_engine", "default")
    sandbox.add_rule(reply(WHOLE, by_call="Crew" if is_forced else by_call(way)))
    llm = make(LLAMA_INDEX, way[0], pydantic_program_mode=way[1])
    steps = list(llm.stream_structured_predict(Crew, PROMPT, text="?"))
    assert len(steps) > 1
    assert steps[-1] == CREW
