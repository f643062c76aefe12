"""One scripted sandbox for all tests here, emptied before each, and words to talk to it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from linkspan_sandbox import LLMEngineOptions, local_model

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from linkspan_sandbox import Sandbox

MODEL = "llama-3.3-70b-instruct"
#: Of LLM Engine: images with vLLM before 0.12, which obey guides.
OLD_PODS = LLMEngineOptions(obeys_guides=True)


class Client:
    """Scaleway's dialect over httpx."""

    def __init__(self, base_url: str, key: str | None = "any-key") -> None:
        headers = {} if key is None else {"authorization": f"Bearer {key}"}
        self.http = httpx.Client(base_url=base_url, headers=headers, timeout=60, trust_env=False, verify=False)

    def post(self, text: str = "Hello there", **fields: Any) -> httpx.Response:
        body = {"model": MODEL, "messages": [{"role": "user", "content": text}], **fields}
        return self.http.post("/chat/completions", json=body)

    def events(self, text: str = "Hello there", **fields: Any) -> list[Any]:
        """The stream's events as JSON; the end marker as text."""
        response = self.post(text, stream=True, **fields)
        assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
        return parse_events(response.text)


def parse_events(text: str) -> list[Any]:
    assert text.endswith("\n\n")
    data = [block.removeprefix("data: ") for block in text.removesuffix("\n\n").split("\n\n")]
    return [entry if entry == "[DONE]" else json.loads(entry) for entry in data]


def deltas(events: list[Any]) -> list[dict[str, Any]]:
    return [event["choices"][0]["delta"] for event in events if event != "[DONE]" and event.get("choices")]


def text_of(events: list[Any]) -> str:
    return "".join(delta.get("content") or "" for delta in deltas(events))


@pytest.fixture
def local(sandboxes: Callable[..., Sandbox]) -> Sandbox:
    """The sandbox with the real model, one for all tests here: each would start a server of its own."""
    if local_model.find_weights() is None:
        pytest.skip("the local model's weights are not on this machine (linkspan sandbox --engine local --download)")
    return sandboxes("local", llm_engine_options=OLD_PODS)


@pytest.fixture
def client(sandbox: Sandbox) -> Iterator[Client]:
    made = Client(sandbox.scaleway_url)
    with made.http:
        yield made
