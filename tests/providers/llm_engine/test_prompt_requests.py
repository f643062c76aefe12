"""What a prompt becomes on the wire, and what is refused before it is sent."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import pytest

from linkspan.errors import ConfigurationError, InvalidRequestError, UnsupportedContentError
from linkspan.providers.llm_engine import LLM_ENGINE, LLMEnginePromptCodec
from tests.providers.llm_engine.conftest import KEY, Caller, prompt, said

if TYPE_CHECKING:
    from linkspan.conversation import PromptRequest
    from tests.support.loopback import LoopbackServer


async def test_sends_the_three_fields_without_defaults_and_nothing_else(prompts: Caller[PromptRequest]) -> None:
    assert await prompts.sent(prompt("Hi")) == {"prompt": "Hi", "max_new_tokens": 256, "temperature": 0.2}
    assert prompts.server.requests[-1].target == "/v1/llm/completions-sync?model_endpoint_name=llama-2-7b"


async def test_sends_every_field_that_is_set(prompts: Caller[PromptRequest]) -> None:
    fields = {
        "max_new_tokens": 7,
        "temperature": 1.0,
        "return_token_log_probs": True,
        "presence_penalty": 2,
        "frequency_penalty": 0.5,
        "top_k": 40,
        "top_p": 0.9,
        "include_stop_str_in_output": True,
        "guided_choice": ["a", "b"],
        "skip_special_tokens": False,
    }
    body = await prompts.sent(prompt("Hi", parameters=fields, stop=["\n"], extra_body={"future": 1}))
    assert body == {"prompt": "Hi", **fields, "stop_sequences": ["\n"], "future": 1}


async def test_takes_the_frameworks_words(prompts: Caller[PromptRequest]) -> None:
    body = await prompts.sent(prompt(parameters={"max_tokens": 3, "stop_sequences": ["b", "a"]}, stop=["a"]))
    assert body["max_new_tokens"] == 3
    assert body["stop_sequences"] == ["a", "b"]
    assert "max_tokens" not in body


async def test_leaves_out_what_other_frameworks_refuse_though_it_changes_nothing(
    prompts: Caller[PromptRequest],
) -> None:
    body = await prompts.sent(prompt(parameters={"include_stop_str_in_output": False, "top_p": None}))
    assert set(body) == {"prompt", "max_new_tokens", "temperature"}


@pytest.mark.parametrize(
    ("name", "encoded"),
    [("a&b", "a%26b"), ("org/model", "org%2Fmodel"), ("ü #1+?", "%C3%BC%20%231%2B%3F")],
)
async def test_encodes_the_models_name(prompts: Caller[PromptRequest], name: str, encoded: str) -> None:
    await prompts.sent(prompt(model=name))
    assert prompts.server.requests[-1].target == f"/v1/llm/completions-sync?model_endpoint_name={encoded}"


@pytest.mark.parametrize("path", ["/llm-engine", "/llm-engine/"])
async def test_loses_no_segment_of_the_base_url(face: str, server: LoopbackServer, path: str) -> None:
    caller: Caller[PromptRequest] = Caller(face, LLMEnginePromptCodec(), server, path)
    await caller.streamed(prompt(), said("x", finished=True))
    await caller.aclose()
    assert server.requests[-1].target == "/llm-engine/v1/llm/completions-stream?model_endpoint_name=llama-2-7b"


async def test_sends_the_key_as_basic_with_x_api_key(prompts: Caller[PromptRequest]) -> None:
    await prompts.sent(prompt())
    headers = prompts.server.requests[-1].headers
    assert base64.b64decode(headers["authorization"].removeprefix("Basic ")).decode() == f"{KEY}:"
    assert headers["x-api-key"] == KEY


async def test_sends_the_key_as_bearer_by_choice(face: str, server: LoopbackServer) -> None:
    caller: Caller[PromptRequest] = Caller(face, LLMEnginePromptCodec(auth="bearer"), server)
    await caller.sent(prompt())
    await caller.aclose()
    headers = server.requests[-1].headers
    assert headers["authorization"] == f"Bearer {KEY}"
    assert "x-api-key" not in headers


def test_refuses_a_key_that_basic_cannot_carry() -> None:
    with pytest.raises(ConfigurationError, match="colon") as caught:
        LLMEnginePromptCodec().auth_headers("secret:part")
    assert "secret" not in str(caught.value)
    assert LLMEnginePromptCodec(auth="bearer").auth_headers("a:b") == {"Authorization": "Bearer a:b"}


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"temperature": 1.5}, r"temperature must be between 0 and 1"),
        ({"temperature": float("nan")}, r"temperature must be between"),
        ({"temperature": "0.5"}, r"temperature must be between"),
        ({"presence_penalty": -0.1}, r"presence_penalty must be between 0 and 2"),
        ({"frequency_penalty": 2.1}, r"frequency_penalty must be between 0 and 2"),
        ({"top_p": 0}, r"top_p must be more than 0"),
        ({"top_k": 0}, r"top_k must be at least 1, or -1"),
        ({"top_k": -2}, r"top_k must be at least 1, or -1"),
        ({"top_k": 2.0}, r"top_k must be a whole number"),
        ({"max_new_tokens": 0}, r"max_new_tokens must be at least 1"),
        ({"max_new_tokens": True}, r"max_new_tokens must be a whole number"),
        ({"max_new_tokens": 1, "max_tokens": 1}, r"two names for one limit"),
        ({"temperature": 0, "top_k": 5}, r"top_k=5 cannot be combined with temperature=0"),
        ({"temperature": 0.0, "top_p": 0.5}, r"top_p=0.5 cannot be combined with temperature=0"),
        ({"stop_sequences": "END"}, r"stop_sequences must be a list of texts"),
        ({"guided_choice": []}, r"guided_choice must hold at least one"),
        ({"guided_json": "{}"}, r"guided_json must be a JSON Schema as an object"),
        ({"guided_regex": 5}, r"guided_regex must be text"),
        ({"guided_regex": "a", "guided_json": {}}, r"guided_json and guided_regex are both set"),
        ({"skip_special_tokens": 1}, r"skip_special_tokens must be true or false"),
    ],
)
async def test_refuses_what_every_framework_refuses(
    prompts: Caller[PromptRequest], parameters: dict[str, Any], words: str
) -> None:
    with pytest.raises(InvalidRequestError, match=words) as caught:
        await prompts.complete(prompt(parameters=parameters))
    assert caught.value.status_code is None
    assert prompts.server.requests == []


@pytest.mark.parametrize("parameters", [{"temperature": 0, "top_k": -1, "top_p": 1}, {"temperature": 0, "top_p": None}])
async def test_takes_what_changes_nothing_beside_temperature_0(
    prompts: Caller[PromptRequest], parameters: dict[str, Any]
) -> None:
    assert (await prompts.sent(prompt(parameters=parameters)))["temperature"] == 0


async def test_refuses_fields_that_v1_would_ignore(prompts: Caller[PromptRequest]) -> None:
    with pytest.raises(UnsupportedContentError, match=r"no field 'seed'.*extra_body"):
        await prompts.complete(prompt(parameters={"seed": 1}))
    with pytest.raises(ConfigurationError, match="needs model"):
        await prompts.complete(prompt(model=None))
    assert prompts.server.requests == []


def test_has_no_address_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LLM_ENGINE_BASE_PATH", raising=False)
    with pytest.raises(ConfigurationError, match=r"give base_url, or set LLM_ENGINE_BASE_PATH"):
        LLM_ENGINE.resolve_base_url(None)
    monkeypatch.setenv("LLM_ENGINE_BASE_PATH", "https://host/llm-engine/")
    assert LLM_ENGINE.resolve_base_url(None) == "https://host/llm-engine/"
    assert LLM_ENGINE.default_timeout > 300
