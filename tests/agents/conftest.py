"""One scripted sandbox for all tests here, emptied before each, and both frameworks' classes that talk to it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import pytest

from linkspan.langchain import ChatScaleway
from linkspan.llama_index import Scaleway

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from linkspan_sandbox import Sandbox

MODEL = "llama-3.3-70b-instruct"
KEY = "scw-key-of-the-agents"
#: LangGraph hands callbacks and interrupts to async nodes in a task's context, which came with Python 3.11.
NEEDS_TASK_CONTEXT = pytest.mark.skipif(sys.version_info < (3, 11), reason="LangGraph needs Python 3.11 for this")


@pytest.fixture
def sandbox_settings() -> dict[str, Any]:
    return {"api_key": KEY}


@pytest.fixture
def where(sandbox: Sandbox) -> dict[str, Any]:
    """The arguments that lead any of the classes to the sandbox."""
    return {"api_key": KEY, "base_url": sandbox.scaleway_url, "max_retries": 0, "timeout": 60}


@pytest.fixture
def make_chat(where: dict[str, Any]) -> Iterator[Callable[..., ChatScaleway]]:
    made: list[ChatScaleway] = []

    def make(**fields: Any) -> ChatScaleway:
        made.append(ChatScaleway(**{"model": MODEL, **where, **fields}))
        return made[-1]

    yield make
    for chat in made:
        chat.close()


@pytest.fixture
def chat(make_chat: Callable[..., ChatScaleway]) -> ChatScaleway:
    return make_chat()


@pytest.fixture
def make_llm(where: dict[str, Any]) -> Iterator[Callable[..., Scaleway]]:
    made: list[Scaleway] = []

    def make(**settings: Any) -> Scaleway:
        made.append(Scaleway(**{"model": MODEL, **where, **settings}))
        return made[-1]

    yield make
    for llm in made:
        llm.close()


@pytest.fixture
def llm(make_llm: Callable[..., Scaleway]) -> Scaleway:
    return make_llm()
