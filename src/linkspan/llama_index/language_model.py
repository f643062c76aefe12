"""Base of all LLM classes: LlamaIndex's eight endpoints over one ``Endpoint``.

Only the public methods are decorated, and they only call the private ones. So each call has one start event, one end
event and one span.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from llama_index.core.llms.callbacks import llm_chat_callback, llm_completion_callback
from llama_index.core.llms.llm import LLM
from pydantic import Field

from linkspan.connection import reopening_fields
from linkspan.errors import ConfigurationError, InvalidRequestError
from linkspan.fields import by_field_name
from linkspan.llama_index.answers import ResponseBuilder, chat_response, completion_response
from linkspan.llama_index.component import LlamaIndexComponent
from linkspan.llama_index.stream_owner import MethodT, closes_stream, owned
from linkspan.options import ModelSettings
from linkspan.owned_generator import OwnedGenerator
from linkspan.providers.catalog import model_info
from linkspan.redaction import is_secret_keyword
from linkspan.unreadable import building_answer, invalid_response

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator, Mapping, Sequence

    from llama_index.core.base.llms.types import (
        ChatMessage,
        ChatResponse,
        ChatResponseAsyncGen,
        ChatResponseGen,
        CompletionResponse,
        CompletionResponseAsyncGen,
        CompletionResponseGen,
    )

    from linkspan.providers.catalog import ModelInfo

__all__ = ["LinkspanLLM"]

#: Fields that are not parameters of the API: in ``additional_kwargs`` they would be sent and ignored.
_NOT_ADDITIONAL = frozenset({"context_window", "data_role", "extra_body", "extra_headers", "model"})


# Core's decorators lose the type of the method.
def _chat_endpoint(method: MethodT) -> MethodT:
    observed: MethodT = llm_chat_callback()(method)
    return observed


def _completion_endpoint(method: MethodT) -> MethodT:
    observed: MethodT = llm_completion_callback()(method)
    return observed


class LinkspanLLM(ModelSettings, LlamaIndexComponent, LLM):
    """Abstract base of the LLM classes.

    ``chat`` and the other methods also accept every parameter of the API as a keyword. It overrides the field for that
    call; ``None`` drops the field's value. An unknown keyword is sent unchanged in the request's body, unless it nearly
    matches a known one, which is an error.
    """

    further_parameters: ClassVar[str] = "additional_kwargs or extra_body"

    context_window: int | None = Field(
        default=None, gt=0, description="Tokens of prompt and answer together. Default: as known for the model."
    )
    additional_kwargs: dict[str, Any] = Field(default_factory=dict, description="Further parameters of the API.")

    def _check(self) -> None:
        super()._check()
        self._further_parameters()

    def _model_info(self) -> ModelInfo | None:
        return model_info(self._provider.name, self.model) if self.model else None

    # ------------------------------------------------------------------ what a subclass defines

    def _chat_request(self, messages: Sequence[ChatMessage], kwargs: Mapping[str, Any]) -> tuple[Any, float | None]:
        """Return the request of a conversation, and the call's timeout."""
        raise NotImplementedError

    def _prompt_request(self, prompt: str, formatted: bool, kwargs: Mapping[str, Any]) -> tuple[Any, float | None]:
        """Return the request of a text, and the call's timeout."""
        raise NotImplementedError

    # ------------------------------------------------------------------ the eight endpoints

    @_chat_endpoint
    def chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        """Return the answer to a conversation."""
        request, timeout = self._chat_request(messages, kwargs)
        completion = self._endpoint().complete(request, timeout=timeout)
        with building_answer(self._provider.name):
            return chat_response(completion)

    @_chat_endpoint
    async def achat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        """Return the answer to a conversation."""
        request, timeout = self._chat_request(messages, kwargs)
        completion = await self._endpoint().acomplete(request, timeout=timeout)
        with building_answer(self._provider.name):
            return chat_response(completion)

    @closes_stream
    @_chat_endpoint
    def stream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseGen:
        """Stream the answer to a conversation; close the generator to stop early."""
        return owned(self._stream(*self._chat_request(messages, kwargs), kind="chat"))

    @closes_stream
    @_chat_endpoint
    async def astream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseAsyncGen:
        """Stream the answer to a conversation; close the generator to stop early."""
        return owned(OwnedGenerator(self._astream(*self._chat_request(messages, kwargs), kind="chat")))

    @_completion_endpoint
    def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        """Return the completion of a text. ``formatted`` means that it already is in the model's prompt format."""
        request, timeout = self._prompt_request(prompt, formatted, kwargs)
        completion = self._endpoint().complete(request, timeout=timeout)
        with building_answer(self._provider.name):
            return completion_response(completion)

    @_completion_endpoint
    async def acomplete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        """Return the completion of a text. ``formatted`` means that it already is in the model's prompt format."""
        request, timeout = self._prompt_request(prompt, formatted, kwargs)
        completion = await self._endpoint().acomplete(request, timeout=timeout)
        with building_answer(self._provider.name):
            return completion_response(completion)

    @closes_stream
    @_completion_endpoint
    def stream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponseGen:
        """Stream the completion of a text; close the generator to stop early. For ``formatted`` see ``complete``."""
        return owned(self._stream(*self._prompt_request(prompt, formatted, kwargs), kind="completion"))

    @closes_stream
    @_completion_endpoint
    async def astream_complete(
        self,
        prompt: str,
        formatted: bool = False,
        **kwargs: Any,
    ) -> CompletionResponseAsyncGen:
        """Stream the completion of a text; close the generator to stop early. For ``formatted`` see ``complete``."""
        return owned(OwnedGenerator(self._astream(*self._prompt_request(prompt, formatted, kwargs), kind="completion")))

    # ------------------------------------------------------------------ streams

    def _stream(
        self, request: Any, timeout: float | None, *, kind: Literal["chat", "completion"]
    ) -> Generator[Any, None, None]:
        builder = ResponseBuilder()
        build = builder.chat if kind == "chat" else builder.completion
        with contextlib.closing(self._endpoint().batches(request, builder.assembler, timeout=timeout)) as batches:
            for deltas in batches:
                for delta in deltas:
                    try:
                        chunk = build(delta)
                    except Exception as error:  # core's classes may raise anything for a value
                        raise invalid_response(error, self._provider.name, so_far=builder.assembler) from error
                    if chunk is not None:
                        yield chunk

    async def _astream(
        self, request: Any, timeout: float | None, *, kind: Literal["chat", "completion"]
    ) -> AsyncGenerator[Any, None]:
        builder = ResponseBuilder()
        build = builder.chat if kind == "chat" else builder.completion
        last: Any = None
        async with OwnedGenerator(self._endpoint().abatches(request, builder.assembler, timeout=timeout)) as batches:
            async for deltas in batches:
                for delta in deltas:
                    try:
                        chunk = build(delta)
                    except Exception as error:  # core's classes may raise anything for a value
                        raise invalid_response(error, self._provider.name, so_far=builder.assembler) from error
                    if delta.last and kind == "chat" and builder.has_tool_calls:
                        last = chunk
                    elif chunk is not None:
                        yield chunk
        if last is not None:
            # Agents, which are async, raise on a broken call as soon as they see it: no connection may be open by then.
            yield last

    # ------------------------------------------------------------------ settings of one call

    def _check_prompt(self, prompt: Any) -> None:
        """Refuse a prompt that is not a string.

        Raises:
            InvalidRequestError: The prompt is not a string.
        """
        if not isinstance(prompt, str):
            raise InvalidRequestError(
                f"a prompt must be text, not {type(prompt).__name__}", provider=self._provider.name
            )

    def _object_parameters(self) -> dict[str, Any]:
        return {**super()._object_parameters(), **self._further_parameters()}

    def _object_stop(self) -> Sequence[str]:
        stop = by_field_name(type(self), self.additional_kwargs).get("stop", self.stop)
        return [stop] if isinstance(stop, str) else stop or ()

    def _further_parameters(self) -> dict[str, Any]:
        """Return ``additional_kwargs`` with aliases resolved to field names.

        Raises:
            ConfigurationError: A key is an argument of the constructor.
        """
        if not self.additional_kwargs:
            return {}
        further = by_field_name(type(self), self.additional_kwargs)
        not_additional = _NOT_ADDITIONAL | reopening_fields(type(self))
        for name, value in further.items():
            if name in not_additional or (name not in self.parameter_fields and is_secret_keyword(name, value)):
                raise ConfigurationError(
                    f"additional_kwargs contains {name!r}, which is not a parameter of the API: pass it to "
                    f"{type(self).__name__}(...) itself" + (" (default_headers)." if name == "extra_headers" else "."),
                    provider=self._provider.name,
                )
        # Unlike other parameters, it is enforced here if the API does not enforce it.
        further.pop("stop", None)
        return further
