"""The list of models, one of them, and the health of a deployment, read over real sockets."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from linkspan.errors import ConfigurationError, InvalidResponseError, NotFoundError
from linkspan.providers.llm_engine import LLMEngineModel, decode_model, model_path
from linkspan.routes import models as model_routes
from tests.support.loopback import http

if TYPE_CHECKING:
    from linkspan.conversation import ChatRequest, PromptRequest
    from tests.providers.llm_engine.conftest import Caller

ROW = {
    "id": "end_1",
    "name": "llama-2-7b",
    "model_name": "llama-2",
    "source": "hugging_face",
    "status": "READY",
    "inference_framework": "vllm",
    "num_shards": 2,
    "quantize": None,
    "spec": {"endpoint_type": "sync", "public_inference": True},
}


async def models(caller: Caller[Any]) -> list[Any]:
    if caller.face == "sync":
        return list(model_routes.list_models(caller.endpoint))
    return list(await model_routes.alist_models(caller.endpoint))


async def model(caller: Caller[Any], name: str) -> LLMEngineModel:
    path = model_path(name)
    if caller.face == "sync":
        return caller.endpoint.read(path, decode_model)
    return await caller.endpoint.aread(path, decode_model)


async def test_lists_models_with_framework_and_kind(prompts: Caller[PromptRequest], chats: Caller[ChatRequest]) -> None:
    for caller in (prompts, chats):
        caller.server.answer(http(200, json.dumps({"model_endpoints": [ROW, {"name": "org/bare"}]}).encode()))
        first, second = await models(caller)
        assert first == LLMEngineModel(
            id="llama-2-7b",
            endpoint_id="end_1",
            model_name="llama-2",
            source="hugging_face",
            status="READY",
            framework="vllm",
            kind="sync",
            public=True,
            extra={"num_shards": 2, "spec": ROW["spec"]},
        )
        assert (first.streams, second.id, second.streams) == (False, "org/bare", None)
        assert caller.server.requests[-1].target == "/v1/llm/model-endpoints"
        assert caller.server.requests[-1].method == "GET"


@pytest.mark.parametrize("body", [b"[]", b'{"model_endpoints": null}', b'{"model_endpoints": [{}]}', b"<html>"])
async def test_refuses_what_is_no_list(prompts: Caller[PromptRequest], body: bytes) -> None:
    prompts.server.answer(http(200, body))
    with pytest.raises(InvalidResponseError):
        await models(prompts)


async def test_looks_one_up_by_its_name(prompts: Caller[PromptRequest]) -> None:
    prompts.server.answer(http(200, json.dumps(ROW).encode()))
    assert (await model(prompts, "a b&c")).framework == "vllm"
    assert prompts.server.requests[-1].target == "/v1/llm/model-endpoints/a%20b%26c"
    prompts.server.answer(http(404, b'{"detail": "Model Endpoint x  was not found."}'))
    with pytest.raises(NotFoundError, match="may belong to another team"):
        await model(prompts, "x")
    with pytest.raises(ConfigurationError, match="slash"):
        await model(prompts, "org/model")
