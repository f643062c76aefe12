"""LlamaIndex's ``structured_predict`` and its variants: a whole object, or an error with the reason."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llama_index.core.instrumentation.events.llm import (
    LLMStructuredPredictEndEvent,
    LLMStructuredPredictStartEvent,
)
from llama_index.core.llms.llm import LLM
from llama_index.core.types import PydanticProgramMode
from llama_index_instrumentation import get_dispatcher
from pydantic import ConfigDict

from linkspan.errors import ConfigurationError
from linkspan.llama_index.answers import as_chat_response
from linkspan.llama_index.structured_answers import GrowingObject, answer_of
from linkspan.llama_index.tools import is_pydantic_class
from linkspan.owned_generator import OwnedGenerator

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator, Mapping

    from llama_index.core.base.llms.types import (
        ChatResponse,
        ChatResponseAsyncGen,
        ChatResponseGen,
        CompletionResponseAsyncGen,
        CompletionResponseGen,
    )
    from llama_index.core.prompts.base import BasePromptTemplate
    from llama_index.core.types import Model

    from linkspan.json_answer import JSONAnswerReader

__all__ = ["ObjectRequest", "StructuredOutput", "asks_for_call", "keywords_of"]

_dispatcher = get_dispatcher(__name__)

#: Keywords that core's programs remove from ``llm_kwargs``, because they set them.
_OF_THE_PROGRAM = ("tool_required", "allow_parallel_tool_calls")


@dataclass(frozen=True, slots=True)
class ObjectRequest:
    """A request for an object: messages or a written prompt, the arguments, and the reader of the answer."""

    output_cls: type[Any]
    subject: Any
    kwargs: dict[str, Any]
    reader: JSONAnswerReader


class StructuredOutput(LLM):
    """Implements ``structured_predict`` and its variants: a whole object, or an error with the reason."""

    # As all classes of linkspan: built with the first object, not at import.
    model_config = ConfigDict(defer_build=True)

    def _object_request(
        self,
        output_cls: type[Any],
        prompt: BasePromptTemplate,
        llm_kwargs: Mapping[str, Any] | None,
        prompt_args: Mapping[str, Any],
    ) -> ObjectRequest:
        """Return the request for an object.

        Raises:
            ConfigurationError: The class is not pydantic's, or the model or the arguments do not support the mode.
        """
        raise NotImplementedError

    def structured_predict(
        self,
        output_cls: type[Model],
        prompt: BasePromptTemplate,
        llm_kwargs: dict[str, Any] | None = None,
        **prompt_args: Any,
    ) -> Model:
        """Return an instance of ``output_cls`` from the model's answer.

        Raises:
            InvalidResponseError: The answer is not such an object, for example because ``max_tokens`` cut it off.
            ContentBlockedError: The answer was blocked, or the model refused.
        """
        _start(output_cls, prompt, prompt_args)
        request = self._object_request(output_cls, prompt, llm_kwargs, prompt_args)
        result: Model = request.reader.read(answer_of(self._ask(request.subject, request.kwargs)))
        _dispatcher.event(LLMStructuredPredictEndEvent(output=result))
        return result

    async def astructured_predict(
        self,
        output_cls: type[Model],
        prompt: BasePromptTemplate,
        llm_kwargs: dict[str, Any] | None = None,
        **prompt_args: Any,
    ) -> Model:
        """Return an instance of ``output_cls`` from the model's answer.

        Raises:
            InvalidResponseError: The answer is not such an object, for example because ``max_tokens`` cut it off.
            ContentBlockedError: The answer was blocked, or the model refused.
        """
        _start(output_cls, prompt, prompt_args)
        request = self._object_request(output_cls, prompt, llm_kwargs, prompt_args)
        result: Model = request.reader.read(answer_of(await self._aask(request.subject, request.kwargs)))
        _dispatcher.event(LLMStructuredPredictEndEvent(output=result))
        return result

    def _structured_stream_call(
        self,
        output_cls: type[Any],
        prompt: BasePromptTemplate,
        llm_kwargs: dict[str, Any] | None = None,
        **prompt_args: Any,
    ) -> Generator[Any, None, None]:
        request = self._object_request(output_cls, prompt, llm_kwargs, prompt_args)
        return _objects(request, self._ask_in_pieces(request.subject, request.kwargs))

    async def _structured_astream_call(
        self,
        output_cls: type[Any],
        prompt: BasePromptTemplate,
        llm_kwargs: dict[str, Any] | None = None,
        **prompt_args: Any,
    ) -> AsyncGenerator[Any, None]:
        request = self._object_request(output_cls, prompt, llm_kwargs, prompt_args)
        return _aobjects(request, await self._aask_in_pieces(request.subject, request.kwargs))

    # ------------------------------------------------------------------ calls

    def _object_llm(self) -> LLM:
        """Return the LLM to call for an object."""
        return self

    def _ask(self, subject: Any, kwargs: Mapping[str, Any]) -> ChatResponse:
        if isinstance(subject, str):
            return as_chat_response(self._object_llm().complete(subject, True, **kwargs))
        return self._object_llm().chat(subject, **kwargs)

    async def _aask(self, subject: Any, kwargs: Mapping[str, Any]) -> ChatResponse:
        if isinstance(subject, str):
            return as_chat_response(await self._object_llm().acomplete(subject, True, **kwargs))
        return await self._object_llm().achat(subject, **kwargs)

    def _ask_in_pieces(self, subject: Any, kwargs: Mapping[str, Any]) -> ChatResponseGen:
        if isinstance(subject, str):
            return _chat_pieces(self._object_llm().stream_complete(subject, True, **kwargs))
        return self._object_llm().stream_chat(subject, **kwargs)

    async def _aask_in_pieces(self, subject: Any, kwargs: Mapping[str, Any]) -> ChatResponseAsyncGen:
        if isinstance(subject, str):
            return _achat_pieces(await self._object_llm().astream_complete(subject, True, **kwargs))
        return await self._object_llm().astream_chat(subject, **kwargs)


def keywords_of(
    output_cls: type[Any], llm_kwargs: Mapping[str, Any] | None, provider: str | None = None
) -> dict[str, Any]:
    """Return the keywords of a request for an object, without those of core's programs.

    Raises:
        ConfigurationError: The class is not pydantic's, or the keywords contain tools.
    """
    if not is_pydantic_class(output_cls):
        raise ConfigurationError(
            f"output_cls must be a class of pydantic 2 (a subclass of pydantic.BaseModel), not {output_cls!r}: put "
            "other types into a field of one.",
            provider=provider,
        )
    kwargs = {name: value for name, value in (llm_kwargs or {}).items() if name not in _OF_THE_PROGRAM}
    if kwargs.get("tools") is not None:
        raise ConfigurationError("structured_predict creates its own tool: llm_kwargs must not contain tools.")
    return kwargs


def asks_for_call(llm: LLM, *, can_call: bool, provider: str | None = None) -> bool:
    """Whether an LLM's ``pydantic_program_mode`` requests an object as a tool call; otherwise the prompt does.

    Raises:
        ConfigurationError: The LLM does not support the mode.
    """
    mode = llm.pydantic_program_mode
    if mode == PydanticProgramMode.DEFAULT:
        return can_call
    if mode == PydanticProgramMode.LLM:
        return False
    if mode == PydanticProgramMode.FUNCTION and can_call:
        return True
    raise ConfigurationError(
        f"pydantic_program_mode={mode.value!r} does not work with {llm.class_name()} and the model "
        f"{llm.metadata.model_name!r}: use 'default', 'llm', or with a model that calls tools 'function'.",
        provider=provider,
    )


def _start(output_cls: type[Any], prompt: Any, prompt_args: dict[str, Any]) -> None:
    _dispatcher.event(LLMStructuredPredictStartEvent(output_cls=output_cls, template=prompt, template_args=prompt_args))


def _objects(request: ObjectRequest, chunks: ChatResponseGen) -> Generator[Any, None, None]:
    """Yield the growing object. Ends with the whole object, or with the error that a whole answer would raise."""
    growing = GrowingObject(request.output_cls, request.reader.tool)
    response: ChatResponse | None = None
    with contextlib.closing(chunks):
        for response in chunks:
            if growing.add(response):
                yield growing.partial
    whole = request.reader.read(answer_of(response))
    if whole != growing.partial:
        yield whole


async def _aobjects(request: ObjectRequest, chunks: ChatResponseAsyncGen) -> AsyncGenerator[Any, None]:
    growing = GrowingObject(request.output_cls, request.reader.tool)
    response: ChatResponse | None = None
    async with OwnedGenerator(chunks) as opened:
        async for response in opened:
            if growing.add(response):
                yield growing.partial
    whole = request.reader.read(answer_of(response))
    if whole != growing.partial:
        yield whole


def _chat_pieces(stream: CompletionResponseGen) -> ChatResponseGen:
    with contextlib.closing(stream) as chunks:
        for chunk in chunks:
            yield as_chat_response(chunk)


async def _achat_pieces(stream: CompletionResponseAsyncGen) -> ChatResponseAsyncGen:
    async with OwnedGenerator(stream) as chunks:
        async for chunk in chunks:
            yield as_chat_response(chunk)
