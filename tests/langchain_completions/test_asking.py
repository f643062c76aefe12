"""Completion models asked in every way: whole, streamed, several at once, sync and async; callbacks and connections."""

from __future__ import annotations

import asyncio
import copy
import gc
import pickle
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from langchain_core.callbacks import AsyncCallbackHandler, BaseCallbackHandler
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import PromptTemplate

from linkspan import errors
from linkspan_sandbox import HTTPError, Reply, Sandbox, ScriptedEngine, run
from tests.langchain_completions.conftest import KINDS, defaults, limit_of, prompt_of

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from linkspan_sandbox.engine import Call, Piece

ROUTES = {
    "llm_engine": ("v1/llm/completions-sync", "v1/llm/completions-stream"),
    "datacrunch": ("v1/completions/generate", "v1/completions/generate_stream"),
    "container": ("container/generate", "container/generate_stream"),
}


class Tokens(BaseCallbackHandler):
    """What a sync caller's callbacks see."""

    def __init__(self) -> None:
        self.tokens: list[str] = []
        self.ends: list[Any] = []

    def on_llm_new_token(self, token: str, **kwargs: Any) -> None:
        assert kwargs["chunk"].text == token
        self.tokens.append(token)

    def on_llm_end(self, response: Any, **kwargs: Any) -> None:
        self.ends.append(response)


class AsyncTokens(AsyncCallbackHandler):
    def __init__(self) -> None:
        self.tokens: list[str] = []

    async def on_llm_new_token(self, token: str, **kwargs: Any) -> None:
        self.tokens.append(token)


# ------------------------------------------------------------------ every way to ask


async def test_every_way_gives_the_same_text(llm: Any, sandbox: Sandbox, kind: str) -> None:
    prompt = "Größe, one two"
    assert llm.invoke(prompt) == prompt
    assert await llm.ainvoke(prompt) == prompt
    assert "".join(llm.stream(prompt)) == prompt
    assert "".join([piece async for piece in llm.astream(prompt)]) == prompt
    assert [prompt_of(request) for request in sandbox.requests] == [prompt] * 4
    whole, streamed = ROUTES[kind]
    ends = [request.path for request in sandbox.requests]
    assert all(path.endswith(whole) for path in ends[:2])
    assert all(path.endswith(streamed) for path in ends[2:])


async def test_several_prompts_come_back_in_order(llm: Any) -> None:
    prompts = [f"prompt {number}" for number in range(5)]
    assert llm.batch(prompts) == prompts
    assert await llm.abatch(prompts) == prompts
    assert llm.batch(prompts, {"max_concurrency": 2}) == prompts
    assert [found[0].text for found in llm.generate(prompts).generations] == prompts
    assert [found[0].text for found in (await llm.agenerate(prompts)).generations] == prompts
    assert llm.batch([]) == []


async def test_pieces_arrive_one_by_one(llm: Any, sandbox: Sandbox) -> None:
    sandbox.add_rule(Reply(["one", " two", " three"]))
    assert [piece for piece in llm.stream("x") if piece] == ["one", " two", " three"]
    assert [piece async for piece in llm.astream("x") if piece] == ["one", " two", " three"]


async def test_a_chain_streams(llm: Any) -> None:
    chain = PromptTemplate.from_template("Say {what} twice") | llm | StrOutputParser()
    assert [piece for piece in chain.stream({"what": "it"}) if piece] == ["Say", " it", " twice"]
    assert [piece async for piece in chain.astream({"what": "it"}) if piece] == ["Say", " it", " twice"]


def test_an_answer_without_text(llm: Any, sandbox: Sandbox) -> None:
    sandbox.add_rule("")
    assert llm.invoke("x") == ""
    assert "".join(llm.stream("x")) == ""


# ------------------------------------------------------------------ several at once


class Meeting(ScriptedEngine):
    """Answers nobody before ``size`` calls are there: who asks one after the other waits in vain."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.most = 0
        self._size = size
        self._arrived = self._inside = 0
        self._groups: dict[int, asyncio.Event] = {}

    async def answer(self, call: Call) -> AsyncGenerator[Piece, None]:  # type: ignore[override]
        group = self._groups.setdefault(self._arrived // self._size, asyncio.Event())
        self._arrived += 1
        self._inside += 1
        self.most = max(self.most, self._inside)
        try:
            if self._arrived % self._size == 0:
                group.set()
            await group.wait()
            async with aclosing(super().answer(call)) as pieces:
                async for piece in pieces:
                    yield piece
        finally:
            self._inside -= 1


async def test_prompts_are_asked_at_once_within_the_bound(kind: str) -> None:
    engine = Meeting(3)
    prompts = [f"prompt {number}" for number in range(6)]
    with run(engine) as sandbox, KINDS[kind][0](**{**defaults(kind, sandbox), "max_concurrency": 3}) as llm:
        for asked in (
            lambda: [found[0].text for found in llm.generate(prompts).generations],
            lambda: llm.batch(prompts),
            lambda: llm.batch(prompts, return_exceptions=True),
        ):
            assert (asked(), engine.most) == (prompts, 3)
            engine.most = 0
        assert [found[0].text for found in (await llm.agenerate(prompts)).generations] == prompts
        for options in ({}, {"return_exceptions": True}):
            assert engine.most == 3
            engine.most = 0
            assert await llm.abatch(prompts, **options) == prompts
        assert engine.most == 3
        await llm.aclose()


@pytest.mark.parametrize("way", ["batch", "abatch"])
async def test_one_failure_leaves_the_other_answers(llm: Any, sandbox: Sandbox, way: str) -> None:
    sandbox.add_rule(Reply(fault=HTTPError(429)), when="bad")

    async def ask(**options: Any) -> list[Any]:
        prompts = ["one", "bad", "three"]
        return llm.batch(prompts, **options) if way == "batch" else await llm.abatch(prompts, **options)

    first, second, third = await ask(return_exceptions=True)
    assert (first, third) == ("one", "three")
    assert isinstance(second, errors.RateLimitError)
    with pytest.raises(errors.RateLimitError):
        await ask()


# ------------------------------------------------------------------ callbacks


async def test_callbacks_see_each_chunk_once(llm: Any, sandbox: Sandbox) -> None:
    sandbox.add_rule(Reply(["one", " two", " three"]))
    seen, seen_async = Tokens(), AsyncTokens()
    pieces = list(llm.stream("x", {"callbacks": [seen]}))
    assert seen.tokens == pieces
    assert [piece async for piece in llm.astream("x", {"callbacks": [seen_async]})] == seen_async.tokens == pieces
    assert seen.ends[0].generations[0][0].text == "one two three"


async def test_events_show_the_tokens(llm: Any, sandbox: Sandbox) -> None:
    sandbox.add_rule(Reply(["one", " two"]))
    events = [event async for event in (PromptTemplate.from_template("{x}") | llm).astream_events({"x": "y"})]
    chunks = [event["data"]["chunk"] for event in events if event["event"] == "on_llm_stream"]
    assert "".join(chunk.text for chunk in chunks) == "one two"
    assert sum(bool(chunk.text) for chunk in chunks) == 2


async def test_streaming_field_streams_below_invoke(make: Callable[..., Any], kind: str, sandbox: Sandbox) -> None:
    llm = make(kind, streaming=True)
    seen = Tokens()
    assert llm.invoke("one two", {"callbacks": [seen]}) == "one two"
    assert "".join(seen.tokens) == "one two"
    assert await llm.ainvoke("one two") == "one two"
    assert all(request.path.endswith(ROUTES[kind][1]) for request in sandbox.requests)
    info = llm.generate(["one two"]).generations[0][0].generation_info
    assert info["finish_reason" if kind != "llm_engine" else "request_id"]
    assert llm.batch(["a", "b"]) == ["a", "b"]
    assert sandbox.last_request.path.endswith(ROUTES[kind][0])
    llm.invoke("x", stream=False)
    assert sandbox.last_request.path.endswith(ROUTES[kind][0])
    make(kind).invoke("x", stream=True)
    assert sandbox.last_request.path.endswith(ROUTES[kind][1])


# ------------------------------------------------------------------ arguments


def test_frameworks_word_and_the_apis_word(make: Callable[..., Any], kind: str, sandbox: Sandbox) -> None:
    for fields in ({"max_tokens": 3}, {"max_new_tokens": 3}):
        make(kind, **fields).invoke("one two three four five")
        assert limit_of(sandbox.last_request) == 3
    llm = make(kind, max_tokens=3)
    for options in ({"max_tokens": 4}, {"max_new_tokens": 4}):
        assert llm.invoke("one two three four five", **options) == "one two three four"
        assert limit_of(sandbox.last_request) == 4
    with pytest.raises(errors.ConfigurationError, match="max_new_tokens"):
        llm.invoke("x", max_tokens=1, max_new_tokens=1)
    with pytest.raises(errors.ConfigurationError, match="max_new_tokens"):
        make(kind, max_tokens=1, max_new_tokens=1)


def test_misspelt_arguments_are_refused(llm: Any, kind: str, sandbox: Sandbox) -> None:
    cls = KINDS[kind][0]
    with pytest.raises(errors.ConfigurationError, match="'temperature'"):
        cls(**defaults(kind, sandbox), temprature=0)
    with pytest.raises(errors.ConfigurationError, match="'max_new_tokens'"):
        llm.invoke("x", max_new_token=3)
    with pytest.raises(errors.ConfigurationError, match=cls.__name__):
        llm.invoke("x", max_retries=3)
    with pytest.raises(errors.UnsupportedContentError, match="presence_of_mind"):
        llm.invoke("x", presence_of_mind=3)
    with pytest.raises(errors.ConfigurationError, match="'temperature'"):
        llm.model_copy(update={"temprature": 0})
    assert len(sandbox.requests) == 0


def test_what_only_chats_have_is_refused_by_name(llm: Any, sandbox: Sandbox) -> None:
    for option in ("tools", "tool_choice", "response_format"):
        for way in ("invoke", "stream"):
            with pytest.raises(errors.UnsupportedContentError, match=option):
                list(getattr(llm, way)("x", **{option: [{"type": "function"}]}))
    assert len(sandbox.requests) == 0


def test_extra_body_goes_on_top(make: Callable[..., Any], kind: str, sandbox: Sandbox) -> None:
    make(kind, extra_body={"priority": 1}).invoke("x", extra_body={"more": 2})
    assert (sandbox.last_request.json["priority"], sandbox.last_request.json["more"]) == (1, 2)


# ------------------------------------------------------------------ copies, loops, connections


def test_pickle_and_copies_after_use(llm: Any) -> None:
    llm.invoke("x")
    for other in (pickle.loads(pickle.dumps(llm)), copy.deepcopy(llm), copy.copy(llm), llm.model_copy()):
        assert other == llm
        assert other.invoke("same") == "same"
        assert other._slot is not llm._slot
        other.close()


def test_two_event_loops(llm: Any, sandbox: Sandbox) -> None:
    for text in ("one", "two"):
        assert asyncio.run(llm.ainvoke(text)) == text
    assert asyncio.run(llm.abatch(["a", "b"])) == ["a", "b"]
    assert len(sandbox.requests) == 4


def test_leaving_a_stream_closes_it(llm: Any, sandbox: Sandbox) -> None:
    sandbox.add_rule(Reply(["piece "] * 2000, pause=0.01))
    for piece in llm.stream("x"):
        if piece:
            break
    gc.collect()
    assert sandbox.last_request.wait_finished()
    assert sandbox.last_request.client_left


@pytest.mark.parametrize("how", ["break", "cancel"])
async def test_leaving_an_async_stream_closes_it(llm: Any, sandbox: Sandbox, how: str) -> None:
    sandbox.add_rule(Reply(["piece "] * 2000, pause=0.01))
    arrived = asyncio.Event()

    async def read() -> None:
        async for piece in llm.astream("x"):
            if piece:
                arrived.set()
                if how == "break":
                    break

    task = asyncio.create_task(read())
    await arrived.wait()
    if how == "cancel":
        task.cancel()
    await asyncio.wait([task])
    gc.collect()
    assert await asyncio.to_thread(sandbox.last_request.wait_finished)
    assert sandbox.last_request.client_left


async def test_use_after_close(make: Callable[..., Any], kind: str) -> None:
    with make(kind) as llm:
        assert llm.invoke("x") == "x"
    assert llm.invoke("y") == "y"
    async with make(kind) as llm:
        assert await llm.ainvoke("x") == "x"
    assert await llm.ainvoke("y") == "y"
    await llm.aclose()


def test_a_client_of_ones_own(make: Callable[..., Any], kind: str) -> None:
    with httpx.Client() as client:
        llm = make(kind, http_client=client)
        assert copy.deepcopy(llm).http_client is client
        assert llm.invoke("x") == "x"
        llm.close()
        assert not client.is_closed
        with pytest.raises(errors.ConfigurationError, match="http_client"):
            pickle.dumps(llm)
