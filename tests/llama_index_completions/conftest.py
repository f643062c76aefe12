"""A scripted sandbox for all tests here, and models of every kind that talk to it.

``kind`` is what a test is run with: a class together with the route it asks. LLM Engine's endpoints run old images
here, which obey ``guided_json``; what current ones need is in tests/llm_engine.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.callbacks import CallbackManager, TokenCountingHandler

from linkspan.llama_index import ChatDataCrunch, ChatLLMEngine, DataCrunch, LLMEngine
from linkspan_sandbox import LLMEngineOptions, Sandbox

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

KEY = "a-very-secret-key-0123456789"
#: By name: the class, its arguments, and where the sandbox has its API.
KINDS: dict[str, tuple[type[Any], dict[str, Any], str]] = {
    "llm_engine": (LLMEngine, {"model": "llama-2-7b", "guided_decoding": True}, "llm_engine_url"),
    "legacy": (DataCrunch, {"model": "mixtral"}, "datacrunch_url"),
    "container": (DataCrunch, {}, "tgi_url"),
    "chat_llm_engine": (
        ChatLLMEngine,
        {"model": "llama-3-8b-instruct", "guided_decoding": True},
        "llm_engine_url",
    ),
    "chat_datacrunch": (ChatDataCrunch, {}, "tgi_url"),
}
PROMPTS = ("llm_engine", "legacy", "container")
CHATS = ("chat_llm_engine", "chat_datacrunch")


def refuse_to_guess(text: str) -> list[str]:
    raise AssertionError("tokens were estimated, not taken from the server")


@pytest.fixture
def sandbox_settings() -> dict[str, Any]:
    return {"api_key": KEY, "llm_engine_options": LLMEngineOptions(stream_counts=True, obeys_guides=True)}


@pytest.fixture
def counter() -> TokenCountingHandler:
    return TokenCountingHandler(tokenizer=refuse_to_guess)


@pytest.fixture
def make(sandbox: Sandbox, counter: TokenCountingHandler) -> Iterator[Callable[..., Any]]:
    made: list[Any] = []

    def build(kind: str, **settings: Any) -> Any:
        cls, fields, where = KINDS[kind]
        callbacks = CallbackManager([counter])
        defaults = {"api_key": KEY, "base_url": getattr(sandbox, where), "max_retries": 0, "timeout": 60}
        made.append(cls(**{**defaults, "callback_manager": callbacks, **fields, **settings}))
        return made[-1]

    yield build
    for model in made:
        model.close()


@pytest.fixture(params=list(KINDS))
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=PROMPTS)
def prompt_kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=CHATS)
def chat_kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def call_all(llm: Any, text: str, **options: Any) -> list[Any]:
    """The last response of each of the eight endpoints."""
    messages = [ChatMessage(text)]

    async def in_a_loop() -> list[Any]:
        async with llm:
            return [
                await llm.achat(messages, **options),
                await llm.acomplete(text, **options),
                [chunk async for chunk in await llm.astream_chat(messages, **options)][-1],
                [chunk async for chunk in await llm.astream_complete(text, **options)][-1],
            ]

    return [
        llm.chat(messages, **options),
        llm.complete(text, **options),
        list(llm.stream_chat(messages, **options))[-1],
        list(llm.stream_complete(text, **options))[-1],
        *asyncio.run(in_a_loop()),
    ]


def text_of(response: Any) -> str:
    return str(response.message.content if hasattr(response, "message") else response.text)


def prompt_of(request: Any) -> str:
    """The prompt of a request, in whichever API."""
    body = request.json
    return str(body["prompt"] if "prompt" in body else body["inputs"])


def parameters_of(request: Any) -> dict[str, Any]:
    """What a request says beside its prompt or messages, in whichever API."""
    body = dict(request.json)
    for name in ("prompt", "inputs", "model", "messages", "stream", "stream_options"):
        body.pop(name, None)
    return {**body.pop("parameters", {}), **body}


def stops_of(request: Any) -> list[str]:
    """The stop texts of a request, in whichever API."""
    parameters = parameters_of(request)
    return list(parameters.get("stop_sequences") or parameters.get("stop") or ())
