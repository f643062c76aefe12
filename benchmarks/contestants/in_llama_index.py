"""Contestants in LlamaIndex."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llama_index.core.base.llms.types import ChatMessage, ChatResponse, LLMMetadata, TextBlock
from llama_index.core.llms import CustomLLM
from llama_index.core.llms.callbacks import llm_chat_callback, llm_completion_callback
from pydantic import PrivateAttr

from benchmarks.contestants import KEY, MODEL, PROMPT, RAW, ROWS, Contestant, Work, load

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

__all__ = ["floor", "linkspan", "openai_like", "raw_inside"]


def _contestant(llm: Any, work: Work) -> Contestant:
    messages = [ChatMessage(role=role, content=text) for role, text in work.messages()]
    options: dict[str, Any] = {"tools": work.tool_dicts()} if work.tools else {}

    async def astream() -> AsyncIterator[str]:
        async for response in await llm.astream_chat(messages, **options):
            yield response.delta or ""

    async def acall() -> str:
        return (await llm.achat(messages, **options)).message.content or ""

    return Contestant(
        lambda: (response.delta or "" for response in llm.stream_chat(messages, **options)),
        astream,
        lambda: llm.chat(messages, **options).message.content or "",
        acall,
    )


def linkspan(work: Work, name: str) -> Contestant:
    """One of linkspan's classes."""
    import linkspan.llama_index as classes  # noqa: PLC0415  # not with other packages

    base_url = f"{work.url}/v1" if name in {"Scaleway", "GraySwan"} else work.url
    llm = getattr(classes, name)(model=MODEL, api_key=KEY, base_url=base_url)
    if name not in {"LLMEngine", "DataCrunch"}:
        return _contestant(llm, work)

    async def astream() -> AsyncIterator[str]:
        async for response in await llm.astream_complete(PROMPT):
            yield response.delta or ""

    return Contestant(lambda: (response.delta or "" for response in llm.stream_complete(PROMPT)), astream)


def openai_like(work: Work) -> Contestant:
    """LlamaIndex's class for servers that speak Chat Completions."""
    from llama_index.llms.openai_like import OpenAILike  # noqa: PLC0415  # only if installed

    url = f"{work.url}/v1"
    return _contestant(
        OpenAILike(model=MODEL, api_key=KEY, api_base=url, is_chat_model=True, is_function_calling_model=True), work
    )


class _ReadyResponses(CustomLLM):
    """Returns its input, so that only llama-index-core's own work is measured."""

    _ready: list[ChatResponse] = PrivateAttr(default_factory=list)

    def make_ready(self, pieces: tuple[str, ...]) -> None:
        """Build the chunks; each has the whole answer so far, by LlamaIndex's convention."""
        self._ready, text = [], ""
        for piece in pieces:
            text += piece
            message = ChatMessage(role="assistant", blocks=[TextBlock(text=text)])
            self._ready.append(ChatResponse(message=message, delta=piece))

    @property
    def metadata(self) -> LLMMetadata:
        """The metadata that core requires."""
        return LLMMetadata()

    @llm_completion_callback()
    def complete(self, *_: Any, **__: Any) -> Any:
        """Not measured."""
        raise NotImplementedError("It chats only.")

    @llm_completion_callback()
    def stream_complete(self, *_: Any, **__: Any) -> Any:
        """Not measured."""
        raise NotImplementedError("It chats only.")

    @llm_chat_callback()
    def chat(self, messages: Any, **_: Any) -> ChatResponse:  # noqa: ARG002  # core's signature
        """Return the answer."""
        return self._ready[-1]

    @llm_chat_callback()
    async def achat(self, messages: Any, **_: Any) -> ChatResponse:  # noqa: ARG002  # core's signature
        """Return the answer."""
        return self._ready[-1]

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


def floor(work: Work) -> Contestant:
    """LlamaIndex's minimum cost."""
    llm = _ReadyResponses()
    llm.make_ready(work.pieces)
    return _contestant(llm, work)


class _RawResponses(_ReadyResponses):
    """Yields a ready response for each chunk read."""

    _raw: Any = PrivateAttr(default=None)

    @llm_chat_callback()
    def stream_chat(self, messages: Any, **_: Any) -> Any:  # noqa: ARG002  # core's signature
        """Yield the chunks."""
        ready = iter(self._ready)
        return (next(ready) for text in self._raw.stream() if text)

    @llm_chat_callback()
    async def astream_chat(self, messages: Any, **_: Any) -> Any:  # noqa: ARG002  # core's signature
        """Yield the chunks."""
        ready = iter(self._ready)
        return (next(ready) async for text in self._raw.astream() if text)


def raw_inside(work: Work) -> Contestant:
    """Raw reading with LlamaIndex around it."""
    llm = _RawResponses()
    llm.make_ready(work.pieces)
    llm._raw = load(ROWS[RAW], work)  # noqa: SLF001  # ours
    return _contestant(llm, work)
