"""A LlamaIndex LLM around another one, whose settings, prompts and tools it uses.

Core has no public way to write an LLM's prompts or to prepare its calls with tools. So its private hooks are called
here, and nowhere else; tests/cygnal/llama_index/test_llm.py fails if a later core has others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llama_index.core.base.llms.generic_utils import messages_to_prompt as generic_messages_to_prompt
from llama_index.core.llms.function_calling import FunctionCallingLLM
from llama_index.core.llms.llm import LLM, default_completion_to_prompt
from llama_index.core.output_parsers.pydantic import PydanticOutputParser
from llama_index.core.program.function_program import get_function_tool
from llama_index.core.types import PydanticProgramMode

from linkspan.errors import ConfigurationError
from linkspan.json_answer import JSONAnswerReader
from linkspan.llama_index.program_prompt import ProgramPrompt
from linkspan.llama_index.structured_predict import ObjectRequest, StructuredOutput, asks_for_call, keywords_of
from linkspan.llama_index.tool_calls import CheckedToolStreams

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from llama_index.core.base.llms.types import ChatMessage, ChatResponse, LLMMetadata
    from llama_index.core.llms.llm import ToolSelection
    from llama_index.core.prompts.base import BasePromptTemplate
    from llama_index.core.tools import BaseTool

__all__ = ["WrappedLLM"]

#: Settings of any LLM that only the LLM itself reads, with the values that mean that they are not set.
_OF_THE_LLM: Mapping[str, tuple[Any, ...]] = {
    "completion_to_prompt": (None, default_completion_to_prompt),
    "messages_to_prompt": (None, generic_messages_to_prompt),
    "output_parser": (None,),
    "pydantic_program_mode": (PydanticProgramMode.DEFAULT,),
    "query_wrapper_prompt": (None,),
    "rate_limiter": (None,),
    "system_prompt": (None,),
}


class WrappedLLM(StructuredOutput, CheckedToolStreams):
    """Base of an LLM around another one: settings, prompts, tools and callbacks are the inner LLM's.

    Raises:
        ConfigurationError: A setting of the LLM, such as ``system_prompt``, was given here.
    """

    llm: LLM

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        for name in _OF_THE_LLM:
            self._refuse_setting(name, getattr(self, name))
        # They report the LLM's calls.
        self.callback_manager = self.callback_manager if "callback_manager" in settings else self.llm.callback_manager

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an attribute. The LLM gets the callbacks, too: LlamaIndex's ``Settings`` set them so."""
        self._refuse_setting(name, value)
        super().__setattr__(name, value)
        if name == "callback_manager":
            self.llm.callback_manager = value

    def _refuse_setting(self, name: str, value: Any) -> None:
        if value not in _OF_THE_LLM.get(name, (value,)):
            raise ConfigurationError(
                f"{name} is a setting of the LLM: give it to the {self.llm.class_name()}, not to {type(self).__name__}."
            )

    @property
    def metadata(self) -> LLMMetadata:
        """The LLM's own."""
        return self.llm.metadata

    # ------------------------------------------------------------------ prompts

    def _get_prompt(self, prompt: BasePromptTemplate, **prompt_args: Any) -> str:
        return self.llm._get_prompt(prompt, **prompt_args)  # noqa: SLF001  # core's hook

    def _get_messages(self, prompt: BasePromptTemplate, **prompt_args: Any) -> list[ChatMessage]:
        return self.llm._get_messages(prompt, **prompt_args)  # noqa: SLF001  # core's hook

    def _parse_output(self, output: str) -> str:
        return self.llm._parse_output(output)  # noqa: SLF001  # core's hook

    def _extend_messages(self, messages: list[ChatMessage]) -> list[ChatMessage]:
        return self.llm._extend_messages(messages)  # noqa: SLF001  # core's hook

    # ------------------------------------------------------------------ objects

    def _object_request(
        self,
        output_cls: type[Any],
        prompt: BasePromptTemplate,
        llm_kwargs: Mapping[str, Any] | None,
        prompt_args: Mapping[str, Any],
    ) -> ObjectRequest:
        """Return the request for an object in the LLM's own manner; other packages' as core's programs make it."""
        if isinstance(self.llm, StructuredOutput):
            return self.llm._object_request(output_cls, prompt, llm_kwargs, prompt_args)  # noqa: SLF001  # linkspan's
        kwargs = keywords_of(output_cls, llm_kwargs)
        can_call = isinstance(self.llm, FunctionCallingLLM) and self.llm.metadata.is_function_calling_model
        if asks_for_call(self.llm, can_call=can_call):
            tool = get_function_tool(output_cls)
            messages = self._extend_messages(prompt.format_messages(llm=self.llm, **prompt_args))
            arguments = self._prepare_chat_with_tools([tool], chat_history=messages, tool_required=True, **kwargs)
            reader = JSONAnswerReader.for_class(output_cls, tool.metadata.name)
            return ObjectRequest(output_cls, arguments.pop("messages"), arguments, reader)
        instructed = ProgramPrompt(prompt, self.llm, PydanticOutputParser(output_cls=output_cls))
        if self.llm.metadata.is_chat_model:
            subject: Any = self._extend_messages(instructed.format_messages(llm=self.llm, **prompt_args))
        else:
            subject = self._get_prompt(instructed, **prompt_args)
        return ObjectRequest(output_cls, subject, kwargs, JSONAnswerReader.for_class(output_cls))

    # ------------------------------------------------------------------ tools

    def _prepare_chat_with_tools(
        self,
        tools: Sequence[BaseTool],
        *args: Any,
        tool_required: bool = False,  # core looks for this name
        **kwargs: Any,
    ) -> dict[str, Any]:
        kwargs["tool_required"] = tool_required
        return self._with_tools()._prepare_chat_with_tools_compat(tools, *args, **kwargs)  # noqa: SLF001  # core's own way

    def _validate_chat_with_tools_response(self, response: ChatResponse, *args: Any, **kwargs: Any) -> ChatResponse:
        return self._with_tools()._validate_chat_with_tools_response(response, *args, **kwargs)  # noqa: SLF001  # as above

    def get_tool_calls_from_response(self, response: ChatResponse, *args: Any, **kwargs: Any) -> list[ToolSelection]:
        """Return an answer's tool calls."""
        return self._with_tools().get_tool_calls_from_response(response, *args, **kwargs)

    def _with_tools(self) -> FunctionCallingLLM:
        if not isinstance(self.llm, FunctionCallingLLM):
            raise ConfigurationError(
                f"The LLM that {type(self).__name__} guards, {self.llm.class_name()}, has no tools."
            )
        return self.llm
