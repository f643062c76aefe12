"""The fixture ``linkspan_sandbox``, used as a user's test suite uses it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from llama_index.core.llms import ChatMessage as LlamaIndexMessage

from linkspan.errors import RateLimitError
from linkspan.langchain import (
    ChatDataCrunch,
    ChatGraySwan,
    ChatLLMEngine,
    ChatScaleway,
    DataCrunch,
    LLMEngine,
    ScalewayEmbeddings,
)
from linkspan.llama_index import DataCrunch as LlamaIndexDataCrunch
from linkspan.llama_index import GraySwan, Scaleway
from linkspan.llama_index import LLMEngine as LlamaIndexLLMEngine
from linkspan_sandbox import HTTPError, Reply

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from linkspan_sandbox import Sandbox

SCALEWAY_MODEL = "llama-3.3-70b-instruct"
LLM_ENGINE_MODEL = "llama-3-8b-instruct"


@pytest.fixture(autouse=True)
def environment_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    """Addresses and keys as they may be set, and a proxy that nobody runs; set before the fixture's own."""
    for name in ("SCALEWAY_BASE_URL", "GRAY_SWAN_BASE_URL", "LLM_ENGINE_BASE_PATH", "DATACRUNCH_BASE_URL"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("SCW_SECRET_KEY", "a-real-key")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "example.com")


ASKING: dict[str, Callable[[], str]] = {
    "ChatScaleway": lambda: ChatScaleway(model=SCALEWAY_MODEL).invoke("Hello").text,
    "ChatGraySwan": lambda: ChatGraySwan(model="cygnet").invoke("Hello").text,
    "ChatLLMEngine": lambda: ChatLLMEngine(model=LLM_ENGINE_MODEL).invoke("Hello").text,
    "LLMEngine": lambda: LLMEngine(model=LLM_ENGINE_MODEL).invoke("Hello"),
    "DataCrunch": lambda: DataCrunch().invoke("Hello"),
    "ChatDataCrunch": lambda: ChatDataCrunch(api="messages").invoke("Hello").text,
    "llama_index Scaleway": lambda: str(Scaleway(model=SCALEWAY_MODEL).complete("Hello")),
    "llama_index GraySwan": lambda: str(GraySwan(model="cygnet").complete("Hello")),
    "llama_index LLMEngine": lambda: str(LlamaIndexLLMEngine(model=LLM_ENGINE_MODEL).complete("Hello")),
    "llama_index DataCrunch": lambda: str(LlamaIndexDataCrunch().complete("Hello")),
}


@pytest.mark.parametrize("name", ASKING)
def test_every_class_finds_it_without_a_word(linkspan_sandbox: Sandbox, name: str) -> None:
    linkspan_sandbox.add_rule("Good morning.", when="Hello")
    assert ASKING[name]() == "Good morning."
    assert linkspan_sandbox.last_request.status == 200


def test_so_do_embeddings(linkspan_sandbox: Sandbox) -> None:
    assert len(ScalewayEmbeddings(model="qwen3-embedding-8b").embed_query("Hello")) == 4096


async def test_async_and_streamed(linkspan_sandbox: Sandbox) -> None:
    linkspan_sandbox.add_rule(Reply(["Good", " morning."]))
    pieces = [piece.text async for piece in ChatScaleway(model=SCALEWAY_MODEL).astream("Hello")]
    assert [piece for piece in pieces if piece] == ["Good", " morning."]
    stream = await Scaleway(model=SCALEWAY_MODEL).astream_chat([LlamaIndexMessage(content="Hello")])
    assert [chunk.delta async for chunk in stream if chunk.delta] == ["Good", " morning."]


@pytest.mark.parametrize("turn", [1, 2])
def test_is_empty_for_each_test(linkspan_sandbox: Sandbox, turn: int) -> None:
    assert len(linkspan_sandbox.requests) == 0
    assert linkspan_sandbox.rules == ()
    linkspan_sandbox.add_rule("left behind")
    ChatScaleway(model=SCALEWAY_MODEL).invoke("Hello")
    assert len(linkspan_sandbox.requests) == 1


def test_faults(linkspan_sandbox: Sandbox) -> None:
    linkspan_sandbox.add_rule(Reply(fault=HTTPError(429)))
    with pytest.raises(RateLimitError) as caught:
        ChatGraySwan(model="cygnet", max_retries=0).invoke("Hello")
    assert caught.value.status_code == 429


def test_proxies_of_others_stay_as_they_are(linkspan_sandbox: Sandbox) -> None:
    assert os.environ["no_proxy"].split(",") == ["example.com", "127.0.0.1"]


class TestTheEnvironment:
    @pytest.fixture(autouse=True, scope="class")
    @classmethod
    def is_as_before(cls) -> Iterator[None]:
        before = dict(os.environ)
        yield
        assert {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"} == {
            name: value for name, value in before.items() if name != "PYTEST_CURRENT_TEST"
        }

    def test_holds_all_addresses_and_keys_in_the_test(self, linkspan_sandbox: Sandbox) -> None:
        assert {name: os.environ[name] for name in linkspan_sandbox.environment} == linkspan_sandbox.environment
        assert os.environ["SCW_SECRET_KEY"] == linkspan_sandbox.api_key
        assert os.environ["SCALEWAY_BASE_URL"] == linkspan_sandbox.scaleway_url
        assert os.environ["VERDA_BASE_URL"] == linkspan_sandbox.tgi_url

    def test_is_the_users_own_without_the_fixture(self) -> None:
        assert os.environ["SCW_SECRET_KEY"] == "a-real-key"
