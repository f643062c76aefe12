"""The base of all LLM classes: LlamaIndex's eight endpoints over one ``Endpoint``.

The public methods are decorated, each once, and hold nothing but a call of the private ones, which are not: so there is
one start event, one end event and one span per call.
"""

from __future__ import annotations

import contextlib
import difflib
from collections.abc import Mapping, Sequence  # noqa: TC003  # pydantic reads the annotations at run time
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from llama_index.core.llms.callbacks import llm_chat_callback, llm_completion_callback
from llama_index.core.llms.llm import LLM
from pydantic import Field

from linkspan.conversation import ResponseFormat
from linkspan.endpoint import as_extra_body
from linkspan.errors import ConfigurationError, InvalidRequestError
from linkspan.llama_index.responses import ChunkBuilder, chat_response, completion_response
from linkspan.llama_index.settings import CONNECTION_FIELDS, Connected
from linkspan.llama_index.stream_owner import closes_stream, opened
from linkspan.providers.catalog import model_info
from linkspan.providers.retirement import warn_if_retired
from linkspan.signatures import keeps_signature

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator

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

__all__ = ["LinkspanLLM", "given", "response_format_from"]

#: These belong to the connection; in a body they would do nothing, or show a key to the server's logs.
_NOT_PER_CALL = (CONNECTION_FIELDS - {"timeout"}) | {"api_base", "extra_headers"}
#: Keywords of a call that are no parameters of the API, or not sent as they come.
_CALL_WORDS = frozenset(
    {"data_role", "extra_body", "model", "response_format", "send_reasoning", "stop", "stream_usage", "timeout"}
    | {"tool_choice", "tool_results", "tools"}
)

#: How like a known keyword an unknown one must be to be taken for a slip of the pen.
_NEARLY = 0.85

#: Nor are these parameters of the API: in ``additional_kwargs`` they would be sent, and do nothing.
_NOT_ADDITIONAL = CONNECTION_FIELDS | {
    "api_base",
    "context_window",
    "data_role",
    "extra_body",
    "extra_headers",
    "model",
}


class LinkspanLLM(Connected, LLM):
    """A model behind an HTTP API.

    A subclass names its provider in ``_provider``, its parameters in ``_parameter_fields`` (fields that are sent under
    their own name if set), makes its codec in ``_codec``, and turns messages and texts into requests.

    ``chat`` and its kin take every parameter of the API as a keyword, too. It beats the instance's for that call;
    ``None`` takes the instance's away. Words that linkspan does not know go into the request's body as they are, unless
    they are near misses of those that it does.
    """

    _parameter_fields: ClassVar[tuple[str, ...]] = ("temperature", "max_tokens")
    #: Other names of fields, taken by the constructor and by a call.
    _argument_aliases: ClassVar[Mapping[str, str]] = {}

    temperature: float | None = Field(default=None, description="Sampling temperature.")
    max_tokens: int | None = Field(default=None, gt=0, description="Longest answer, in tokens.")
    stop: list[str] | None = Field(default=None, description="Texts that end the answer.")
    context_window: int | None = Field(default=None, gt=0, description="Context window in tokens; None: by catalogue.")
    additional_kwargs: dict[str, Any] = Field(default_factory=dict, description="Further parameters of the API.")
    extra_body: dict[str, Any] = Field(default_factory=dict, description="Merged into the body last, as it is.")
    data_role: Literal["error", "fenced"] = Field(
        default="error", description="What becomes of data messages on an API without that role."
    )

    def __init__(self, **settings: Any) -> None:
        settings = self._with_aliases_resolved(settings)
        if isinstance(settings.get("stop"), str):
            settings["stop"] = [settings["stop"]]
        for name in ("additional_kwargs", "extra_body"):
            if name in settings and settings[name] is None:
                del settings[name]
        super().__init__(**settings)
        self._further_parameters()

    @classmethod
    def _with_aliases_resolved(cls, settings: Mapping[str, Any]) -> dict[str, Any]:
        settings = dict(settings)
        for alias, name in cls._argument_aliases.items():
            if alias in settings:
                if name in settings:
                    raise ConfigurationError(f"{name} and {alias} are two names for one argument: give one.")
                settings[name] = settings.pop(alias)
        return settings

    def _model_info(self) -> ModelInfo | None:
        return model_info(self._provider.name, self.model)

    # ------------------------------------------------------------------ what each class states

    def _chat_request(self, messages: Sequence[ChatMessage], kwargs: Mapping[str, Any]) -> tuple[Any, float | None]:
        """Return the request of a conversation, and the call's own timeout."""
        raise NotImplementedError

    def _prompt_request(self, prompt: str, formatted: bool, kwargs: Mapping[str, Any]) -> tuple[Any, float | None]:
        """Return the request of a text, and the call's own timeout."""
        raise NotImplementedError

    # ------------------------------------------------------------------ the eight endpoints

    @keeps_signature
    @llm_chat_callback()
    def chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        """Answer a conversation."""
        request, timeout = self._chat_request(messages, kwargs)
        return chat_response(self._connected().complete(request, timeout=timeout))

    @keeps_signature
    @llm_chat_callback()
    async def achat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        """Answer a conversation."""
        request, timeout = self._chat_request(messages, kwargs)
        return chat_response(await self._connected().acomplete(request, timeout=timeout))

    @keeps_signature
    @closes_stream
    @llm_chat_callback()
    def stream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseGen:
        """Answer a conversation piece by piece; close the generator to stop early."""
        return opened(self._stream(*self._chat_request(messages, kwargs), kind="chat"))

    @keeps_signature
    @closes_stream
    @llm_chat_callback()
    async def astream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseAsyncGen:
        """Answer a conversation piece by piece; close the generator to stop early."""
        return opened(self._astream(*self._chat_request(messages, kwargs), kind="chat"))

    @keeps_signature
    @llm_completion_callback()
    def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        """Answer a text. ``formatted`` says that it is in the model's own prompt format already."""
        request, timeout = self._prompt_request(prompt, formatted, kwargs)
        return completion_response(self._connected().complete(request, timeout=timeout))

    @keeps_signature
    @llm_completion_callback()
    async def acomplete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        """Answer a text. ``formatted`` says that it is in the model's own prompt format already."""
        request, timeout = self._prompt_request(prompt, formatted, kwargs)
        return completion_response(await self._connected().acomplete(request, timeout=timeout))

    @keeps_signature
    @closes_stream
    @llm_completion_callback()
    def stream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponseGen:
        """Answer a text piece by piece; close the generator to stop early. ``formatted`` as in ``complete``."""
        return opened(self._stream(*self._prompt_request(prompt, formatted, kwargs), kind="completion"))

    @keeps_signature
    @closes_stream
    @llm_completion_callback()
    async def astream_complete(
        self,
        prompt: str,
        formatted: bool = False,
        **kwargs: Any,
    ) -> CompletionResponseAsyncGen:
        """Answer a text piece by piece; close the generator to stop early. ``formatted`` as in ``complete``."""
        return opened(self._astream(*self._prompt_request(prompt, formatted, kwargs), kind="completion"))

    # ------------------------------------------------------------------ streams

    def _stream(
        self, request: Any, timeout: float | None, *, kind: Literal["chat", "completion"]
    ) -> Generator[Any, None, None]:
        builder = ChunkBuilder()
        build = builder.chat if kind == "chat" else builder.completion
        with contextlib.closing(self._connected().batches(request, builder.assembler, timeout=timeout)) as batches:
            for deltas in batches:
                for delta in deltas:
                    chunk = build(delta)
                    if chunk is not None:
                        yield chunk

    async def _astream(
        self, request: Any, timeout: float | None, *, kind: Literal["chat", "completion"]
    ) -> AsyncGenerator[Any, None]:
        builder = ChunkBuilder()
        build = builder.chat if kind == "chat" else builder.completion
        connected = self._connected()
        async with contextlib.aclosing(connected.abatches(request, builder.assembler, timeout=timeout)) as batches:
            async for deltas in batches:
                for delta in deltas:
                    chunk = build(delta)
                    if chunk is not None:
                        yield chunk

    # ------------------------------------------------------------------ settings of one call

    def _check_prompt(self, prompt: Any) -> None:
        """Refuse what is no text.

        Raises:
            InvalidRequestError: It is something else.
        """
        if not isinstance(prompt, str):
            raise InvalidRequestError(
                f"a prompt must be text, not {type(prompt).__name__}", provider=self._provider.name
            )

    def _call_settings(self, kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """Return the keywords of a call under their own names.

        Raises:
            ConfigurationError: One belongs to the constructor, or nearly is one that is known.
        """
        if not kwargs:
            return {}
        call = self._with_aliases_resolved(kwargs)
        for name in call.keys() & _NOT_PER_CALL:
            raise ConfigurationError(
                f"{name!r} cannot be given for one call: give it to {type(self).__name__}(...)",
                provider=self._provider.name,
            )
        for name in call.keys() - _CALL_WORDS:
            if name in self._parameter_fields or name in self._argument_aliases:
                continue
            known = (*self._parameter_fields, *self._argument_aliases, *sorted(_CALL_WORDS))
            near = difflib.get_close_matches(name, known, n=1, cutoff=_NEARLY)
            if near:
                raise ConfigurationError(
                    f"The keyword {name!r} of the call is none that is known; did you mean {near[0]!r}? To send it as "
                    "it is, use extra_body.",
                    provider=self._provider.name,
                )
        return call

    def _model_of(self, of_the_call: str | None) -> str:
        if not of_the_call:
            return self.model
        warn_if_retired(self._provider, of_the_call)
        return of_the_call

    def _stops(self, call: dict[str, Any]) -> list[str]:
        """Take the stop texts out of the call's keywords, or the instance's."""
        stop = call.pop("stop", self._further_parameters().get("stop", self.stop))
        return [stop] if isinstance(stop, str) else list(stop or ())

    def _extra_body(self, call: dict[str, Any]) -> dict[str, Any]:
        """Take the further fields of the body out of the call's keywords, over the instance's."""
        return {**self.extra_body, **as_extra_body(call.pop("extra_body", None))}

    def _further_parameters(self) -> dict[str, Any]:
        """Return ``additional_kwargs`` under the fields' own names.

        Raises:
            ConfigurationError: One of them is an argument of the constructor.
        """
        if not self.additional_kwargs:
            return {}
        further = {self._argument_aliases.get(name, name): value for name, value in self.additional_kwargs.items()}
        for name in further.keys() & _NOT_ADDITIONAL:
            raise ConfigurationError(
                f"additional_kwargs holds {name!r}, which is no parameter of the API: give it to "
                f"{type(self).__name__}(...) itself" + (" (default_headers)." if name == "extra_headers" else "."),
                provider=self._provider.name,
            )
        return further

    def _parameters(self, call: Mapping[str, Any]) -> dict[str, Any]:
        """Return what is set of the parameters: the instance's, over them what is left of the call's keywords."""
        parameters = {name: getattr(self, name) for name in self._parameter_fields}
        parameters.update(self._further_parameters())
        # Not a parameter like the others: many APIs do not enforce it, and it is then enforced here.
        parameters.pop("stop", None)
        parameters.update(call)
        return {name: value for name, value in parameters.items() if value is not None}


def given(value: Any, default: Any) -> Any:
    """Return the value, or the default if there is none."""
    return default if value is None else value


def response_format_from(value: Any) -> ResponseFormat | None:
    """Read a Chat Completions ``response_format``.

    Raises:
        ConfigurationError: It is none.
    """
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
