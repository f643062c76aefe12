"""Dedicated deployments: any address, no key if they want none, their own names, running totals on every chunk."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from linkspan import langchain, llama_index
from linkspan.errors import ConfigurationError
from linkspan.providers.catalog import model_info
from tests.catalogue.conftest import answer, listed, name_of
from tests.support.loopback import event_stream

if TYPE_CHECKING:
    from tests.support.loopback import LoopbackServer

MODEL = "mistral/mistral-small-3.2-24b-instruct-2506:fp8"
CHAT = [langchain.ChatScaleway, llama_index.Scaleway]
USAGE = [(9, 0), (9, 1), (9, 2), (9, 3)]


def chunks() -> list[bytes]:
    """As the documentation shows them: ``name: ""`` in the first delta, and totals so far on each chunk."""
    deltas: list[dict[str, Any]] = [
        {"role": "assistant", "name": "", "content": ""},
        {"content": "Bonjour"},
        {"content": " !"},
        {},
    ]
    return [
        json.dumps(
            {
                "id": "chatcmpl-1",
                "object": "chat.completion.chunk",
                "model": MODEL,
                "choices": [{"index": 0, "delta": delta, "finish_reason": None if delta else "stop"}],
                "usage": {"prompt_tokens": prompt, "completion_tokens": out, "total_tokens": prompt + out},
            }
        ).encode()
        for delta, (prompt, out) in zip(deltas, USAGE, strict=True)
    ]


def streamed(model: Any, face: str) -> Any:
    """Stream an answer, and return its whole: added up in LangChain, the last response in LlamaIndex."""

    async def collect() -> list[Any]:
        if isinstance(model, langchain.ChatScaleway):
            found = [chunk async for chunk in model.astream("Salut")]
        else:
            found = [chunk async for chunk in await model.astream_complete("Salut")]
        await model.aclose()
        return found

    if face == "async":
        found = asyncio.run(collect())
    elif isinstance(model, langchain.ChatScaleway):
        found = list(model.stream("Salut"))
    else:
        found = list(model.stream_complete("Salut"))
    model.close()
    if not isinstance(model, langchain.ChatScaleway):
        return found[-1]
    whole = found[0]
    for chunk in found[1:]:
        whole += chunk
    return whole


@pytest.mark.parametrize("cls", CHAT, ids=name_of)
def test_running_totals_are_not_summed(server: LoopbackServer, cls: Any, face: str) -> None:
    server.answer(*event_stream(*chunks()))
    whole = streamed(cls(model=MODEL, base_url=f"{server.url}/v1", max_retries=0), face)
    if cls is langchain.ChatScaleway:
        assert whole.content == "Bonjour !"
        assert whole.usage_metadata == {"input_tokens": 9, "output_tokens": 3, "total_tokens": 12}
        assert whole.response_metadata["model_name"] == MODEL
        assert whole.name is None
    else:
        assert whole.text == "Bonjour !"
        counts = {name: whole.additional_kwargs[name] for name in ("prompt_tokens", "completion_tokens")}
        assert counts == {"prompt_tokens": 9, "completion_tokens": 3}
    body = server.requests[0].json()
    assert body["model"] == MODEL


def test_no_key_is_needed_and_none_is_sent(server: LoopbackServer, cls: Any, face: str) -> None:
    answer(server, {"object": "list", "data": [{"id": MODEL, "object": "model", "created": 1, "owned_by": "vllm"}]})
    (model,) = listed(cls(model=MODEL, base_url=f"{server.url}/v1/", max_retries=0), face)
    (request,) = server.requests
    assert request.target == "/v1/models"
    assert "authorization" not in request.headers
    assert model.id == MODEL
    assert model.info.id == "mistral-small-3.2-24b-instruct-2506"


def test_the_public_service_wants_a_key(cls: Any) -> None:
    with pytest.raises(ConfigurationError, match="SCW_SECRET_KEY"):
        cls(model=MODEL)
    # The addresses of deployments, of today and of before; nothing is opened.
    for host in ("6170.ifr.fr-par.scaleway.com", "6170.ifr.fr-par.scw.cloud", "10.0.0.7:8000"):
        cls(model=MODEL, base_url=f"https://{host}/v1/")


def test_a_deployment_has_limits_of_its_own() -> None:
    base_url = "https://6170.ifr.fr-par.scaleway.com/v1"
    name = "meta/llama-3.3-70b-instruct:fp8"
    profile = langchain.ChatScaleway(model=name, base_url=base_url).profile
    assert profile is not None
    # The public service has a window of 100,000 tokens and a cap of 16,000; a deployment has no cap.
    assert (profile["max_input_tokens"], profile["tool_calling"]) == (128_000, True)
    assert "max_output_tokens" not in profile
    metadata = llama_index.Scaleway(model=name, base_url=base_url).metadata
    assert (metadata.model_name, metadata.context_window) == (name, 128_000)


@pytest.mark.parametrize(
    ("name", "facts"),
    [
        ("mistral/mistral-large-3-675b-instruct-2512:fp4", {"context_window": 250_000, "vision": True, "tools": True}),
        ("allenai/molmo-72b-0924:bf16", {"context_window": 50_000, "vision": True, "tools": False}),
        ("mistral/magistral-small-2506:bf16", {"context_window": 32_000, "tools": True}),
        # Retired on the public service, alive here; what it can do is the same.
        ("mistral/pixtral-12b-2409:bf16", {"status": "active", "end_of_life": None, "vision": True, "price": None}),
        # Nothing is known of deployments of it but what the model can do.
        ("qwen/qwen3.8-27b:fp8", {"context_window": None, "max_output_tokens": None, "vision": True, "price": None}),
    ],
)
def test_what_is_known_of_deployments(name: str, facts: dict[str, Any]) -> None:
    info = model_info("scaleway", name)
    assert info is not None
    assert {field: getattr(info, field) for field in facts} == facts
    assert info.offer == "dedicated"
    assert info.as_of


def test_a_vendor_alone_is_another_name_of_the_public_services_model() -> None:
    assert model_info("scaleway", "google/gemma-4-26b-a4b-it") == model_info("scaleway", "gemma-4-26b-a4b-it")
    assert model_info("scaleway", "someone/a-model-of-tomorrow:fp8") is None
