"""Requests for structured output: by the server's schema, by a forced tool call, or by the prompt."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llama_index.core.output_parsers.pydantic import PydanticOutputParser
from llama_index.core.types import PydanticProgramMode

from linkspan.errors import ConfigurationError
from linkspan.json_answer import JSONAnswerReader
from linkspan.json_schema import require_object, standing_alone
from linkspan.llama_index.language_model import LinkspanLLM
from linkspan.llama_index.program_prompt import ProgramPrompt
from linkspan.llama_index.structured_predict import ObjectRequest, StructuredOutput, asks_for_call, keywords_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from llama_index.core.prompts.base import BasePromptTemplate

__all__ = ["NativeStructuredOutput"]


class NativeStructuredOutput(LinkspanLLM, StructuredOutput):
    """Requests objects as the API can enforce them.

    Uses ``response_format`` if the server can enforce a schema and ``pydantic_program_mode`` is ``DEFAULT``. Otherwise,
    or if ``llm_kwargs`` choose tools, uses a forced tool call (``FUNCTION``, and the default of models with tools), or
    instructions in the prompt (``LLM``).
    """

    def _supports_json_schema(self) -> bool:
        """Whether the server can enforce a schema."""
        raise NotImplementedError

    def _subject(
        self,
        prompt: BasePromptTemplate,
        kwargs: dict[str, Any],  # noqa: ARG002  # what a text depends on, for APIs that take one
        prompt_args: Mapping[str, Any],
    ) -> Any:
        """Return the messages or the prompt of a request for an object."""
        return self._extend_messages(prompt.format_messages(llm=self, **prompt_args))

    def _object_request(
        self,
        output_cls: type[Any],
        prompt: BasePromptTemplate,
        llm_kwargs: Mapping[str, Any] | None,
        prompt_args: Mapping[str, Any],
    ) -> ObjectRequest:
        kwargs = keywords_of(output_cls, llm_kwargs, self._provider.name)
        is_default = self.pydantic_program_mode == PydanticProgramMode.DEFAULT
        if is_default and kwargs.get("tool_choice") is None and self._supports_json_schema():
            return self._by_schema(output_cls, prompt, kwargs, prompt_args)
        can_call = self.metadata.is_function_calling_model
        by_call = asks_for_call(self, can_call=can_call, provider=self._provider.name)
        make = self._by_call if by_call else self._by_prompt
        return make(output_cls, prompt, kwargs, prompt_args)

    def _by_schema(
        self,
        output_cls: type[Any],
        prompt: BasePromptTemplate,
        kwargs: dict[str, Any],
        prompt_args: Mapping[str, Any],
    ) -> ObjectRequest:
        if kwargs.get("response_format") is not None:
            raise ConfigurationError(
                "structured_predict creates its own response_format from the class: llm_kwargs must not contain one, "
                "unless pydantic_program_mode is 'llm'.",
                provider=self._provider.name,
            )
        reader = self._reader(output_cls)
        subject = self._subject(prompt, kwargs, prompt_args)
        schema = {"name": output_cls.__name__, "schema": output_cls.model_json_schema()}
        kwargs["response_format"] = {"type": "json_schema", "json_schema": schema}
        return ObjectRequest(output_cls, subject, kwargs, reader)

    def _by_call(
        self,
        output_cls: type[Any],
        prompt: BasePromptTemplate,
        kwargs: dict[str, Any],
        prompt_args: Mapping[str, Any],
    ) -> ObjectRequest:
        schema = standing_alone(output_cls.model_json_schema())
        require_object(schema, output_cls.__name__, "use a mode that asks for text", self._provider.name)
        name = str(schema.pop("title", output_cls.__name__))
        function = {"name": name, "description": schema.pop("description", None), "parameters": schema}
        choice = kwargs.pop("tool_choice", None)
        reader = self._reader(output_cls, name)
        # A tool that must be called, unless the caller chose otherwise.
        kwargs |= {
            "tools": [{"type": "function", "function": function}],
            "tool_choice": "required" if choice is None else choice,
        }
        return ObjectRequest(output_cls, self._subject(prompt, kwargs, prompt_args), kwargs, reader)

    def _by_prompt(
        self,
        output_cls: type[Any],
        prompt: BasePromptTemplate,
        kwargs: dict[str, Any],
        prompt_args: Mapping[str, Any],
    ) -> ObjectRequest:
        parser = PydanticOutputParser(output_cls=output_cls)
        instructed = ProgramPrompt(prompt, self, parser, write=self._text_of_program())
        if self.metadata.is_chat_model:
            subject: Any = self._extend_messages(instructed.format_messages(llm=self, **prompt_args))
        else:
            subject = instructed.format(llm=self, **prompt_args)
        return ObjectRequest(output_cls, subject, kwargs, self._reader(output_cls))

    def _reader(self, output_cls: type[Any], tool: str | None = None) -> JSONAnswerReader:
        return JSONAnswerReader.for_class(output_cls, tool, self._provider.name)

    def _text_of_program(self) -> Callable[[BasePromptTemplate, dict[str, Any]], str] | None:
        """Return the writer of prompts in mode ``LLM``, for prompt APIs."""
        return None
