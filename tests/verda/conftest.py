"""The classes of both frameworks as one kind of thing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from linkspan import langchain, llama_index

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from linkspan_sandbox import Sandbox

KEY = "a-key-of-verda-0123456789"


class Asker:
    """A class of one framework, asked in the four ways."""

    def __init__(self, framework: str, name: str) -> None:
        self.framework = framework
        self.name = name
        self.cls: Any = getattr(langchain if framework == "langchain" else llama_index, name)

    def make(self, sandbox: Sandbox, **settings: Any) -> Any:
        return self.cls(**{"api": "openai", "base_url": sandbox.vllm_url, "api_key": KEY, "max_retries": 0, **settings})

    def ask(self, model: Any, text: str = "hi", /, **kwargs: Any) -> str:
        if self.framework == "llama_index":
            return str(model.complete(text, **kwargs).text)
        answer = model.invoke(text, **kwargs)
        return answer if isinstance(answer, str) else str(answer.content)

    async def aask(self, model: Any, text: str = "hi", /, **kwargs: Any) -> str:
        if self.framework == "llama_index":
            return str((await model.acomplete(text, **kwargs)).text)
        answer = await model.ainvoke(text, **kwargs)
        return answer if isinstance(answer, str) else str(answer.content)

    def pieces(self, model: Any, text: str = "hi", /, **kwargs: Any) -> list[str]:
        if self.framework == "llama_index":
            return [str(chunk.delta) for chunk in model.stream_complete(text, **kwargs)]
        chunks = list(model.stream(text, **kwargs))
        return [chunk if isinstance(chunk, str) else str(chunk.content) for chunk in chunks]

    async def apieces(self, model: Any, text: str = "hi", /, **kwargs: Any) -> list[str]:
        if self.framework == "llama_index":
            stream: AsyncIterator[Any] = await model.astream_complete(text, **kwargs)
            return [str(chunk.delta) async for chunk in stream]
        return [
            chunk if isinstance(chunk, str) else str(chunk.content) async for chunk in model.astream(text, **kwargs)
        ]


ASKERS = [
    Asker(framework, name) for framework in ("langchain", "llama_index") for name in ("ChatDataCrunch", "DataCrunch")
]
every = pytest.mark.parametrize("asker", ASKERS, ids=lambda asker: f"{asker.framework}-{asker.name}")
