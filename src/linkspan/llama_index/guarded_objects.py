"""Requests for structured output to the LLM that a guard wraps, which may be another package's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llama_index.core.llms.function_calling import FunctionCallingLLM
from llama_index.core.output_parsers.pydantic import PydanticOutputParser
from llama_index.core.program.function_program import get_function_tool

from linkspan.json_answer import JSONAnswerReader, validator_of
from linkspan.llama_index.program_prompt import ProgramPrompt
from linkspan.llama_index.structured_predict import ObjectRequest, StructuredOutput, asks_for_call, keywords_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from llama_index.core.llms.llm import LLM
    from llama_index.core.prompts.base import BasePromptTemplate

__all__ = ["request_for"]


def request_for(
    llm: LLM,
    output_cls: type[Any],
    prompt: BasePromptTemplate,
    llm_kwargs: Mapping[str, Any] | None,
    prompt_args: Mapping[str, Any],
) -> ObjectRequest:
    """Return the request for an object in an LLM's own manner; to other packages' LLMs, as core's programs make it.

    Raises:
        ConfigurationError: The class is not pydantic's, or the LLM or the arguments do not support the mode.
    """
    if isinstance(llm, StructuredOutput):
        return llm._object_request(output_cls, prompt, llm_kwargs, prompt_args)  # noqa: SLF001  # linkspan's class
    kwargs = keywords_of(output_cls, llm_kwargs)
    can_call = isinstance(llm, FunctionCallingLLM) and llm.metadata.is_function_calling_model
    if asks_for_call(llm, can_call=can_call) and isinstance(llm, FunctionCallingLLM):
        return _by_call(llm, output_cls, prompt, kwargs, prompt_args)
    return _by_prompt(llm, output_cls, prompt, kwargs, prompt_args)


def _by_call(
    llm: FunctionCallingLLM,
    output_cls: type[Any],
    prompt: BasePromptTemplate,
    kwargs: dict[str, Any],
    prompt_args: Mapping[str, Any],
) -> ObjectRequest:
    tool = get_function_tool(output_cls)
    messages = llm._extend_messages(prompt.format_messages(llm=llm, **prompt_args))  # noqa: SLF001  # as core's programs
    arguments = llm._prepare_chat_with_tools_compat(  # noqa: SLF001  # as core's programs
        [tool], chat_history=messages, tool_required=True, **kwargs
    )
    return ObjectRequest(output_cls, arguments.pop("messages"), arguments, _reader(output_cls, tool.metadata.name))


def _by_prompt(
    llm: LLM,
    output_cls: type[Any],
    prompt: BasePromptTemplate,
    kwargs: dict[str, Any],
    prompt_args: Mapping[str, Any],
) -> ObjectRequest:
    told = ProgramPrompt(prompt, llm)
    told.output_parser = PydanticOutputParser(output_cls=output_cls)
    if llm.metadata.is_chat_model:
        subject: Any = llm._extend_messages(told.format_messages(llm=llm, **prompt_args))  # noqa: SLF001  # as core's programs
    else:
        subject = llm._get_prompt(told, **prompt_args)  # noqa: SLF001  # as core's predict
    return ObjectRequest(output_cls, subject, kwargs, _reader(output_cls))


def _reader(output_cls: type[Any], tool: str | None = None) -> JSONAnswerReader:
    return JSONAnswerReader(output_cls.__name__, validator_of(output_cls), tool)
