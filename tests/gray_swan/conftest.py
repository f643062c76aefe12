"""One scripted sandbox for all tests here, emptied before each, and Cygnet in both frameworks that talks to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from linkspan.langchain import ChatGraySwan
from llama_index.llms.gray_swan import GraySwan

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from linkspan_sandbox import Sandbox

KEY = "gray-swan-secret-key-of-the-tests"


@pytest.fixture
def sandbox_settings() -> dict[str, Any]:
    return {"api_key": KEY}


@pytest.fixture
def make_chat(sandbox: Sandbox) -> Iterator[Callable[..., ChatGraySwan]]:
    made: list[ChatGraySwan] = []

    def make(**fields: Any) -> ChatGraySwan:
        made.append(ChatGraySwan(**{"api_key": KEY, "base_url": sandbox.gray_swan_url, "max_retries": 0, **fields}))
        return made[-1]

    yield make
    for model in made:
        model.close()


@pytest.fixture
def make_llm(sandbox: Sandbox) -> Iterator[Callable[..., GraySwan]]:
    made: list[GraySwan] = []

    def make(**fields: Any) -> GraySwan:
        made.append(GraySwan(**{"api_key": KEY, "base_url": sandbox.gray_swan_url, "max_retries": 0, **fields}))
        return made[-1]

    yield make
    for llm in made:
        llm.close()


def blocked(finish_reason: str = "violation", refusal: str = "Sorry.") -> dict[str, Any]:
    """A whole blocked answer."""
    message = {"role": "assistant", "content": refusal, "refusal": refusal}
    return {"id": "b", "model": "cygnet", "choices": [{"index": 0, "finish_reason": finish_reason, "message": message}]}


def blocked_events(finish_reason: str = "violation") -> list[Any]:
    """A stream that is blocked after some text."""

    def event(delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
        return {"id": "b", "model": "cygnet", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}

    return [event({"content": "Well, "}), event({"refusal": "Sorry."}), event({}, finish_reason), "[DONE]"]
