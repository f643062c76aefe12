"""What is measured. Each contestant streams one answer and returns its text, so that none can win by losing some.

Raw and linkspan's own contestants post the same body to the same server; the floors have no server at all.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import httpx
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessageChunk
from langchain_core.outputs import ChatGenerationChunk
from llama_index.core.base.llms.types import ChatMessage, ChatResponse, LLMMetadata, TextBlock
from llama_index.core.llms import CustomLLM
from llama_index.core.llms.callbacks import llm_chat_callback, llm_completion_callback
from pydantic import PrivateAttr, SecretStr

from linkspan.conversation import ChatRequest, Message, Text
from linkspan.endpoint import connect
from linkspan.langchain import ChatScaleway
from linkspan.llama_index import Scaleway
from linkspan.providers.scaleway import SCALEWAY, ScalewayChatCodec

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

__all__ = ["LANGCHAIN_FLOOR", "LLAMA_INDEX_FLOOR", "RAW", "Contestant", "contestants"]

RAW = "raw httpx + json"
LANGCHAIN_FLOOR = "langchain-core floor"
LLAMA_INDEX_FLOOR = "llama-index floor"

_MODEL = "llama-3.3-70b-instruct"
_PROMPT = "What is a linkspan?"
_KEY = "no-key-is-needed-here"
_ID = "chatcmpl-0f1e2d3c4b5a69788796a5b4c3d2e1f0"


@dataclass(frozen=True)
class Contestant:
    """One row of the table.

    Attributes:
        name: What it is called there.
        floor: The floor row that its framework sets; ``None`` for rows outside a framework.
        run: Stream one answer, return its text.
        arun: The same, async.
        prepare: Called before each stream, unmeasured.
        uses_server: Whether the way that events arrive makes a difference.
    """

    name: str
    floor: str | None
    run: Callable[[], str]
    arun: Callable[[], Awaitable[str]]
    prepare: Callable[[], None] | None = None
    uses_server: bool = True


def contestants(base_url: str, pieces: list[str]) -> list[Contestant]:
    """Return every contestant that is installed.

    Args:
        base_url: Where the server is, up to ``/v1``.
        pieces: The text of each chunk, for the floors.
    """
    rows = [
        _raw(base_url),
        _endpoint(base_url),
        *_langchain_floors(pieces),
        _langchain("linkspan ChatScaleway", ChatScaleway(model=_MODEL, api_key=SecretStr(_KEY), base_url=base_url)),
        _llama_index_floor(pieces),
        _llama_index("linkspan llama_index Scaleway", Scaleway(model=_MODEL, api_key=_KEY, base_url=base_url)),
    ]
    return rows + _others(base_url)


def _others(base_url: str) -> list[Contestant]:
    """Other packages, where they happen to be installed; linkspan does not depend on them."""
    rows = []
    if find_spec("langchain_openai"):
        from langchain_openai import ChatOpenAI  # noqa: PLC0415  # only if installed

        model = ChatOpenAI(model=_MODEL, api_key=SecretStr(_KEY), base_url=base_url, stream_usage=True)
        rows.append(_langchain("langchain-openai", model))
    if find_spec("langchain_mistralai"):
        from langchain_mistralai import ChatMistralAI  # noqa: PLC0415  # only if installed

        rows.append(
            _langchain(
                "langchain-mistralai", ChatMistralAI(model_name=_MODEL, api_key=SecretStr(_KEY), endpoint=base_url)
            )
        )
    return rows


# ------------------------------------------------------------------ outside frameworks


def _raw(base_url: str) -> Contestant:
    client = httpx.Client(trust_env=False)
    async_client = httpx.AsyncClient(trust_env=False)
    request: dict[str, Any] = {
        "method": "POST",
        "url": f"{base_url}/chat/completions",
        "json": {"model": _MODEL, "messages": [{"role": "user", "content": _PROMPT}], "stream": True},
    }

    def run() -> str:
        texts = []
        with client.stream(**request) as response:
            for line in response.iter_lines():
                if line.startswith("data: {"):
                    choices = json.loads(line[6:])["choices"]
                    if choices:
                        texts.append(choices[0]["delta"].get("content") or "")
        return "".join(texts)

    async def arun() -> str:
        texts = []
        async with async_client.stream(**request) as response:
            async for line in response.aiter_lines():
                if line.startswith("data: {"):
                    choices = json.loads(line[6:])["choices"]
                    if choices:
                        texts.append(choices[0]["delta"].get("content") or "")
        return "".join(texts)

    return Contestant(RAW, None, run, arun)


def _endpoint(base_url: str) -> Contestant:
    endpoint = connect(ScalewayChatCodec(), SCALEWAY, api_key=SecretStr(_KEY), base_url=base_url)
    request = ChatRequest(model=_MODEL, messages=[Message("user", [Text(_PROMPT)])])

    def run() -> str:
        return "".join([delta.text for delta in endpoint.stream(request)])

    async def arun() -> str:
        return "".join([delta.text async for delta in endpoint.astream(request)])

    return Contestant("linkspan Endpoint", None, run, arun)


# ------------------------------------------------------------------ LangChain


def _langchain(name: str, model: BaseChatModel) -> Contestant:
    def run() -> str:
        return "".join([str(chunk.content) for chunk in model.stream(_PROMPT)])

    async def arun() -> str:
        return "".join([str(chunk.content) async for chunk in model.astream(_PROMPT)])

    return Contestant(name, LANGCHAIN_FLOOR, run, arun)


class _ReadyChunks(BaseChatModel):
    """Yields what it was given: what is left is langchain-core's own work."""

    _ready: list[ChatGenerationChunk] = PrivateAttr(default_factory=list)

    def make_ready(self, pieces: list[str]) -> None:
        """Make the chunks of the next stream: core writes into them, so they serve once."""
        self._ready = [ChatGenerationChunk(message=AIMessageChunk(content=piece, id=_ID)) for piece in pieces]

    @property
    def _llm_type(self) -> str:
        return "ready-chunks"

    def _generate(self, *_: Any, **__: Any) -> Any:
        raise NotImplementedError("It streams only.")

    def _stream(self, *_: Any, **__: Any) -> Iterator[ChatGenerationChunk]:
        yield from self._ready

    async def _astream(self, *_: Any, **__: Any) -> AsyncIterator[ChatGenerationChunk]:
        for chunk in self._ready:
            yield chunk


class _BuiltChunks(_ReadyChunks):
    """Builds each chunk from its text while streaming, as every integration must; not part of the floor."""

    _pieces: list[str] = PrivateAttr(default_factory=list)

    def make_ready(self, pieces: list[str]) -> None:
        self._pieces = pieces

    def _stream(self, *_: Any, **__: Any) -> Iterator[ChatGenerationChunk]:
        for piece in self._pieces:
            yield ChatGenerationChunk(message=AIMessageChunk(content=piece, id=_ID))

    async def _astream(self, *_: Any, **__: Any) -> AsyncIterator[ChatGenerationChunk]:
        for piece in self._pieces:
            yield ChatGenerationChunk(message=AIMessageChunk(content=piece, id=_ID))


def _langchain_floors(pieces: list[str]) -> list[Contestant]:
    rows = []
    for name, model in ((LANGCHAIN_FLOOR, _ReadyChunks()), ("  same, building the chunks", _BuiltChunks())):
        row = _langchain(name, model)

        def prepare(model: _ReadyChunks = model) -> None:
            model.make_ready(pieces)

        rows.append(Contestant(name, None, row.run, row.arun, prepare, uses_server=False))
    return rows


# ------------------------------------------------------------------ LlamaIndex


def _llama_index(name: str, llm: Any) -> Contestant:
    messages = [ChatMessage(role="user", content=_PROMPT)]

    def run() -> str:
        return "".join([response.delta or "" for response in llm.stream_chat(messages)])

    async def arun() -> str:
        return "".join([response.delta or "" async for response in await llm.astream_chat(messages)])

    return Contestant(name, LLAMA_INDEX_FLOOR, run, arun)


class _ReadyResponses(CustomLLM):
    """Yields what it was given: what is left is llama-index-core's own work."""

    _ready: list[ChatResponse] = PrivateAttr(default_factory=list)

    def make_ready(self, pieces: list[str]) -> None:
        """Make the chunks: each shows the whole answer so far, as LlamaIndex's convention asks."""
        self._ready, text = [], ""
        for piece in pieces:
            text += piece
            message = ChatMessage(role="assistant", blocks=[TextBlock(text=text)])
            self._ready.append(ChatResponse(message=message, delta=piece))

    @property
    def metadata(self) -> LLMMetadata:
        """What core asks every model for."""
        return LLMMetadata()

    @llm_completion_callback()
    def complete(self, *_: Any, **__: Any) -> Any:
        """Not measured."""
        raise NotImplementedError("It streams chats only.")

    @llm_completion_callback()
    def stream_complete(self, *_: Any, **__: Any) -> Any:
        """Not measured."""
        raise NotImplementedError("It streams chats only.")

    @llm_chat_callback()
    def stream_chat(self, messages: Any, **_: Any) -> Any:  # noqa: ARG002  # core's signature
        """Yield the chunks."""

        def responses() -> Iterator[ChatResponse]:
            yield from self._ready

        return responses()

    @llm_chat_callback()
    async def astream_chat(self, messages: Any, **_: Any) -> Any:  # noqa: ARG002  # core's signature
        """Yield the chunks."""

        async def responses() -> AsyncIterator[ChatResponse]:
            for response in self._ready:
                yield response

        return responses()


def _llama_index_floor(pieces: list[str]) -> Contestant:
    llm = _ReadyResponses()
    llm.make_ready(pieces)
    row = _llama_index(LLAMA_INDEX_FLOOR, llm)
    return Contestant(LLAMA_INDEX_FLOOR, None, row.run, row.arun, uses_server=False)
