"""Contestants in LangChain."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from pydantic import PrivateAttr, SecretStr

from benchmarks.contestants import KEY, MODEL, RAW, ROWS, Contestant, Work, load

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

__all__ = ["floor", "groq", "linkspan", "mistralai", "new_chunks", "openai", "raw_inside"]

_ID = "chatcmpl-0f1e2d3c4b5a69788796a5b4c3d2e1f0"


def _contestant(model: Any, work: Work, prepare: Callable[[], None] | None = None) -> Contestant:
    messages = [HumanMessage(text) if role == "user" else AIMessage(text) for role, text in work.messages()]
    asked = model.bind_tools(work.tool_dicts()) if work.tools else model

    def text(answer: Any) -> str:
        return answer if isinstance(answer, str) else str(answer.content)

    async def acall() -> str:
        return text(await asked.ainvoke(messages))

    return Contestant(
        lambda: (text(chunk) for chunk in asked.stream(messages)),
        lambda: (text(chunk) async for chunk in asked.astream(messages)),
        lambda: text(asked.invoke(messages)),
        acall,
        prepare,
    )


def linkspan(work: Work, name: str) -> Contestant:
    """One of linkspan's classes."""
    import linkspan.langchain as classes  # noqa: PLC0415  # not with other packages

    # Chat Completions classes take the URL with its version, the prompt APIs the server's root.
    base_url = f"{work.url}/v1" if name in {"ChatScaleway", "ChatGraySwan"} else work.url
    return _contestant(getattr(classes, name)(model=MODEL, api_key=KEY, base_url=base_url), work)


def openai(work: Work) -> Contestant:
    """langchain-openai."""
    from langchain_openai import ChatOpenAI  # noqa: PLC0415  # only if installed

    return _contestant(
        ChatOpenAI(model=MODEL, api_key=SecretStr(KEY), base_url=f"{work.url}/v1", stream_usage=True), work
    )


def mistralai(work: Work) -> Contestant:
    """langchain-mistralai."""
    from langchain_mistralai import ChatMistralAI  # noqa: PLC0415  # only if installed

    # Its default of 64 concurrent calls would serialise the benchmark's streams.
    return _contestant(
        ChatMistralAI(
            model_name=MODEL, api_key=SecretStr(KEY), endpoint=f"{work.url}/v1", max_concurrent_requests=1000
        ),
        work,
    )


def groq(work: Work) -> Contestant:
    """langchain-groq."""
    from langchain_groq import ChatGroq  # noqa: PLC0415  # only if installed

    return _contestant(ChatGroq(model=MODEL, api_key=SecretStr(KEY), base_url=work.url), work)


def _new_chunk(piece: str) -> ChatGenerationChunk:
    return ChatGenerationChunk(message=AIMessageChunk(content=piece, id=_ID))


class _ReadyAnswers(BaseChatModel):
    """Returns its input, so that only langchain-core's own work is measured."""

    _ready: list[ChatGenerationChunk] = PrivateAttr(default_factory=list)
    _text: str = PrivateAttr(default="")

    def make_ready(self, pieces: tuple[str, ...]) -> None:
        """Build the chunks of the next stream; core modifies them, so they can be used once."""
        self._ready = list(map(_new_chunk, pieces))
        self._text = "".join(pieces)

    @property
    def _llm_type(self) -> str:
        return "ready-answers"

    def bind_tools(self, tools: Any, **kwargs: Any) -> Any:
        return self.bind(tools=tools, **kwargs)

    def _generate(self, *_: Any, **__: Any) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=AIMessage(content=self._text, id=_ID))])

    async def _agenerate(self, *_: Any, **__: Any) -> ChatResult:
        return self._generate()

    def _stream(self, *_: Any, **__: Any) -> Iterator[ChatGenerationChunk]:
        yield from self._ready

    async def _astream(self, *_: Any, **__: Any) -> AsyncIterator[ChatGenerationChunk]:
        for chunk in self._ready:
            yield chunk


def floor(work: Work) -> Contestant:
    """LangChain's minimum cost."""
    model = _ReadyAnswers()
    model.make_ready(work.pieces)
    return _contestant(model, work, lambda: model.make_ready(work.pieces))


class _NewAnswers(_ReadyAnswers):
    """Creates its chunks while streaming, as core would, so that they occupy memory like any package's."""

    _pieces: tuple[str, ...] = PrivateAttr(default=())

    def _stream(self, *_: Any, **__: Any) -> Iterator[ChatGenerationChunk]:
        return map(_new_chunk, self._pieces)

    async def _astream(self, *_: Any, **__: Any) -> AsyncIterator[ChatGenerationChunk]:
        for piece in self._pieces:
            yield _new_chunk(piece)


def new_chunks(work: Work) -> Contestant:
    """LangChain's chunks, each created and validated when streamed."""
    model = _NewAnswers()
    model._pieces = work.pieces  # noqa: SLF001  # ours
    return _contestant(model, work)


class _RawAnswers(_ReadyAnswers):
    """Yields a ready chunk for each one read."""

    _raw: Any = PrivateAttr(default=None)

    def _stream(self, *_: Any, **__: Any) -> Iterator[ChatGenerationChunk]:
        ready = iter(self._ready)
        return (next(ready) for text in self._raw.stream() if text)

    async def _astream(self, *_: Any, **__: Any) -> AsyncIterator[ChatGenerationChunk]:
        ready = iter(self._ready)
        async for text in self._raw.astream():
            if text:
                yield next(ready)


def raw_inside(work: Work) -> Contestant:
    """Raw reading with LangChain around it."""
    model = _RawAnswers()
    model._raw = load(ROWS[RAW], work)  # noqa: SLF001  # ours
    return _contestant(model, work, lambda: model.make_ready(work.pieces))
