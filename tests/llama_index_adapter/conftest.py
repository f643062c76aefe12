"""One scripted sandbox for all tests here, emptied before each, and what LlamaIndex's own counters saw."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.callbacks import CallbackManager, TokenCountingHandler

from linkspan.llama_index import Scaleway

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from linkspan_sandbox import Sandbox

MODEL = "llama-3.3-70b-instruct"
KEY = "scw-secret-key-of-the-tests"


def refuse_to_guess(text: str) -> list[str]:
    raise AssertionError("tokens were estimated, not taken from the server")


def call_all(llm: Scaleway, text: str) -> list[Any]:
    """The last response of each of the eight endpoints."""
    messages = [ChatMessage(text)]

    async def in_a_loop() -> list[Any]:
        return [
            await llm.achat(messages),
            await llm.acomplete(text),
            [chunk async for chunk in await llm.astream_chat(messages)][-1],
            [chunk async for chunk in await llm.astream_complete(text)][-1],
        ]

    return [
        llm.chat(messages),
        llm.complete(text),
        list(llm.stream_chat(messages))[-1],
        list(llm.stream_complete(text))[-1],
        *asyncio.run(in_a_loop()),
    ]


@pytest.fixture
def sandbox_settings() -> dict[str, Any]:
    return {"api_key": KEY}


@pytest.fixture
def counter() -> TokenCountingHandler:
    return TokenCountingHandler(tokenizer=refuse_to_guess)


@pytest.fixture
def make(sandbox: Sandbox, counter: TokenCountingHandler) -> Iterator[Callable[..., Scaleway]]:
    made: list[Scaleway] = []

    def make_one(**settings: Any) -> Scaleway:
        defaults = {"model": MODEL, "api_key": KEY, "base_url": sandbox.scaleway_url}
        llm = Scaleway(**{**defaults, "callback_manager": CallbackManager([counter]), **settings})
        made.append(llm)
        return llm

    yield make_one
    for llm in made:
        llm.close()


@pytest.fixture
def llm(make: Callable[..., Scaleway]) -> Scaleway:
    return make()
