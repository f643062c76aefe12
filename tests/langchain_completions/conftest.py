"""Scripted sandboxes for all tests here, and completion and chat models that talk to them.

``kind`` is what a test is run with: a class together with the route it asks. LLM Engine's endpoints run old images
here, which obey ``guided_json``; what current ones need is in tests/llm_engine.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from linkspan.langchain import ChatDataCrunch, ChatLLMEngine, DataCrunch, LLMEngine
from linkspan_sandbox import LLMEngineOptions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from linkspan_sandbox import Sandbox

KEY = "a-very-secret-key-0123456789"
#: By name: the class, its arguments, and where the sandbox has its API.
KINDS: dict[str, tuple[type[Any], dict[str, Any], str]] = {
    "llm_engine": (LLMEngine, {"model": "llama-2-7b", "guided_decoding": True}, "llm_engine_url"),
    "datacrunch": (DataCrunch, {"model": "mixtral"}, "datacrunch_url"),
    "container": (DataCrunch, {}, "tgi_url"),
    "chat_v2": (ChatLLMEngine, {"model": "llama-3-8b-instruct", "guided_decoding": True}, "llm_engine_url"),
    "chat_v1": (
        ChatLLMEngine,
        {"model": "llama-2-7b", "api": "v1", "chat_template": "llama-2", "guided_decoding": True},
        "llm_engine_url",
    ),
    "chat_generate": (ChatDataCrunch, {"model": "mixtral", "chat_template": "mistral"}, "datacrunch_url"),
    "chat_messages": (ChatDataCrunch, {"api": "messages"}, "tgi_url"),
}
COMPLETIONS = ("llm_engine", "datacrunch", "container")
CHATS = ("chat_v2", "chat_v1", "chat_generate", "chat_messages")


def defaults(kind: str, sandbox: Sandbox) -> dict[str, Any]:
    """The arguments that lead a kind of model to the sandbox."""
    _, fields, where = KINDS[kind]
    return {"api_key": KEY, "base_url": getattr(sandbox, where), "max_retries": 0, "timeout": 60, **fields}


@pytest.fixture
def sandbox_settings() -> dict[str, Any]:
    return {"llm_engine_options": LLMEngineOptions(obeys_guides=True)}


@pytest.fixture
def make(sandbox: Sandbox) -> Iterator[Callable[..., Any]]:
    made: list[Any] = []

    def build(kind: str, **fields: Any) -> Any:
        made.append(KINDS[kind][0](**{**defaults(kind, sandbox), **fields}))
        return made[-1]

    yield build
    for model in made:
        model.close()


@pytest.fixture(params=COMPLETIONS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def llm(make: Callable[..., Any], kind: str) -> Any:
    return make(kind)


@pytest.fixture(params=CHATS)
def chat_kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def chat(make: Callable[..., Any], chat_kind: str) -> Any:
    return make(chat_kind)


def prompt_of(request: Any) -> str:
    """The prompt of a request, in whichever API."""
    body = request.json
    return str(body["prompt"] if "prompt" in body else body["inputs"])


def limit_of(request: Any) -> int:
    """``max_new_tokens`` of a request, in whichever API."""
    body = request.json
    return int((body.get("parameters") or body)["max_new_tokens"])
