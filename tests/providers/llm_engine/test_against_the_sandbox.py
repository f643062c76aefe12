"""The codecs and the sandbox's dialect together: whole calls as an adapter makes them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import SecretStr

from linkspan.conversation import ChatRequest, Image, Message, PromptRequest, ResponseFormat, Text
from linkspan.endpoint import connect
from linkspan.errors import (
    ContextOverflowError,
    InterruptedStreamError,
    InvalidRequestError,
    NotFoundError,
    RateLimitError,
    ServerError,
)
from linkspan.providers.filters.forced_call import ForcedCallCodec
from linkspan.providers.llm_engine import (
    LLM_ENGINE,
    LLMEngineChatCodec,
    LLMEnginePromptCodec,
)
from linkspan.providers.llm_engine.models import decode_model, model_path
from linkspan.routes import models as model_routes
from linkspan_sandbox import ErrorEvent, HTTPError, LLMEngineOptions, Reply, Sandbox, Stall
from tests.providers.llm_engine.conftest import said
from tests.support.loopback import END, Delay, chunk, head
from tests.support.streams import assemble, stream_deltas

if TYPE_CHECKING:
    from collections.abc import Iterator

    from linkspan.endpoint import Endpoint
    from tests.support.loopback import LoopbackServer

#: One endpoint of each framework that serves prompts.
FRAMEWORKS = ["llama-2-7b", "mistral-7b", "llama-7b", "flan-t5-xxl", "mpt-7b"]
KEY = SecretStr("sandbox-key-1")


@pytest.fixture
def sandbox_settings() -> dict[str, Any]:
    return {"llm_engine_options": LLMEngineOptions(ping_seconds=0.02)}


@pytest.fixture
def prompts(sandbox: Sandbox) -> Iterator[Endpoint[PromptRequest]]:
    codec = LLMEnginePromptCodec()
    endpoint = connect(codec, LLM_ENGINE, api_key=KEY, base_url=sandbox.llm_engine_url, max_retries=0)
    yield endpoint
    endpoint.close()


@pytest.fixture
def chats(sandbox: Sandbox) -> Iterator[Endpoint[ChatRequest]]:
    codec = ForcedCallCodec(LLMEngineChatCodec("bearer"), LLM_ENGINE.title)
    endpoint = connect(codec, LLM_ENGINE, api_key=KEY, base_url=sandbox.llm_engine_url, max_retries=0)
    yield endpoint
    endpoint.close()


def prompt(text: str = "one two three", model: str = "llama-2-7b", **fields: Any) -> PromptRequest:
    return PromptRequest(model, text, **fields)


def chat(*parts: Any, model: str = "llama-3-8b-instruct", **fields: Any) -> ChatRequest:
    return ChatRequest(model, [Message("user", list(parts) or [Text("one two three")])], **fields)


@pytest.mark.parametrize("model", FRAMEWORKS)
def test_every_framework_says_the_same_whole_and_streamed(sandbox: Sandbox, model: str) -> None:
    framework: Any = "tensorrt_llm" if model == "mpt-7b" else None
    codec = LLMEnginePromptCodec(inference_framework=framework)
    prompts = connect(codec, LLM_ENGINE, api_key=KEY, base_url=sandbox.llm_engine_url, max_retries=0)
    for request, text in (
        (prompt(model=model), "one two three"),
        (prompt(model=model, stop=["two"]), "one "),
    ):
        assert prompts.complete(request).text == text
        assert assemble(stream_deltas(prompts, request)).text == text
    prompts.close()


def test_log_probabilities_whole_and_streamed(prompts: Endpoint[PromptRequest]) -> None:
    request = prompt(parameters={"return_token_log_probs": True})
    whole = prompts.complete(request).logprobs
    assert whole == assemble(stream_deltas(prompts, request)).logprobs
    assert whole is not None
    assert [token.token for token in whole] == ["one", " two", " three"]


def test_a_schema_reaches_the_model(chats: Endpoint[ChatRequest]) -> None:
    schema = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    answer = chats.complete(chat(response_format=ResponseFormat("json_schema", schema)))
    assert answer.text.startswith('{"city":')


def test_too_long_a_prompt(prompts: Endpoint[PromptRequest], chats: Endpoint[ChatRequest]) -> None:
    long = "x " * 9000
    with pytest.raises(ContextOverflowError):
        prompts.complete(prompt(long))
    with pytest.raises(ContextOverflowError, match=r"^llm_engine: This model's maximum context length") as caught:
        list(stream_deltas(prompts, prompt(long)))
    assert caught.value.request_id
    with pytest.raises(ContextOverflowError):
        chats.complete(chat(Text(long)))
    with pytest.raises(ServerError, match="without streaming reports it"):
        list(stream_deltas(chats, chat(Text(long))))


def test_what_an_endpoint_cannot_do(prompts: Endpoint[PromptRequest], chats: Endpoint[ChatRequest]) -> None:
    with pytest.raises(InvalidRequestError, match='endpoint_type is "sync"'):
        list(stream_deltas(prompts, prompt(model="llama-2-13b")))
    with pytest.raises(InvalidRequestError, match="chat only"):
        prompts.complete(prompt(model="qwen2-72b-instruct"))
    with pytest.raises(NotFoundError, match="another team"):
        prompts.complete(prompt(model="unknown"))
    with pytest.raises(NotFoundError, match="retired"):
        chats.complete(chat(model="zephyr-7b-beta"))


def test_a_long_validation_error_says_what_matters(chats: Endpoint[ChatRequest]) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        chats.complete(chat(Image(url="no address")))
    assert caught.value.status_code == 422
    assert caught.value.message.startswith("llm_engine: body.messages.0.content.0.image_url.url: Input should be a")
    assert len(caught.value.message) < 150


def test_failures(sandbox: Sandbox, prompts: Endpoint[PromptRequest]) -> None:
    sandbox.add_rule(Reply(fault=HTTPError(429)), times=2)
    for ask in (prompts.complete, lambda request: list(stream_deltas(prompts, request))):
        with pytest.raises(RateLimitError, match="Too many requests"):
            ask(prompt())
    sandbox.add_rule(Reply("one two", fault=ErrorEvent(1)), times=1)
    with pytest.raises(ServerError) as caught:
        list(stream_deltas(prompts, prompt()))
    assert caught.value.partial_text == "one"


def test_lists_and_looks_up_models(prompts: Endpoint[PromptRequest]) -> None:
    listed = {model.id: model for model in model_routes.list_models(prompts)}
    assert prompts.read(model_path("llama-2-13b"), decode_model) == listed["llama-2-13b"]
    assert listed["mistral-7b"].extra["num_shards"] == 1


class TestSilence:
    def test_a_stalled_stream_ends_though_pings_come(self, sandbox: Sandbox) -> None:
        sandbox.add_rule(Reply("one two", fault=Stall(1)))
        hasty = replace(LLM_ENGINE, default_stall_timeout=0.15)
        endpoint = connect(LLMEnginePromptCodec(), hasty, api_key=KEY, base_url=sandbox.llm_engine_url)
        with pytest.raises(InterruptedStreamError, match="stalled") as caught:
            list(stream_deltas(endpoint, prompt()))
        assert caught.value.partial_text == "one"
        endpoint.close()

    def test_a_model_that_has_to_be_started_is_waited_for(self, server: LoopbackServer) -> None:
        hasty = replace(LLM_ENGINE, default_stall_timeout=0.05)
        endpoint = connect(LLMEnginePromptCodec(), hasty, api_key=KEY, base_url=server.url)
        ping = chunk(b": ping - 2026-11-21\r\n\r\n")
        # The answer in one piece: a busy machine may take longer between two.
        answer = chunk(b"data: " + said("one", finished=True) + b"\r\n\r\n") + END
        server.answer(head(), ping, Delay(0.2), ping, answer)
        assert assemble(stream_deltas(endpoint, prompt())).text == "one"
        endpoint.close()

    def test_a_timeout_of_ones_own_is_for_both(self, sandbox: Sandbox) -> None:
        sandbox.add_rule(Reply("one two", pause=0.4))
        hasty = replace(LLM_ENGINE, default_stall_timeout=0.15)
        endpoint = connect(LLMEnginePromptCodec(), hasty, api_key=KEY, base_url=sandbox.llm_engine_url, timeout=60)
        assert assemble(stream_deltas(endpoint, prompt())).text == "one two"
        endpoint.close()
