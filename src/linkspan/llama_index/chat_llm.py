"""The base of all LLM classes that chat: LlamaIndex's eight endpoints and its tool methods over one ``Endpoint``.

The public methods are decorated, each once, and hold nothing but a call of the private ones, which are not: so there is
one start event, one end event and one span per call.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence  # noqa: TC003  # pydantic reads the annotations at run time
from typing import TYPE_CHECKING, Any, ClassVar, Literal, cast

from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    ChatResponseAsyncGen,
    ChatResponseGen,
    CompletionResponse,
    CompletionResponseAsyncGen,
    CompletionResponseGen,
    LLMMetadata,
)
from llama_index.core.constants import DEFAULT_NUM_OUTPUTS
from llama_index.core.llms.callbacks import llm_chat_callback, llm_completion_callback
from pydantic import Field

from linkspan.conversation import ChatRequest, Message, ResponseFormat, Text
from linkspan.errors import ConfigurationError
from linkspan.llama_index.messages import messages_from_llama_index
from linkspan.llama_index.responses import ChunkBuilder, chat_response, completion_response
from linkspan.llama_index.settings import CONNECTION_FIELDS, Connected
from linkspan.llama_index.stream_owner import closes_stream, opened
from linkspan.llama_index.structured import NativeStructuredOutput
from linkspan.llama_index.tools import (
    chat_arguments,
    keep_first_call,
    tool_choice_from,
    tool_from,
    tool_selections,
)
from linkspan.providers.catalog import model_info

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator

    from llama_index.core.llms.llm import ToolSelection
    from llama_index.core.tools.types import BaseTool

    from linkspan.conversation import Delta
    from linkspan.providers.catalog import ModelInfo

__all__ = ["ChatLLM"]

#: Context window in tokens assumed of a model that the catalogue does not know: what today's open models mostly have.
#: If it is too large, the server says so with a ``ContextOverflowError``; core's own 3900 would multiply calls unseen.
DEFAULT_CONTEXT_WINDOW = 128_000

#: These belong to the connection; in a body they would do nothing, or show a key to the server's logs.
_NOT_PER_CALL = (CONNECTION_FIELDS - {"timeout"}) | {"api_base", "extra_headers"}


class ChatLLM(Connected, NativeStructuredOutput):
    """A chat model behind an HTTP API.

    A subclass names its provider in ``_provider``, its parameters in ``_parameter_fields`` (fields that are sent under
    their own name if set), and makes its codec in ``_codec``.

    ``chat`` and its kin take every parameter of the API as a keyword, too. It beats the instance's for that call;
    ``None`` takes the instance's away. Words that linkspan does not know go into the request's body as they are.
    """

    _parameter_fields: ClassVar[tuple[str, ...]] = ("temperature", "max_tokens", "top_p", "seed")

    temperature: float | None = Field(default=None, description="Sampling temperature.")
    max_tokens: int | None = Field(default=None, gt=0, description="Longest answer, in tokens.")
    top_p: float | None = Field(default=None, description="Nucleus sampling.")
    stop: list[str] | None = Field(default=None, description="Texts that end the answer.")
    seed: int | None = Field(default=None, description="Seed of the sampling.")
    context_window: int | None = Field(default=None, gt=0, description="Context window in tokens; None: by catalogue.")
    is_function_calling_model: bool | None = Field(
        default=None, description="Whether the model takes tools; None: by catalogue, yes if unknown."
    )
    additional_kwargs: dict[str, Any] = Field(default_factory=dict, description="Further parameters of the API.")
    extra_body: dict[str, Any] = Field(default_factory=dict, description="Merged into the body last, as it is.")
    stream_usage: bool = Field(default=True, description="Ask for token counts in streams.")
    data_role: Literal["error", "fenced"] = Field(
        default="error", description="What becomes of data messages on an API without that role."
    )

    def __init__(self, **settings: Any) -> None:
        if isinstance(settings.get("stop"), str):
            settings["stop"] = [settings["stop"]]
        super().__init__(**settings)

    # ------------------------------------------------------------------ what is known of the model

    def _model_info(self) -> ModelInfo | None:
        return model_info(self._provider.name, self.model)

    @property
    def metadata(self) -> LLMMetadata:
        """Facts for LlamaIndex, from the catalogue and without the network.

        For a model that the catalogue does not know: a context window of 128,000 tokens, and tools.
        """
        info = self._model_info()
        window = self.context_window or (info.context_window if info is not None else None) or DEFAULT_CONTEXT_WINDOW
        tools = self.is_function_calling_model
        if tools is None:
            tools = info is None or info.tools
        return LLMMetadata(
            context_window=window,
            num_output=self.max_tokens or DEFAULT_NUM_OUTPUTS,
            is_chat_model=True,
            is_function_calling_model=tools,
            model_name=self.model,
        )

    def _supports_json_schema(self) -> bool:
        info = self._model_info()
        return info is None or info.structured_output

    # ------------------------------------------------------------------ the eight endpoints

    @llm_chat_callback()
    def chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        """Answer a conversation."""
        request, timeout = self._chat_request(messages, kwargs)
        return chat_response(self._connected().complete(request, timeout=timeout))

    @llm_chat_callback()
    async def achat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        """Answer a conversation."""
        request, timeout = self._chat_request(messages, kwargs)
        return chat_response(await self._connected().acomplete(request, timeout=timeout))

    @closes_stream
    @llm_chat_callback()
    def stream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseGen:
        """Answer a conversation piece by piece; close the generator to stop early."""
        return opened(self._stream(*self._chat_request(messages, kwargs), kind="chat"))

    @closes_stream
    @llm_chat_callback()
    async def astream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseAsyncGen:
        """Answer a conversation piece by piece; close the generator to stop early."""
        return opened(self._astream(*self._chat_request(messages, kwargs), kind="chat"))

    @llm_completion_callback()
    def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:  # noqa: ARG002  # core's signature
        """Answer one user message. ``formatted`` means nothing to a chat model."""
        request, timeout = self._prompt_request(prompt, kwargs)
        return completion_response(self._connected().complete(request, timeout=timeout))

    @llm_completion_callback()
    async def acomplete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:  # noqa: ARG002  # core's signature
        """Answer one user message. ``formatted`` means nothing to a chat model."""
        request, timeout = self._prompt_request(prompt, kwargs)
        return completion_response(await self._connected().acomplete(request, timeout=timeout))

    @closes_stream
    @llm_completion_callback()
    def stream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponseGen:  # noqa: ARG002  # core's signature
        """Answer one user message piece by piece. ``formatted`` means nothing to a chat model."""
        return opened(self._stream(*self._prompt_request(prompt, kwargs), kind="completion"))

    @closes_stream
    @llm_completion_callback()
    async def astream_complete(
        self,
        prompt: str,
        formatted: bool = False,  # noqa: ARG002  # core's signature
        **kwargs: Any,
    ) -> CompletionResponseAsyncGen:
        """Answer one user message piece by piece. ``formatted`` means nothing to a chat model."""
        return opened(self._astream(*self._prompt_request(prompt, kwargs), kind="completion"))

    # ------------------------------------------------------------------ streams

    def _stream(
        self, request: ChatRequest, timeout: float | None, *, kind: Literal["chat", "completion"]
    ) -> Generator[Any, None, None]:
        builder = ChunkBuilder()
        build = builder.chat if kind == "chat" else builder.completion
        deltas = self._connected().stream(request, assembler=builder.assembler, timeout=timeout)
        with contextlib.closing(cast("Generator[Delta, None, None]", deltas)) as steps:
            for delta in steps:
                chunk = build(delta)
                if chunk is not None:
                    yield chunk

    async def _astream(
        self, request: ChatRequest, timeout: float | None, *, kind: Literal["chat", "completion"]
    ) -> AsyncGenerator[Any, None]:
        builder = ChunkBuilder()
        build = builder.chat if kind == "chat" else builder.completion
        deltas = self._connected().astream(request, assembler=builder.assembler, timeout=timeout)
        async with contextlib.aclosing(cast("AsyncGenerator[Delta, None]", deltas)) as steps:
            async for delta in steps:
                chunk = build(delta)
                if chunk is not None:
                    yield chunk

    # ------------------------------------------------------------------ requests

    def _chat_request(
        self, messages: Sequence[ChatMessage], kwargs: Mapping[str, Any]
    ) -> tuple[ChatRequest, float | None]:
        return self._request(messages_from_llama_index(messages, provider=self._provider.name), kwargs)

    def _prompt_request(self, prompt: str, kwargs: Mapping[str, Any]) -> tuple[ChatRequest, float | None]:
        return self._request([Message(role="user", parts=(Text(prompt),))], kwargs)

    def _request(self, messages: list[Message], kwargs: Mapping[str, Any]) -> tuple[ChatRequest, float | None]:
        """Merge the instance's settings with the call's, which win."""
        call = dict(kwargs)
        for name in call.keys() & _NOT_PER_CALL:
            raise ConfigurationError(
                f"{name!r} cannot be given for one call: give it to {type(self).__name__}(...)",
                provider=self._provider.name,
            )
        timeout = call.pop("timeout", None)
        tools = [tool_from(tool) for tool in call.pop("tools", None) or ()]
        stop = call.pop("stop", self.stop)
        request = ChatRequest(
            model=call.pop("model", None) or self.model,
            messages=messages,
            stop=[stop] if isinstance(stop, str) else list(stop or ()),
            tools=tools,
            tool_choice=tool_choice_from(call.pop("tool_choice", None), tools),
            response_format=_response_format(call.pop("response_format", None)),
            extra_body={**self.extra_body, **(call.pop("extra_body", None) or {})},
            stream_usage=_given(call.pop("stream_usage", None), self.stream_usage),
            send_reasoning=bool(call.pop("send_reasoning", False)),
            data_role=_given(call.pop("data_role", None), self.data_role),
        )
        parameters = {name: getattr(self, name) for name in self._parameter_fields}
        parameters.update(self.additional_kwargs)
        parameters.update(call)
        request.parameters = {name: value for name, value in parameters.items() if value is not None}
        return request, timeout

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
        return response if allow_parallel_tool_calls else keep_first_call(response)

    def get_tool_calls_from_response(
        self,
        response: ChatResponse,
        error_on_no_tool_call: bool = True,
        **kwargs: Any,  # noqa: ARG002  # core's signature
    ) -> list[ToolSelection]:
        """Return the tool calls of an answer, or of a chunk: arguments that are still half-written never raise.

        Raises:
            ValueError: There is none, and ``error_on_no_tool_call`` is set.
        """
        return tool_selections(response, error_on_no_tool_call=error_on_no_tool_call)


def _given(value: Any, default: Any) -> Any:
    return default if value is None else value


def _response_format(value: Any) -> ResponseFormat | None:
    """Read the Chat Completions object."""
    if value is None or isinstance(value, ResponseFormat):
        return value
    kind = value.get("type") if isinstance(value, dict) else None
    if kind in ("json_object", "text"):
        return ResponseFormat(kind)
    details = value.get("json_schema") if kind == "json_schema" else None
    if not isinstance(details, dict) or not isinstance(details.get("schema"), dict):
        raise ConfigurationError(
            'response_format must be {"type": "json_schema", "json_schema": {"name": ..., "schema": {...}}}, '
            '{"type": "json_object"} or {"type": "text"}'
        )
    return ResponseFormat(
        "json_schema",
        schema=details["schema"],
        name=details.get("name"),
        strict=details.get("strict"),
        description=details.get("description"),
    )
