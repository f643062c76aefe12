"""The local engine with the real model, where its weights are on this machine."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from linkspan_sandbox import local_model
from tests.sandbox.conftest import Client, text_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from linkspan_sandbox import Sandbox

pytestmark = pytest.mark.skipif(
    local_model.find_weights() is None,
    reason="the local model's weights are not on this machine (linkspan sandbox --engine local --download)",
)


@pytest.fixture
def local(sandboxes: Callable[..., Sandbox]) -> Sandbox:
    return sandboxes("local")


@pytest.fixture
def client(local: Sandbox) -> Client:
    return Client(local.scaleway_url)


def test_answers_and_says_which_model_it_is(client: Client) -> None:
    answer = client.post("Name the capital of France.", temperature=0, max_tokens=16).json()
    assert answer["model"] == local_model.MODEL_NAME
    assert answer["choices"][0]["message"]["content"].strip()
    assert answer["usage"]["total_tokens"] == answer["usage"]["prompt_tokens"] + answer["usage"]["completion_tokens"]


def test_streams_what_it_would_answer(client: Client) -> None:
    options = {"temperature": 0, "max_tokens": 12}
    whole = client.post("Count to five.", **options).json()["choices"][0]
    *events, usage, marker = client.events("Count to five.", stream_options={"include_usage": True}, **options)
    assert text_of(events) == whole["message"]["content"]
    assert events[-1]["choices"][0]["finish_reason"] == whole["finish_reason"]
    assert usage["usage"]["completion_tokens"] <= 12
    assert marker == "[DONE]"


def test_keeps_to_a_schema(client: Client) -> None:
    schema = {"type": "object", "properties": {"city": {"type": "string", "maxLength": 20}}, "required": ["city"]}
    wanted = {"type": "json_schema", "json_schema": {"name": "place", "schema": schema}}
    answer = client.post("Which city?", response_format=wanted, max_tokens=60, temperature=0).json()
    assert list(json.loads(answer["choices"][0]["message"]["content"])) == ["city"]


def test_gives_log_probabilities(client: Client) -> None:
    choice = client.post("Hello", logprobs=True, top_logprobs=2, max_tokens=3, temperature=0).json()["choices"][0]
    tokens = choice["logprobs"]["content"]
    assert "".join(entry["token"] for entry in tokens) == choice["message"]["content"]
    assert {len(entry["top_logprobs"]) for entry in tokens} == {2}
    assert all(entry["logprob"] <= 0 for entry in tokens)


def test_says_what_it_cannot_do(client: Client) -> None:
    tool = {"type": "function", "function": {"name": "weather", "parameters": {}}}
    picture = [{"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}]
    refusals = [
        (client.post(tools=[tool], tool_choice="required"), "cannot call tools"),
        (client.post(messages=[{"role": "user", "content": picture}]), "takes text only, not image_url"),
        (client.post("word " * 5000), "maximum context length is 4096 tokens"),
    ]
    for response, words in refusals:
        assert response.status_code == 400
        assert words in response.json()["error"]["message"]
