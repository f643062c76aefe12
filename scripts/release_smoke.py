"""Calls every class of both frameworks against the sandbox: whole, streamed and async. Run by ``release_check.py``."""

from __future__ import annotations

import asyncio
import inspect
import os
from typing import Any

import linkspan_sandbox
from linkspan import langchain, llama_index
from linkspan.connection import Connected

TEXT = "Hello from the wheel"
MODELS: dict[str, dict[str, Any]] = {
    "ChatScaleway": {"model": "llama-3.3-70b-instruct"},
    "Scaleway": {"model": "llama-3.3-70b-instruct"},
    "ChatLLMEngine": {"model": "llama-3-8b-instruct"},
    "LLMEngine": {"model": "llama-2-7b"},
    "ScalewayEmbeddings": {"model": "qwen3-embedding-8b"},
    "ScalewayEmbedding": {"model": "qwen3-embedding-8b"},
}


def main() -> None:
    """Call each class that a user can create."""
    with linkspan_sandbox.run() as sandbox:
        os.environ.update(sandbox.environment, no_proxy="127.0.0.1", NO_PROXY="127.0.0.1")
        called = [
            f"{package.__name__}.{name}"
            for package in (langchain, llama_index)
            for name in package.__all__
            if call(package, name)
        ]
    print(f"{len(called)} classes called: {', '.join(called)}")
    assert len(called) >= 22, called


def call(package: Any, name: str) -> bool:
    """Call a class, and return whether it calls an API."""
    cls = getattr(package, name)
    if not (inspect.isclass(cls) and issubclass(cls, Connected) and hasattr(cls, "_provider")):
        return False
    model = cls(**MODELS.get(name, {}))
    if "Embedding" in name:
        embed = getattr(model, "embed_query", None) or model.get_query_embedding
        assert len(embed(TEXT)) > 1, name
    elif "Rerank" in name:
        assert rerank(package, model), name
    elif "Transcription" in name:
        assert read(package, model, b"ID3 ...", "sound.mp3"), name
    elif "OCR" in name:
        assert read(package, model, b"%PDF-1.7 ...", "page.pdf"), name
    elif name == "Cygnal":
        assert model.check(TEXT).violation is not None, name
    else:
        texts = in_langchain(model) if package is langchain else in_llama_index(model)
        assert all(TEXT in text for text in texts), (name, texts)
    return True


def read(package: Any, reader: Any, content: bytes, name: str) -> Any:
    """Read a file."""
    if package is llama_index:
        return reader.load_data(content)
    from langchain_core.document_loaders import Blob  # noqa: PLC0415  # for these classes alone

    return reader.parse(Blob.from_data(content, path=name))


def rerank(package: Any, model: Any) -> Any:
    """Order one text."""
    if package is langchain:
        return model.rerank([TEXT], TEXT)
    from llama_index.core.schema import NodeWithScore, TextNode  # noqa: PLC0415  # for this class alone

    return model.postprocess_nodes([NodeWithScore(node=TextNode(text=TEXT))], query_str=TEXT)


def in_langchain(model: Any) -> list[str]:
    """Return the answers of a LangChain model."""

    async def streamed() -> str:
        return "".join([text_of(chunk) async for chunk in model.astream(TEXT)])

    whole = [text_of(model.invoke(TEXT)), text_of(asyncio.run(model.ainvoke(TEXT)))]
    return [*whole, "".join(map(text_of, model.stream(TEXT))), asyncio.run(streamed())]


def in_llama_index(model: Any) -> list[str]:
    """Return the answers of a LlamaIndex model."""

    async def streamed() -> str:
        return "".join([chunk.delta or "" async for chunk in await model.astream_complete(TEXT)])

    whole = [model.complete(TEXT).text, asyncio.run(model.acomplete(TEXT)).text]
    return [*whole, "".join(chunk.delta or "" for chunk in model.stream_complete(TEXT)), asyncio.run(streamed())]


def text_of(answer: Any) -> str:
    """Return the text of a message, or of a completion."""
    return answer if isinstance(answer, str) else str(answer.content)


if __name__ == "__main__":
    main()
