"""Structured output in LlamaIndex's four variants: by the server's schema, by a forced tool call, or by the prompt."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llama_index.core.instrumentation.events.llm import (
    LLMStructuredPredictEndEvent,
    LLMStructuredPredictStartEvent,
)
from llama_index.core.output_parsers.pydantic import PydanticOutputParser
from llama_index.core.types import PydanticProgramMode
from llama_index_instrumentation import get_dispatcher

from linkspan.errors import ConfigurationError
from linkspan.json_answer import JSONAnswerReader, validator_of
from linkspan.json_schema import standing_alone, takes_object
from linkspan.llama_index.language_model import LinkspanLLM
from linkspan.llama_index.program_prompt import ProgramPrompt
from linkspan.llama_index.structured_answers import GrowingObject, answer_of
from linkspan.llama_index.tools import is_pydantic_class
from linkspan.owned_generator import OwnedGenerator

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator, Mapping

    from llama_index.core.base.llms.types import ChatResponse, ChatResponseAsyncGen, ChatResponseGen
    from llama_index.core.prompts.base import BasePromptTemplate

__all__ = ["NativeStructuredOutput"]

_dispatcher = get_dispatcher(__name__)

#: Keywords that core's programs remove from ``llm_kwargs``, because they set them.
_OF_THE_PROGRAM = ("tool_required", "allow_parallel_tool_calls")


@dataclass(frozen=True, slots=True)
class _Question:
    """The request for an object: the prompt, the arguments, and the reader of the answer."""

    output_cls: type[Any]
    subject: Any
    kwargs: dict[str, Any]
    reader: JSONAnswerReader


class NativeStructuredOutput(LinkspanLLM):
    """Implements ``structured_predict`` and its variants: a whole object, or an error with the reason.

    Uses ``response_format`` if the server can enforce a schema and ``pydantic_program_mode`` is ``DEFAULT``. Otherwise,
    or if ``llm_kwargs`` choose tools, uses a forced tool call (``FUNCTION``, and the default of models with tools), or
    instructions in the prompt (``LLM``).
    """

    def _supports_json_schema(self) -> bool:
        """Whether the server can enforce a schema."""
        raise NotImplementedError

    def structured_predict(
        self,
        output_cls: type[Any],
        prompt: BasePromptTemplate,
        llm_kwargs: dict[str, Any] | None = None,
        **prompt_args: Any,
    ) -> Any:
        """Return an instance of ``output_cls`` from the model's answer.

        Raises:
            InvalidResponseError: The answer is not such an object, for example because ``max_tokens`` cut it off.
            ContentBlockedError: The answer was blocked, or the model refused.
        """
        _start(output_cls, prompt, prompt_args)
        question = self._structured_question(output_cls, prompt, llm_kwargs, prompt_args)
        result = question.reader.read(answer_of(self._ask(question.subject, question.kwargs)))
        _dispatcher.event(LLMStructuredPredictEndEvent(output=result))
        return result

    async def astructured_predict(
        self,
        output_cls: type[Any],
        prompt: BasePromptTemplate,
        llm_kwargs: dict[str, Any] | None = None,
        **prompt_args: Any,
    ) -> Any:
        """Return an instance of ``output_cls`` from the model's answer.

        Raises:
            InvalidResponseError: The answer is not such an object, for example because ``max_tokens`` cut it off.
            ContentBlockedError: The answer was blocked, or the model refused.
        """
        _start(output_cls, prompt, prompt_args)
        question = self._structured_question(output_cls, prompt, llm_kwargs, prompt_args)
        result = question.reader.read(answer_of(await self._aask(question.subject, question.kwargs)))
        _dispatcher.event(LLMStructuredPredictEndEvent(output=result))
        return result

    def _structured_stream_call(
        self,
        output_cls: type[Any],
        prompt: BasePromptTemplate,
        llm_kwargs: dict[str, Any] | None = None,
        **prompt_args: Any,
    ) -> Generator[Any, None, None]:
        question = self._structured_question(output_cls, prompt, llm_kwargs, prompt_args)
        return _objects(question, self._ask_in_pieces(question.subject, question.kwargs))

    async def _structured_astream_call(
        self,
        output_cls: type[Any],
        prompt: BasePromptTemplate,
        llm_kwargs: dict[str, Any] | None = None,
        **prompt_args: Any,
    ) -> AsyncGenerator[Any, None]:
        question = self._structured_question(output_cls, prompt, llm_kwargs, prompt_args)
        return _aobjects(question, await self._aask_in_pieces(question.subject, question.kwargs))

    # ------------------------------------------------------------------ requests

    def _subject(
        self,
        prompt: BasePromptTemplate,
        kwargs: dict[str, Any],  # noqa: ARG002  # what a text depends on, for APIs that take one
        prompt_args: Mapping[str, Any],
    ) -> Any:
        """Return the request for an object."""
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

    def _structured_question(
        self,
        output_cls: type[Any],
        prompt: BasePromptTemplate,
        llm_kwargs: Mapping[str, Any] | None,
        prompt_args: Mapping[str, Any],
    ) -> _Question:
        """Return the request for an object, as mode, model and arguments require.

        Raises:
            ConfigurationError: The class is not pydantic's, or the model or the arguments do not support the mode.
        """
        if not is_pydantic_class(output_cls):
            raise ConfigurationError(
                f"output_cls must be a class of pydantic 2 (a subclass of pydantic.BaseModel), not {output_cls!r}: put "
                "other types into a field of one.",
                provider=self._provider.name,
            )
        kwargs = {name: value for name, value in (llm_kwargs or {}).items() if name not in _OF_THE_PROGRAM}
        if kwargs.get("tools") is not None:
            raise ConfigurationError("structured_predict creates its own tool: llm_kwargs must not contain tools.")
        mode = self.pydantic_program_mode
        calls = self.metadata.is_function_calling_model
        if mode == PydanticProgramMode.DEFAULT:
            if kwargs.get("tool_choice") is None and self._supports_json_schema():
                return self._by_schema(output_cls, prompt, kwargs, prompt_args)
            mode = PydanticProgramMode.FUNCTION if calls else PydanticProgramMode.LLM
        if mode == PydanticProgramMode.LLM:
            return self._by_prompt(output_cls, prompt, kwargs, prompt_args)
        if mode == PydanticProgramMode.FUNCTION and calls:
            return self._by_call(output_cls, prompt, kwargs, prompt_args)
        raise ConfigurationError(
            f"pydantic_program_mode={mode.value!r} does not work with {self.metadata.model_name}: use 'default', "
            "'llm', or with a model that calls tools 'function'.",
            provider=self._provider.name,
        )

    def _by_schema(
        self,
        output_cls: type[Any],
        prompt: BasePromptTemplate,
        kwargs: dict[str, Any],
        prompt_args: Mapping[str, Any],
    ) -> _Question:
        if kwargs.get("response_format") is not None:
            raise ConfigurationError(
                "structured_predict creates its own response_format from the class: llm_kwargs must not contain one, "
                "unless pydantic_program_mode is 'llm'.",
                provider=self._provider.name,
            )
        reader = self._reader(output_cls, kwargs)
        subject = self._subject(prompt, kwargs, prompt_args)
        schema = {"name": output_cls.__name__, "schema": output_cls.model_json_schema()}
        kwargs["response_format"] = {"type": "json_schema", "json_schema": schema}
        return _Question(output_cls, subject, kwargs, reader)

    def _by_call(
        self,
        output_cls: type[Any],
        prompt: BasePromptTemplate,
        kwargs: dict[str, Any],
        prompt_args: Mapping[str, Any],
    ) -> _Question:
        schema = standing_alone(output_cls.model_json_schema())
        if not takes_object(schema):
            raise ConfigurationError(
                f"{output_cls.__name__} must be the schema of an object, as arguments of a tool call are: put it "
                "into a class with one field, or use a mode that asks for text.",
                provider=self._provider.name,
            )
        name = str(schema.pop("title", output_cls.__name__))
        function = {"name": name, "description": schema.pop("description", None), "parameters": schema}
        choice = kwargs.pop("tool_choice", None)
        reader = self._reader(output_cls, kwargs, name)
        # A tool that must be called, unless the caller chose otherwise.
        kwargs |= {
            "tools": [{"type": "function", "function": function}],
            "tool_choice": "required" if choice is None else choice,
        }
        return _Question(output_cls, self._subject(prompt, kwargs, prompt_args), kwargs, reader)

    def _by_prompt(
        self,
        output_cls: type[Any],
        prompt: BasePromptTemplate,
        kwargs: dict[str, Any],
        prompt_args: Mapping[str, Any],
    ) -> _Question:
        told = ProgramPrompt(prompt, self, write=self._text_of_program())
        told.output_parser = PydanticOutputParser(output_cls=output_cls)
        if self.metadata.is_chat_model:
            subject: Any = self._extend_messages(told.format_messages(llm=self, **prompt_args))
        else:
            subject = told.format(llm=self, **prompt_args)
        return _Question(output_cls, subject, kwargs, self._reader(output_cls, kwargs))

    def _reader(self, output_cls: type[Any], kwargs: Mapping[str, Any], tool: str | None = None) -> JSONAnswerReader:
        limit = self._with_aliases_resolved(kwargs).get("max_tokens")
        return JSONAnswerReader(
            output_cls.__name__,
            validator_of(output_cls),
            tool,
            self._object_parameters().get("max_tokens") if limit is None else limit,
            self._provider.name,
        )

    def _text_of_program(self) -> Callable[[BasePromptTemplate, dict[str, Any]], str] | None:
        """Return the writer of prompts in mode ``LLM``, for prompt APIs."""
        return None


def _start(output_cls: type[Any], prompt: Any, prompt_args: dict[str, Any]) -> None:
    _dispatcher.event(LLMStructuredPredictStartEvent(output_cls=output_cls, template=prompt, template_args=prompt_args))


def _objects(question: _Question, chunks: ChatResponseGen) -> Generator[Any, None, None]:
    """Yield the growing object. Ends with the whole object, or with the error that a whole answer would raise."""
    growing = GrowingObject(question.output_cls, question.reader.tool)
    response: ChatResponse | None = None
    with contextlib.closing(chunks):
        for response in chunks:
            if growing.add(response):
                yield growing.partial
    whole = question.reader.read(answer_of(response))
    if whole != growing.partial:
        yield whole


async def _aobjects(question: _Question, chunks: ChatResponseAsyncGen) -> AsyncGenerator[Any, None]:
    growing = GrowingObject(question.output_cls, question.reader.tool)
    response: ChatResponse | None = None
    async with OwnedGenerator(chunks) as opened:
        async for response in opened:
            if growing.add(response):
                yield growing.partial
    whole = question.reader.read(answer_of(response))
    if whole != growing.partial:
        yield whole
