"""The Responses API of a real llama.cpp with a real model, in both frameworks."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from llama_index.core.base.llms.types import ChatMessage

from linkspan.langchain import ChatScaleway
from linkspan.llama_index import Scaleway

if TYPE_CHECKING:
    from linkspan_sandbox.llama_server import LlamaServer


def settings(llama_cpp: LlamaServer) -> dict[str, Any]:
    where = {"base_url": f"{llama_cpp.url}/v1", "api_key": llama_cpp.api_key, "max_retries": 0}
    return {"model": "smollm2", "api": "responses", "temperature": 0, "max_tokens": 4, **where}


def test_langchain(llama_cpp: LlamaServer) -> None:
    with ChatScaleway(**settings(llama_cpp)) as model:
        history = [("system", "Be brief."), ("user", "Hi"), ("assistant", "Ho."), ("user", "Tell me a long story.")]
        whole = model.invoke(history)
        first, *rest = list(model.stream(history))
        streamed = sum(rest, first)
        assert whole.text == streamed.text != ""
        # It calls the answer completed.
        assert [one.response_metadata["finish_reason"] for one in (whole, streamed)] == ["length"] * 2
        assert whole.usage_metadata is not None
        assert whole.usage_metadata["output_tokens"] == 4
        assert model.invoke(history, stop=[whole.text[1:]]).text == whole.text[:1]


def test_llama_index(llama_cpp: LlamaServer) -> None:
    async def ask() -> tuple[str, str]:
        llm = Scaleway(**settings(llama_cpp))
        asked = [ChatMessage("Say hello.")]
        whole = (await llm.achat(asked)).message.content or ""
        pieces = [chunk.delta or "" async for chunk in await llm.astream_chat(asked)]
        await llm.aclose()
        return whole, "".join(pieces)

    whole, streamed = asyncio.run(ask())
    assert whole == streamed != ""
