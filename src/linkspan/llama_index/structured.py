"""Structured output by the server's own JSON Schema constraint, in LlamaIndex's four variants."""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING, Any, cast

from llama_index.core.instrumentation.events.llm import (
    LLMStructuredPredictEndEvent,
    LLMStructuredPredictStartEvent,
)
from llama_index.core.program.streaming_utils import process_streaming_content_incremental
from llama_index.core.program.utils import get_program_for_llm
from llama_index.core.types import PydanticProgramMode
from llama_index_instrumentation import get_dispatcher
from pydantic import BaseModel, ValidationError

from linkspan.errors import InvalidResponseError
from linkspan.llama_index.language_model import LinkspanLLM
from linkspan.llama_index.program_prompt import ProgramPrompt

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator, Mapping

    from llama_index.core.base.llms.types import ChatMessage, ChatResponse, ChatResponseAsyncGen, ChatResponseGen
    from llama_index.core.prompts.base import BasePromptTemplate

__all__ = ["NativeStructuredOutput"]

_dispatcher = get_dispatcher(__name__)

#: ``json_schema.name`` in the Chat Completions dialect: letters, digits, underscores and dashes, at most 64.
_NOT_IN_A_NAME = re.compile(r"[^A-Za-z0-9_-]")


class NativeStructuredOutput(LinkspanLLM):
    """``structured_predict`` and its kin through ``response_format``.

    With another ``pydantic_program_mode`` than ``DEFAULT``, for a model that the catalogue says cannot do it, or if
    ``llm_kwargs`` choose tools, LlamaIndex's own programs do the work.
    """

    def _supports_json_schema(self) -> bool:
        """Whether the model can be held to a schema."""
        raise NotImplementedError

    def structured_predict(
        self,
        output_cls: type[Any],
        prompt: BasePromptTemplate,
        llm_kwargs: dict[str, Any] | None = None,
        **prompt_args: Any,
    ) -> Any:
        """Return an ``output_cls`` filled in by the model.

        Raises:
            InvalidResponseError: The answer is no such object, for example cut off by ``max_tokens``.
        """
        _start(output_cls, prompt, prompt_args)
        if self._is_native(llm_kwargs):
            subject, kwargs = self._native_call(output_cls, prompt, llm_kwargs, prompt_args)
            result = _parse(output_cls, self._ask(subject, kwargs))
        else:
            result = _checked(
                output_cls,
                self._program(output_cls, prompt)(llm_kwargs=self._options_of_program(llm_kwargs), **prompt_args),
            )
        _dispatcher.event(LLMStructuredPredictEndEvent(output=result))
        return result

    async def astructured_predict(
        self,
        output_cls: type[Any],
        prompt: BasePromptTemplate,
        llm_kwargs: dict[str, Any] | None = None,
        **prompt_args: Any,
    ) -> Any:
        """Return an ``output_cls`` filled in by the model.

        Raises:
            InvalidResponseError: The answer is no such object, for example cut off by ``max_tokens``.
        """
        _start(output_cls, prompt, prompt_args)
        if self._is_native(llm_kwargs):
            subject, kwargs = self._native_call(output_cls, prompt, llm_kwargs, prompt_args)
            result = _parse(output_cls, await self._aask(subject, kwargs))
        else:
            # Core's function program puts the system prompt in when it is called, and not when it is awaited.
            extend = self._extend_messages if self._calls_functions() else None
            program = self._program(output_cls, prompt, extend=extend)
            result = _checked(
                output_cls, await program.acall(llm_kwargs=self._options_of_program(llm_kwargs), **prompt_args)
            )
        _dispatcher.event(LLMStructuredPredictEndEvent(output=result))
        return result

    def _structured_stream_call(
        self,
        output_cls: type[Any],
        prompt: BasePromptTemplate,
        llm_kwargs: dict[str, Any] | None = None,
        **prompt_args: Any,
    ) -> Generator[Any, None, None]:
        if not self._is_native(llm_kwargs):
            program = self._streaming_program(output_cls, prompt, llm_kwargs)
            steps = cast(
                "Generator[Any, None, None]",
                program.stream_call(llm_kwargs=self._options_of_program(llm_kwargs), **prompt_args),
            )
            return _ending_whole(output_cls, steps)
        subject, kwargs = self._native_call(output_cls, prompt, llm_kwargs, prompt_args)
        return self._native_stream(output_cls, self._ask_in_pieces(subject, kwargs))

    async def _structured_astream_call(
        self,
        output_cls: type[Any],
        prompt: BasePromptTemplate,
        llm_kwargs: dict[str, Any] | None = None,
        **prompt_args: Any,
    ) -> AsyncGenerator[Any, None]:
        if not self._is_native(llm_kwargs):
            program = self._streaming_program(output_cls, prompt, llm_kwargs)
            steps = await program.astream_call(llm_kwargs=self._options_of_program(llm_kwargs), **prompt_args)
            return _aending_whole(output_cls, cast("AsyncGenerator[Any, None]", steps))
        subject, kwargs = self._native_call(output_cls, prompt, llm_kwargs, prompt_args)
        return self._native_astream(output_cls, await self._aask_in_pieces(subject, kwargs))

    def _native_stream(self, output_cls: type[Any], chunks: ChatResponseGen) -> Generator[Any, None, None]:
        partial: Any = None
        response: ChatResponse | None = None
        with contextlib.closing(chunks):
            for response in chunks:
                if response.delta:
                    partial = process_streaming_content_incremental(response, output_cls, partial)
                    yield partial
        whole = _parse(output_cls, response)
        if whole != partial:
            yield whole

    async def _native_astream(self, output_cls: type[Any], chunks: ChatResponseAsyncGen) -> AsyncGenerator[Any, None]:
        partial: Any = None
        response: ChatResponse | None = None
        async with contextlib.aclosing(chunks):
            async for response in chunks:
                if response.delta:
                    partial = process_streaming_content_incremental(response, output_cls, partial)
                    yield partial
        whole = _parse(output_cls, response)
        if whole != partial:
            yield whole

    # ------------------------------------------------------------------ what is asked, and how

    def _subject(
        self,
        prompt: BasePromptTemplate,
        kwargs: dict[str, Any],  # noqa: ARG002  # what a text depends on, for APIs that take one
        prompt_args: Mapping[str, Any],
    ) -> Any:
        """Return what is asked."""
        return self._extend_messages(prompt.format_messages(llm=self, **prompt_args))

    def _ask(self, subject: Any, kwargs: Mapping[str, Any]) -> ChatResponse:
        answer: ChatResponse = self.chat(subject, **kwargs)
        return answer

    async def _aask(self, subject: Any, kwargs: Mapping[str, Any]) -> ChatResponse:
        answer: ChatResponse = await self.achat(subject, **kwargs)
        return answer

    def _ask_in_pieces(self, subject: Any, kwargs: Mapping[str, Any]) -> ChatResponseGen:
        answer: ChatResponseGen = self.stream_chat(subject, **kwargs)
        return answer

    async def _aask_in_pieces(self, subject: Any, kwargs: Mapping[str, Any]) -> ChatResponseAsyncGen:
        answer: ChatResponseAsyncGen = await self.astream_chat(subject, **kwargs)
        return answer

    def _is_native(self, llm_kwargs: Mapping[str, Any] | None) -> bool:
        chooses_tools = any((llm_kwargs or {}).get(name) is not None for name in ("tools", "tool_choice"))
        is_default = self.pydantic_program_mode == PydanticProgramMode.DEFAULT
        return is_default and not chooses_tools and self._supports_json_schema()

    def _native_call(
        self,
        output_cls: type[Any],
        prompt: BasePromptTemplate,
        llm_kwargs: Mapping[str, Any] | None,
        prompt_args: Mapping[str, Any],
    ) -> tuple[Any, dict[str, Any]]:
        kwargs = dict(llm_kwargs or {})
        subject = self._subject(prompt, kwargs, prompt_args)
        name = _NOT_IN_A_NAME.sub("_", output_cls.__name__)[:64]
        schema = {"name": name, "schema": output_cls.model_json_schema()}
        return subject, {**kwargs, "response_format": {"type": "json_schema", "json_schema": schema}}

    def _program(
        self,
        output_cls: type[Any],
        prompt: BasePromptTemplate,
        *,
        extend: Callable[[list[ChatMessage]], list[ChatMessage]] | None = None,
        **options: Any,
    ) -> Any:
        own = ProgramPrompt(prompt, self, write=self._text_of_program(), extend=extend)
        return get_program_for_llm(output_cls, own, self, pydantic_program_mode=self.pydantic_program_mode, **options)

    def _text_of_program(self) -> Callable[[BasePromptTemplate, dict[str, Any]], str] | None:
        """Return what writes a program's prompt, for an API that takes one text."""
        return None

    def _options_of_program(self, llm_kwargs: Mapping[str, Any] | None) -> dict[str, Any]:
        """Return the keywords with which a program asks."""
        return dict(llm_kwargs or {})

    def _calls_functions(self) -> bool:
        mode = self.pydantic_program_mode
        return mode == PydanticProgramMode.FUNCTION or (
            mode == PydanticProgramMode.DEFAULT and self.metadata.is_function_calling_model
        )

    def _streaming_program(
        self, output_cls: type[Any], prompt: BasePromptTemplate, llm_kwargs: Mapping[str, Any] | None
    ) -> Any:
        """Return a program that demands its tool call: core's does so in whole answers and forgets it in streams."""
        choice = (llm_kwargs or {}).get("tool_choice") or "required"
        options: dict[str, Any] = {"tool_choice": choice} if self._calls_functions() else {}
        return self._program(output_cls, prompt, **options)


def _start(output_cls: type[Any], prompt: Any, prompt_args: dict[str, Any]) -> None:
    _dispatcher.event(LLMStructuredPredictStartEvent(output_cls=output_cls, template=prompt, template_args=prompt_args))


def _ending_whole(output_cls: type[Any], steps: Generator[Any, None, None]) -> Generator[Any, None, None]:
    """Pass a program's objects on; core's programs end without a word where the last one is still a partial one."""
    last: Any = None
    with contextlib.closing(steps):
        for last in steps:
            yield last
    _check_end(output_cls, last)


async def _aending_whole(output_cls: type[Any], steps: AsyncGenerator[Any, None]) -> AsyncGenerator[Any, None]:
    last: Any = None
    async with contextlib.aclosing(steps):
        async for last in steps:
            yield last
    _check_end(output_cls, last)


def _check_end(output_cls: type[Any], last: Any) -> None:
    if not isinstance(last, output_cls):
        raise InvalidResponseError(f"the stream ended without a whole {output_cls.__name__}")


def _checked(output_cls: type[Any], result: Any) -> Any:
    if not isinstance(result, BaseModel):
        raise InvalidResponseError(f"the model did not give a {output_cls.__name__} but a {type(result).__name__}")
    return result


def _parse(output_cls: type[Any], response: ChatResponse | None) -> Any:
    content = "" if response is None else response.message.content or ""
    try:
        return output_cls.model_validate_json(content)
    except ValidationError as error:
        reason = None if response is None else response.additional_kwargs.get("finish_reason")
        advice = (
            "It was cut off: raise max_tokens."
            if reason == "length"
            else "The deployment may not hold its model to a schema."
        )
        raise InvalidResponseError(
            f"the answer of {len(content)} characters is not a valid {output_cls.__name__}: "
            f"{error.error_count()} problems (finish reason {reason}). {advice}"
        ) from error
