"""Answers that never end or are far too long, through the classes of both frameworks."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.messages import HumanMessage
from llama_index.core.llms import ChatMessage

from linkspan import langchain, llama_index
from linkspan.errors import InterruptedStreamError, InvalidResponseError
from tests.support.loopback import LoopbackServer, Repeat, event, head, http

if TYPE_CHECKING:
    from collections.abc import Iterator

EMPTY_EVENTS = {
    "no data": b"",
    "blank data": b" ",
    "no choices": b'{"choices": []}',
    "empty delta": b'{"choices": [{"index": 0, "delta": {}}]}',
    "empty text": b'{"choices": [{"index": 0, "delta": {"content": ""}}]}',
    "role": b'{"choices": [{"index": 0, "delta": {"role": "assistant"}}]}',
}
PIECE = json.dumps({"id": "c", "choices": [{"index": 0, "delta": {"content": "Hello"}}]}).encode()
CLASSES = [
    langchain.ChatScaleway,
    langchain.ChatGraySwan,
    langchain.ChatLLMEngine,
    llama_index.Scaleway,
    llama_index.GraySwan,
]


@pytest.fixture
def server() -> Iterator[LoopbackServer]:
    with LoopbackServer() as server:
        yield server


def make(cls: Any, server: LoopbackServer, **fields: Any) -> Any:
    return cls(**({"model": "m", "api_key": "any-key", "base_url": f"{server.url}/v1", "max_retries": 0} | fields))


def is_llama_index(model: Any) -> bool:
    return type(model).__module__.startswith("linkspan.llama_index")


async def ask(model: Any, way: str) -> str:
    if is_llama_index(model):
        messages = [ChatMessage("Hi")]
        if way == "sync":
            return model.chat(messages).message.content
        return (await model.achat(messages)).message.content
    return model.invoke("Hi").text if way == "sync" else (await model.ainvoke("Hi")).text


async def stream(model: Any, way: str) -> None:
    if is_llama_index(model):
        messages = [ChatMessage("Hi")]
        if way == "sync":
            for _ in model.stream_chat(messages):
                pass
        else:
            async for _ in await model.astream_chat(messages):
                pass
    elif way == "sync":
        for _ in model.stream([HumanMessage("Hi")]):
            pass
    else:
        async for _ in model.astream([HumanMessage("Hi")]):
            pass


#: Each event sync and async, and in both frameworks: every pair, and no more, since each waits for a timeout.
STALLED = [
    (cls, way, empty)
    for number, empty in enumerate(EMPTY_EVENTS)
    for cls, way in zip(
        (langchain.ChatScaleway, llama_index.Scaleway),
        ("sync", "async") if number % 2 == 0 else ("async", "sync"),
        strict=True,
    )
]


@pytest.mark.parametrize(("cls", "way", "empty"), STALLED)
async def test_events_that_carry_nothing_do_not_hide_a_stalled_model(cls, way, empty, server) -> None:
    # The same timeout bounds the wait for the first event. Where a busy machine misses that, the call is made again.
    server.always(head(), event(PIECE), Repeat(event(EMPTY_EVENTS[empty])))
    with pytest.raises(InterruptedStreamError, match="stalled") as caught:
        await stream(make(cls, server, timeout=0.3, max_retries=20), way)
    assert caught.value.partial_text == "Hello"
    assert server.wait_closed()


@pytest.mark.parametrize("way", ["sync", "async"])
@pytest.mark.parametrize("cls", CLASSES)
async def test_an_answer_beyond_the_limit(cls, way, server) -> None:
    choice = {"index": 0, "message": {"role": "assistant", "content": "x" * 50_000}, "finish_reason": "stop"}
    server.always(http(200, json.dumps({"id": "c", "model": "m", "choices": [choice]}).encode()))
    with pytest.raises(InvalidResponseError, match="raise max_response_bytes"):
        await ask(make(cls, server, max_response_bytes=10_000), way)
    assert await ask(make(cls, server), way) == "x" * 50_000


@pytest.mark.parametrize("way", ["sync", "async"])
@pytest.mark.parametrize("cls", CLASSES)
async def test_an_event_beyond_the_limit(cls, way, server) -> None:
    server.answer(head(), event(PIECE), event(b"x" * 300_000))
    with pytest.raises(InvalidResponseError, match="raise max_response_bytes") as caught:
        await stream(make(cls, server, max_response_bytes=100_000), way)
    assert caught.value.partial_text == "Hello"
