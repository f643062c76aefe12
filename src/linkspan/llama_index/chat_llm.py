"""Base of the chat LLM classes: they turn conversations into requests and implement LlamaIndex's tool methods."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    LLMMetadata,
)
from llama_index.core.constants import DEFAULT_NUM_OUTPUTS
from pydantic import Field

from linkspan.call_keywords import listed_tools, read_response_format
from linkspan.conversation import Message, Text
from linkspan.llama_index.messages import messages_from_llama_index
from linkspan.llama_index.structured import NativeStructuredOutput
from linkspan.llama_index.tool_calls import CheckedToolStreams, first_call_only, tool_selections
from linkspan.llama_index.tools import chat_arguments, pydantic_format, tool_from
from linkspan.options import ChatSettings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from llama_index.core.llms.llm import ToolSelection
    from llama_index.core.tools.types import BaseTool

    from linkspan.conversation import ChatRequest

__all__ = ["ChatLLM"]

#: Assumed context window, in tokens, of a model that is not in the catalogue: most of today's open models have it. If
#: it is too large, the server answers with an error; core's own default of 3900 would silently multiply calls.
DEFAULT_CONTEXT_WINDOW = 128_000


class ChatLLM(ChatSettings, NativeStructuredOutput, CheckedToolStreams):
    """Abstract base of the chat models, with tools."""

    is_function_calling_model: bool | None = Field(
        default=None,
        description="Whether the model supports tools. Default: as in the catalogue; yes for an unknown model, unless "
        "the API takes prompts.",
    )

    # ------------------------------------------------------------------ metadata

    @property
    def metadata(self) -> LLMMetadata:
        """Metadata for LlamaIndex, from the catalogue; no network.

        A model that is unknown to the catalogue and to the server's last answers has a context window of 128,000
        tokens, and tools, unless the API takes prompts.
        """
        info = self._model_info()
        known = info.context_window if info is not None else None
        window = self.context_window or self._served_window() or known or DEFAULT_CONTEXT_WINDOW
        tools = self.is_function_calling_model
        if tools is None:
            tools = self._calls_tools(info)
        return LLMMetadata(
            context_window=window,
            num_output=self.max_tokens or DEFAULT_NUM_OUTPUTS,
            is_chat_model=True,
            is_function_calling_model=tools,
            model_name=self._label() or self._provider.name,
        )

    def _supports_json_schema(self) -> bool:
        info = self._model_info()
        return info is None or info.structured_output

    # ------------------------------------------------------------------ requests

    def _chat_request(
        self, messages: Sequence[ChatMessage], kwargs: Mapping[str, Any]
    ) -> tuple[ChatRequest, float | None]:
        return self._request(
            messages_from_llama_index(
                messages, provider=self._provider.name, drop_cache_points=self._provider.caches_prompts
            ),
            kwargs,
        )

    def _prompt_request(
        self,
        prompt: str,
        formatted: bool,  # noqa: ARG002  # a chat model's format is the server's business
        kwargs: Mapping[str, Any],
    ) -> tuple[ChatRequest, float | None]:
        self._check_prompt(prompt)
        return self._request([Message(role="user", parts=(Text(prompt),))], kwargs)

    def _request(self, messages: list[Message], kwargs: Mapping[str, Any]) -> tuple[ChatRequest, float | None]:
        options = self._call_options(kwargs)
        keywords = options.keywords
        request = self._chat_request_of(
            messages,
            options,
            tools=[tool_from(tool, self._provider.name) for tool in listed_tools(keywords.get("tools"))],
            response_format=read_response_format(keywords.get("response_format"), pydantic_format),
        )
        return request, options.timeout

    # ------------------------------------------------------------------ tools

    def _prepare_chat_with_tools(  # noqa: PLR0917  # core's signature, with two more arguments by name
        self,
        tools: Sequence[BaseTool],
        user_msg: str | ChatMessage | None = None,
        chat_history: list[ChatMessage] | None = None,
        verbose: bool = False,  # noqa: ARG002  # core's signature
        allow_parallel_tool_calls: bool = False,  # noqa: ARG002  # trimmed afterwards; not every server knows the word
        tool_required: bool = False,
        tool_choice: Any = None,
        strict: bool | None = None,
        **kwargs: Any,
    ) -> dict[str, Any]:
        return chat_arguments(
            tools,
            user_msg,
            chat_history,
            tool_required=tool_required,
            tool_choice=tool_choice,
            strict=strict,
            options=kwargs,
        )

    def _validate_chat_with_tools_response(
        self,
        response: ChatResponse,
        tools: Sequence[BaseTool],  # noqa: ARG002  # core's signature
        allow_parallel_tool_calls: bool = False,
        **kwargs: Any,  # noqa: ARG002  # core's signature
    ) -> ChatResponse:
        return response if allow_parallel_tool_calls else first_call_only(response)

    def get_tool_calls_from_response(
        self,
        response: ChatResponse,
        error_on_no_tool_call: bool = True,
        **kwargs: Any,  # noqa: ARG002  # core's signature
    ) -> list[ToolSelection]:
        """Return the tool calls of an answer, or those parsed so far from a chunk before the last.

        Raises:
            InvalidResponseError: The answer has ended, and the arguments of a call are not one whole JSON object:
                ``max_tokens`` cut them off, or the model wrote something else. No call of the answer is returned.
            ValueError: There is no call, and ``error_on_no_tool_call`` is set.
        """
        return tool_selections(response, error_on_no_tool_call=error_on_no_tool_call)
