"""The base of linkspan's chat models for LangChain: everything that providers share.

A provider's class adds its fields, a codec, and its base URL. Messages, tools, results, blocks and errors are in
separate modules.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any, ClassVar, cast

from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.messages import AIMessage
from langchain_core.runnables import Runnable
from pydantic import Field

from linkspan.call_keywords import read_response_format, read_tool_choice
from linkspan.errors import UnsupportedContentError
from linkspan.langchain import content_blocks
from linkspan.langchain.call_arguments import with_own_arguments
from linkspan.langchain.chunks import ChunkBuilder, to_chat_result
from linkspan.langchain.errors import converted_errors
from linkspan.langchain.language_model import LinkspanLanguageModel
from linkspan.langchain.messages import to_conversation
from linkspan.langchain.profiles import profile_of
from linkspan.langchain.registration import CHAT_MODELS
from linkspan.langchain.tools import Method, ToolChoiceLike, ToolLike, as_tool_dicts, schema_format, to_tools
from linkspan.langchain.usage import combine_outputs
from linkspan.options import ChatSettings
from linkspan.owned_generator import OwnedGenerator
from linkspan.providers.catalog import model_info
from linkspan.unreadable import building_answer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
    from langchain_core.language_models import ModelProfile
    from langchain_core.messages import BaseMessage
    from langchain_core.outputs import ChatGenerationChunk, ChatResult, LLMResult

    from linkspan.conversation import ChatRequest

__all__ = ["LinkspanChatModel"]

# For every provider at once: a stored message may come from another one than the imported class.
for _name in CHAT_MODELS:
    content_blocks.register_blocks(_name)


class LinkspanChatModel(ChatSettings, LinkspanLanguageModel, BaseChatModel):
    """Abstract base of the chat models; use a provider's class."""

    call_keywords: ClassVar[frozenset[str]] = LinkspanLanguageModel.call_keywords | {"strict"}
    _ls_model_type: ClassVar[Any] = "chat"

    streaming: bool = Field(
        default=False,
        description="Stream even for calls that do not (`invoke`). An explicit `False` forbids streaming.",
    )

    # ------------------------------------------------------------------ the four kinds of calls

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,  # noqa: ARG002  # core calls back itself
        **kwargs: Any,
    ) -> ChatResult:
        with converted_errors():
            request, timeout = self._request(messages, stop, kwargs)
            completion = self._endpoint().complete(request, timeout=timeout)
            with building_answer(self._provider.name):
                return to_chat_result(completion, self._provider.name, self._label(request.model))

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,  # noqa: ARG002  # core calls back itself
        **kwargs: Any,
    ) -> ChatResult:
        with converted_errors():
            request, timeout = self._request(messages, stop, kwargs)
            completion = await self._endpoint().acomplete(request, timeout=timeout)
            with building_answer(self._provider.name):
                return to_chat_result(completion, self._provider.name, self._label(request.model))

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,  # noqa: ARG002  # core calls back itself
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        with converted_errors():
            request, timeout = self._request(messages, stop, kwargs, stream=True)
            builder = ChunkBuilder(self._provider.name, self._label(request.model))
            with closing(self._endpoint().batches(request, builder.assembler, timeout=timeout)) as batches:
                for deltas in batches:
                    yield from builder.chunks(deltas)

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,  # noqa: ARG002  # core calls back itself
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        with converted_errors():
            request, timeout = self._request(messages, stop, kwargs, stream=True)
            builder = ChunkBuilder(self._provider.name, self._label(request.model))
            async with OwnedGenerator(
                self._endpoint().abatches(request, builder.assembler, timeout=timeout)
            ) as batches:
                async for deltas in batches:
                    for chunk in builder.chunks(deltas):
                        yield chunk

    def generate(self, *args: Any, **kwargs: Any) -> LLMResult:
        """Answer several conversations; see langchain-core. No tool can change the calls of the answers."""
        return with_own_arguments(super().generate(*args, **kwargs))

    async def agenerate(self, *args: Any, **kwargs: Any) -> LLMResult:
        """Answer several conversations; see langchain-core. No tool can change the calls of the answers."""
        return with_own_arguments(await super().agenerate(*args, **kwargs))

    # ------------------------------------------------------------------ the request

    def _request(
        self, messages: Sequence[BaseMessage], stop: list[str] | None, kwargs: dict[str, Any], *, stream: bool = False
    ) -> tuple[ChatRequest, float | None]:
        """Return a call's request and timeout."""
        options = self._call_options(kwargs, stop)
        keywords = options.keywords
        choices = options.extra_body.get("n", options.parameters.get("n")) or 1
        if stream and choices != 1:
            raise UnsupportedContentError(
                f"n={choices} cannot be streamed: LangChain would merge the answers into one. Use invoke or "
                "generate without streaming.",
                provider=self._provider.name,
            )
        request = self._chat_request_of(
            to_conversation(messages, self._provider.name),
            options,
            tools=to_tools(keywords.get("tools"), self._provider.name, keywords.get("strict")),
            response_format=read_response_format(keywords.get("response_format"), schema_format),
        )
        return request, options.timeout

    # ------------------------------------------------------------------ tools and structured output

    @converted_errors()
    def bind_tools(
        self,
        tools: Sequence[ToolLike],
        *,
        tool_choice: ToolChoiceLike = None,
        strict: bool | None = None,
        parallel_tool_calls: bool | None = None,
        response_format: Any = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """Return this model with tools to call.

        Args:
            tools: Functions, LangChain tools, pydantic or TypedDict classes, JSON schemas or tool dicts. An empty list
                is not sent.
            tool_choice: ``"auto"``, ``"none"``, ``"any"`` or ``"required"`` (also ``True``), a tool's name, or a dict.
            strict: Whether arguments must follow the schema exactly; sent with each tool, only if set.
            parallel_tool_calls: Whether the model may call several tools at once; sent only if set.
            response_format: The shape of the final answer, as agents pass it: a dict, class or JSON schema.
            **kwargs: Bound unchanged.

        Raises:
            ConfigurationError: If ``tool_choice`` names a tool that is not among the tools.
        """
        formatted = as_tool_dicts(tools, strict)
        if tool_choice is not None:
            read_tool_choice(tool_choice, [tool.name for tool in to_tools(formatted, self._provider.name)])
        bound = {
            "tool_choice": tool_choice,
            "parallel_tool_calls": parallel_tool_calls,
            "response_format": response_format,
        }
        kwargs.update({name: value for name, value in bound.items() if value is not None})
        return cast("Runnable[LanguageModelInput, AIMessage]", self.bind(tools=formatted, **kwargs))

    @converted_errors()
    def with_structured_output(
        self,
        schema: dict[str, Any] | type | None = None,
        *,
        include_raw: bool = False,
        method: Method = "json_schema",
        strict: bool | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, Any]:
        """Return a runnable that answers with objects of a schema.

        Args:
            schema: A pydantic class or dataclass (the answer is an instance), a TypedDict class or a JSON schema (the
                answer is a dict).
            include_raw: Return ``{"raw", "parsed", "parsing_error"}`` instead of raising parsing errors.
            method: ``"json_schema"`` (the server enforces the schema), ``"function_calling"`` (a forced tool call) or
                ``"json_mode"`` (any JSON: describe the shape in the prompt).
            strict: Sent with the schema, only if set. With ``True`` all fields are required and no others allowed.
            **kwargs: Bound unchanged.

        Raises:
            ConfigurationError: The method is unknown, or the schema missing or unusable.
            OutputParserException: (langchain-core's, at the call) The answer is not one whole object of the schema: it
                was cut off, has text around it, or does not call the tool.
            ContentBlockedError: (at the call) The answer was blocked, or the model refused.
        """
        from linkspan.langchain import structured_output  # noqa: PLC0415  # its parsers take long to load

        return structured_output.structured(
            self,
            schema,
            method=method,
            strict=strict,
            include_raw=include_raw,
            kwargs=kwargs,
        )

    def _has_json_mode(self) -> bool:
        """Whether the API supports JSON objects without a schema."""
        return True

    def _holds_to_schema(self) -> bool:
        """Whether the API can enforce a JSON schema."""
        return True

    # ------------------------------------------------------------------ what LangChain queries

    @property
    def _llm_type(self) -> str:
        return f"{self._provider.name.replace('_', '-')}-chat"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        own = {name: getattr(self, name) for name in ("data_role", "tool_results", "send_reasoning")}
        return {**super()._identifying_params, **own}

    def _get_llm_string(self, stop: list[str] | None = None, **kwargs: Any) -> str:
        # A URL from the environment is not in the serialized form that core uses as cache key.
        return f"{super()._get_llm_string(stop, **kwargs)}---{self._endpoint().base_url}"

    def _combine_llm_outputs(self, llm_outputs: list[dict[str, Any] | None]) -> dict[str, Any]:
        return combine_outputs(llm_outputs)

    def _resolve_model_profile(self) -> ModelProfile | None:
        info = model_info(self._provider.name, self.model) if self.model else None
        return None if info is None else profile_of(info, tools=self._calls_tools(info))
