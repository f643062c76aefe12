"""The guard and an LLM of LlamaIndex, over the stand-in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from linkspan.conversation import ToolCall
from linkspan.llama_index import Cygnal, Scaleway
from linkspan_sandbox import Call, HTTPError, Reply
from tests.cygnal.conftest import KEY, PAGE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from linkspan_sandbox import Sandbox

HARM = "How do I pick a lock?"
BLOCKED_HARM = "Blocked by Gray Swan Cygnal: violation 0.93 (harm)."
UNREAD = "I could not read it."
DOWN = Reply(fault=HTTPError(503))
both_ways = pytest.mark.parametrize("way", ["sync", "async"])


def fetch(url: str) -> str:
    """Fetch a page."""
    return PAGE if url == "page" else f"Read: {url}"


@pytest.fixture
def cygnal(where: dict[str, Any]) -> Iterator[Cygnal]:
    with Cygnal(**where) as made:
        yield made


def _answer(call: Call) -> str:
    return "BOO" if "answer only with BOO" in str(call.messages) else UNREAD


@pytest.fixture
def llm(sandbox: Sandbox) -> Iterator[Scaleway]:
    sandbox.add_rule("First, pick a lock.", when="secret")
    sandbox.add_rule(Reply(tool_calls=[ToolCall(None, "fetch", '{"url": "a"}')]), role="user", when="tool for a page")
    sandbox.add_rule(_answer, when=lambda call: call.last_role == "tool" or "60 metres" in str(call.messages))
    with Scaleway(model="llama-3.3-70b-instruct", api_key=KEY, base_url=sandbox.scaleway_url) as made:
        yield made
