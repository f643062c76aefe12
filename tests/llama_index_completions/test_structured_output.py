"""Structured output through ``guided_json`` and TGI's grammars, in LlamaIndex's four variants."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from llama_index.core import ChatPromptTemplate, PromptTemplate
from llama_index.core.base.llms.types import ChatMessage, MessageRole
from llama_index.core.types import PydanticProgramMode
from pydantic import BaseModel

from linkspan.conversation import ToolCall
from linkspan.errors import InvalidRequestError, InvalidResponseError, UnsupportedContentError
from linkspan.llama_index import data_message
from linkspan_sandbox import LLMEngineOptions, Reply, Rule, run
from tests.llama_index_completions.conftest import CHATS, KEY, KINDS, PROMPTS, parameters_of, prompt_of, stops_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from llama_index.core.callbacks import TokenCountingHandler

    from linkspan_sandbox import Sandbox


class Verse(BaseModel):
    """A verse of a song."""

    words: str


class Song(BaseModel):
    """A song."""

    title: str
    year: int
    verses: list[Verse] = []


PROMPT = PromptTemplate("A song about {topic}")
ANSWER = '{"title": "Over the sea", "year": 1974, "verses": [{"words": "la la"}]}'
SONG = Song(title="Over the sea", year=1974, verses=[Verse(words="la la")])


def four_ways(llm: Any, prompt: Any = PROMPT, options: dict[str, Any] | None = None) -> list[list[Any]]:
    """The objects of each way; the last one is whole."""

    async def in_a_loop() -> list[list[Any]]:
        async with llm:
            stream = await llm.astream_structured_predict(Song, prompt, options, topic="ferries")
            return [
                [await llm.astructured_predict(Song, prompt, options, topic="ferries")],
                [partial async for partial in stream],
            ]

    return [
        [llm.structured_predict(Song, prompt, options, topic="ferries")],
        list(llm.stream_structured_predict(Song, prompt, options, topic="ferries")),
        *asyncio.run(in_a_loop()),
    ]


def schema_of(kind: str, request: Any) -> dict[str, Any]:
    """The schema that a request holds the answer to."""
    said = parameters_of(request)
    if kind.endswith("llm_engine"):
        schema: dict[str, Any] = said["guided_json"]
        return schema
    grammar = said["response_format"] if kind == "chat_datacrunch" else said["grammar"]
    assert grammar["type"] == "json"
    assert "$ref" not in str(grammar)
    return dict(grammar["value"])


def test_by_schema_in_four_variants(
    make: Callable[..., Any], kind: str, sandbox: Sandbox, counter: TokenCountingHandler
) -> None:
    sandbox.add_rule(ANSWER)
    options = {"temperature": 0.5}
    ways = four_ways(make(kind), options=options)
    assert [way[-1] for way in ways] == [SONG] * 4
    for way in (ways[1], ways[3]):
        assert way[0].title is None or way[0].title.startswith("O")
        assert len(way) > 2
        assert all(isinstance(partial, BaseModel) for partial in way)
    assert options == {"temperature": 0.5}
    assert len(sandbox.requests) == 4
    for request in sandbox.requests:
        assert schema_of(kind, request)["required"] == ["title", "year"]
        assert parameters_of(request)["temperature"] == 0.5
        assert "tools" not in request.json
    events = Counter("prompt" if event.prompt.startswith("A song") else "chat" for event in counter.llm_token_counts)
    assert sum(events.values()) == 4  # one per call
    assert counter.completion_llm_token_count == sum(event.completion_token_count for event in counter.llm_token_counts)


@pytest.mark.parametrize("kind", PROMPTS)
def test_its_prompt_is_that_of_predict(make: Callable[..., Any], kind: str, sandbox: Sandbox) -> None:
    sandbox.add_rule(ANSWER)
    talk = ChatPromptTemplate([ChatMessage("Sing", role=MessageRole.SYSTEM), ChatMessage("{topic}")])
    for settings in (
        {},
        {"chat_template": "llama-2"},
        {"chat_template": "llama-2", "system_prompt": "In rhymes"},
        {
            "completion_to_prompt": lambda text: f"<<{text}>>",
            "messages_to_prompt": lambda messages: f"{len(messages)}!",
        },
    ):
        llm = make(kind, **settings)
        for prompt in (PROMPT, talk):
            # One way writes the prompt as the other three do, which the first settings show.
            four_ways(llm, prompt) if not settings else llm.structured_predict(Song, prompt, topic="ferries")
            llm.predict(prompt, topic="ferries")
            *asked, predicted = sandbox.requests
            assert {prompt_of(request) for request in asked} == {prompt_of(predicted)}
            assert all(stops_of(request) == stops_of(predicted) for request in asked)
            sandbox.requests.clear()


def test_a_system_prompt_goes_along(make: Callable[..., Any], kind: str, sandbox: Sandbox) -> None:
    sandbox.add_rule(ANSWER)
    assert [way[-1] for way in four_ways(make(kind, system_prompt="In rhymes"))] == [SONG] * 4
    assert all("In rhymes" in str(request.json) for request in sandbox.requests)


def test_as_structured_llm(make: Callable[..., Any], kind: str, sandbox: Sandbox) -> None:
    sandbox.add_rule(ANSWER)
    llm = make(kind, system_prompt="In rhymes").as_structured_llm(Song)

    async def in_a_loop() -> list[Any]:
        async with llm.llm:
            stream = await llm.astream_chat([ChatMessage("{ sing }")])
            return [(await llm.achat([ChatMessage("x")])).raw, [chunk async for chunk in stream][-1].raw]

    found = [llm.chat([ChatMessage("{ sing }")]).raw, llm.complete("x").raw, list(llm.stream_chat([ChatMessage("x")]))]
    assert [*found[:2], found[2][-1].raw, *asyncio.run(in_a_loop())] == [SONG] * 5
    assert all(schema_of(kind, request) for request in sandbox.requests)


def test_an_answer_that_does_not_fit(make: Callable[..., Any], kind: str, sandbox: Sandbox) -> None:
    llm = make(kind, callback_manager=None)
    sandbox.add_rule("Sorry, no songs today", times=4)

    async def in_a_loop() -> None:
        async with llm:
            with pytest.raises(InvalidResponseError, match=r"Song.*may not enforce schemas"):
                await llm.astructured_predict(Song, PROMPT, topic="ferries")
            with pytest.raises(InvalidResponseError, match="Song"):
                [partial async for partial in await llm.astream_structured_predict(Song, PROMPT, topic="ferries")]

    with pytest.raises(InvalidResponseError, match=r"Song.*may not enforce schemas") as caught:
        llm.structured_predict(Song, PROMPT, topic="ferries")
    assert "Sorry" not in str(caught.value)
    with pytest.raises(InvalidResponseError, match="Song"):
        list(llm.stream_structured_predict(Song, PROMPT, topic="ferries"))
    asyncio.run(in_a_loop())


def test_an_answer_that_was_cut(make: Callable[..., Any], kind: str, sandbox: Sandbox) -> None:
    sandbox.add_rule(ANSWER)
    llm = make(kind, max_tokens=3, callback_manager=None)
    # LLM Engine's prompt API does not say why an answer ended.
    advice = "Song" if kind == "llm_engine" else "max_tokens"
    with pytest.raises(InvalidResponseError, match=advice):
        llm.structured_predict(Song, PROMPT, topic="ferries")
    with pytest.raises(InvalidResponseError, match=advice):
        list(llm.stream_structured_predict(Song, PROMPT, topic="ferries"))


@pytest.mark.parametrize("kind", ["llm_engine", "chat_llm_engine"])
def test_a_deployment_that_ignores_guides_is_found_out(kind: str) -> None:
    ignoring = LLMEngineOptions(obeys_guides=False)
    with run(api_key=KEY, llm_engine_options=ignoring) as sandbox:
        cls, fields, _ = KINDS[kind]
        with cls(api_key=KEY, base_url=sandbox.llm_engine_url, **fields) as llm:
            with pytest.raises(InvalidResponseError, match="may not enforce schemas"):
                llm.structured_predict(Song, PROMPT, topic="ferries")
            sandbox.add_rule(ANSWER)
            assert llm.structured_predict(Song, PROMPT, topic="ferries") == SONG


@pytest.mark.parametrize("kind", PROMPTS)
def test_in_text_mode_the_schema_is_in_the_prompt(make: Callable[..., Any], kind: str, sandbox: Sandbox) -> None:
    sandbox.add_rule(ANSWER)
    llm = make(kind, pydantic_program_mode=PydanticProgramMode.LLM)
    assert llm.structured_predict(Song, PROMPT, topic="ferries") == SONG
    assert '"year"' in prompt_of(sandbox.last_request)
    assert not parameters_of(sandbox.last_request).keys() & {"guided_json", "grammar"}


@pytest.mark.parametrize("kind", PROMPTS)
def test_in_text_mode_formats_are_applied_once(make: Callable[..., Any], kind: str, sandbox: Sandbox) -> None:
    sandbox.add_rule(ANSWER)
    mode = {"pydantic_program_mode": PydanticProgramMode.LLM, "system_prompt": "In rhymes", "callback_manager": None}
    talk = ChatPromptTemplate([ChatMessage("Which song? {topic}", additional_kwargs={"note": 1})])
    llm = make(kind, chat_template="llama-2", **mode)
    assert [way[-1] for way in four_ways(llm, talk)] == [SONG] * 4
    for request in sandbox.requests:
        prompt = prompt_of(request)
        assert prompt.startswith("[INST] <<SYS>>\nIn rhymes")
        assert prompt.count("[INST]") == 1
        assert "ferries" in prompt
        assert '"year"' in prompt
        assert "note" not in prompt
        assert stops_of(request) == ["</s>"]
    llm = make(kind, messages_to_prompt=lambda messages: f"{len(messages)}!", completion_to_prompt=repr, **mode)
    assert llm.structured_predict(Song, talk, topic="ferries") == SONG
    assert prompt_of(sandbox.last_request) == "2!"
    sandbox.requests.clear()
    untrusted = ChatPromptTemplate([ChatMessage("Which song?"), data_message("{topic}")])
    llm = make(kind, **mode)
    with pytest.raises(UnsupportedContentError, match="data"):
        llm.structured_predict(Song, untrusted, topic="ferries")
    assert len(sandbox.requests) == 0
    llm.data_role = "fenced"
    assert llm.structured_predict(Song, untrusted, topic="ferries") == SONG
    assert "\n<DATA-" in prompt_of(sandbox.last_request)
    assert "linkspan_role" not in prompt_of(sandbox.last_request)


@pytest.mark.parametrize("kind", CHATS)
def test_in_function_mode_by_a_tool(make: Callable[..., Any], kind: str, sandbox: Sandbox) -> None:
    sandbox.add_rule(Reply(tool_calls=[ToolCall("a", "Song", ANSWER)]))
    llm = make(kind, pydantic_program_mode=PydanticProgramMode.FUNCTION)
    assert [way[-1] for way in four_ways(llm)] == [SONG] * 4
    assert all("tools" in request.json for request in sandbox.requests)


@pytest.mark.parametrize("kind", PROMPTS)
def test_untrusted_text_in_it(make: Callable[..., Any], kind: str, sandbox: Sandbox) -> None:
    sandbox.add_rule(ANSWER)
    prompt = ChatPromptTemplate([ChatMessage("Which song?"), data_message("{topic}")])
    llm = make(kind, callback_manager=None)
    with pytest.raises(UnsupportedContentError, match="data"):
        llm.structured_predict(Song, prompt, topic="ferries")
    assert [way[-1] for way in four_ways(llm, prompt, {"data_role": "fenced"})] == [SONG] * 4
    assert all("\n<DATA-" in prompt_of(request) for request in sandbox.requests)


def test_two_guides_are_refused(make: Callable[..., Any], sandbox: Sandbox) -> None:
    with pytest.raises(InvalidRequestError, match="guided_json and guided_regex"):
        make("llm_engine", guided_regex="a+", callback_manager=None).structured_predict(Song, PROMPT, topic="x")
    assert len(sandbox.requests) == 0


def test_a_schema_that_tgi_cannot_take(make: Callable[..., Any], sandbox: Sandbox) -> None:
    class Tree(BaseModel):
        branches: list[Tree]

    Tree.model_rebuild(_types_namespace={"Tree": Tree})
    for kind in ("legacy", "chat_datacrunch"):
        with pytest.raises(UnsupportedContentError, match="refers to itself"):
            make(kind, callback_manager=None).structured_predict(Tree, PromptTemplate("Grow"))
    assert len(sandbox.requests) == 0


def test_other_shapes_as_fields(make: Callable[..., Any], sandbox: Sandbox) -> None:
    sandbox.add_rule("ok")
    make("llm_engine", guided_choice=["yes", "no"]).complete("x")
    assert parameters_of(sandbox.last_request)["guided_choice"] == ["yes", "no"]
    make("llm_engine").complete("x", guided_regex="[a-z]+")
    assert parameters_of(sandbox.last_request)["guided_regex"] == "[a-z]+"
    grammar = {"type": "regex", "value": "[a-z]+"}
    make("legacy", grammar=grammar).complete("x")
    assert parameters_of(sandbox.last_request)["grammar"] == grammar


def test_rules_of_the_sandbox_are_what_answers() -> None:
    # Without a rule the sandbox obeys the schema: what the classes send is what makes it do so.
    old_pods = LLMEngineOptions(obeys_guides=True)
    with run(rules=[Rule("text", when="never")], llm_engine_options=old_pods) as sandbox:
        for cls, fields, where in KINDS.values():
            with cls(api_key=KEY, base_url=getattr(sandbox, where), **fields) as llm:
                assert isinstance(llm.structured_predict(Song, PROMPT, topic="ferries"), Song)
