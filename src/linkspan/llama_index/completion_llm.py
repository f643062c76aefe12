"""Base of the LLM classes for prompt APIs: a chat template writes conversations as prompts."""

from __future__ import annotations

import pickle
from collections.abc import Mapping, Sequence  # noqa: TC003  # pydantic reads the annotations at run time
from typing import TYPE_CHECKING, Any, ClassVar, Literal, cast

from llama_index.core.base.llms.generic_utils import messages_to_prompt as core_messages_to_prompt
from llama_index.core.base.llms.types import LLMMetadata
from llama_index.core.constants import DEFAULT_NUM_OUTPUTS
from llama_index.core.llms.llm import default_completion_to_prompt as core_completion_to_prompt
from llama_index.core.prompts.base import ChatPromptTemplate, SelectorPromptTemplate

from linkspan.call_keywords import read_response_format
from linkspan.conversation import ChatRequest, Message, Text
from linkspan.errors import ConfigurationError
from linkspan.llama_index.messages import messages_from_llama_index
from linkspan.llama_index.prompt_format import for_function, plain_lines
from linkspan.llama_index.structured import NativeStructuredOutput
from linkspan.llama_index.tools import pydantic_format
from linkspan.options import ConversationSettings, refuse_chat_keywords
from linkspan.prompts import ChatTemplate, find_template
from linkspan.providers.filters.thinking import ThinkTagCodec
from linkspan.providers.templated_chat import TemplatedChatCodec
from linkspan.settings.templated import TemplateSettings

if TYPE_CHECKING:
    from collections.abc import Callable

    from llama_index.core.base.llms.types import ChatMessage
    from llama_index.core.prompts.base import BasePromptTemplate

    from linkspan.conversation import PromptRequest
    from linkspan.options import CallOptions
    from linkspan.providers.codec import Codec

__all__ = ["CompletionLLM"]

#: Assumed context window in tokens: the default of prompt servers. Core cuts retrieved text to it. Too small a window
#: costs calls; too large a window, an error of the server.
PROMPT_CONTEXT_WINDOW = 4096

#: Core's defaults in place of the user's functions.
_CORE_FORMATS = (None, core_messages_to_prompt, core_completion_to_prompt)


class CompletionLLM(TemplateSettings, ConversationSettings, NativeStructuredOutput):
    """Abstract base of the completion models.

    A conversation becomes one prompt: by ``messages_to_prompt`` if set, else by ``chat_template``, else by the template
    of the model's name, else as plain lines (``user: …``). A ``chat_template`` also turns the text of ``complete`` into
    a user turn, unless ``completion_to_prompt`` is set. Each is applied once: a text that LlamaIndex has already
    formatted (``formatted=True``) is sent unchanged.

    ``predict``, ``structured_predict`` and what builds on them write a prompt of messages as a conversation, and any
    other prompt as ``complete`` does. ``system_prompt`` and an output parser's instructions become part of that
    conversation, inside the template. A user's ``messages_to_prompt`` receives all messages unchanged, including those
    with images.
    """

    #: Sent to the API if ``max_tokens`` is not set.
    _default_max_tokens: ClassVar[int] = DEFAULT_NUM_OUTPUTS
    #: Most stop texts that the API accepts.
    _most_stops: ClassVar[int | None] = None

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self._template()  # fails early on a wrong one

    # ------------------------------------------------------------------ what a subclass defines

    if TYPE_CHECKING:

        def _prompt_codec(self) -> Codec[PromptRequest]: ...

        def _schema_options(self, schema: Mapping[str, Any]) -> dict[str, Any]: ...

    def _create_codec(self) -> Codec[PromptRequest]:
        return ThinkTagCodec(self._prompt_codec()) if self.split_reasoning else self._prompt_codec()

    # ------------------------------------------------------------------ prompts

    def _template(self, model: str | None = None) -> ChatTemplate | None:
        """Return the chat template: the field, or the template of a model (by default the instance's)."""
        return find_template(self.chat_template, model or self.model)

    def _turn_ends(self) -> tuple[str, ...]:
        """Return the stop texts of a prompt that is already written."""
        guessed = self.chat_template is None
        template = None if guessed and _of_the_user(self.messages_to_prompt) else self._template()
        return () if template is None else template.stop

    def _changed(self, update: Mapping[str, Any]) -> None:
        super()._changed(update)
        if "chat_template" in update:
            self._template()

    def __getstate__(self) -> dict[str, Any]:
        state = super().__getstate__()
        for name in ("messages_to_prompt", "completion_to_prompt"):
            if name not in state["__dict__"]:
                # Dropping it would silently change the prompts.
                raise pickle.PicklingError(
                    f"{name} cannot be pickled: define the function at the top of a module, or use chat_template."
                )
        return state

    def _conversation(self, messages: Sequence[ChatMessage], data_role: Any) -> str:
        """Write messages as one prompt."""
        request, _ = self._chat_request(messages, {"data_role": data_role})
        return request.prompt

    def _question(self, text: str) -> str:
        """Write a text as a prompt, with the system prompt."""
        function = _of_the_user(self.completion_to_prompt)
        if function is None and self.chat_template is not None:
            turns = [Message("system", [Text(self.system_prompt)])] if self.system_prompt else []
            request, _ = self._by_template(
                self._template(), [*turns, Message("user", [Text(text)])], self._call_options({})
            )
            return request.prompt
        written = text if function is None else str(function(text))
        return f"{self.system_prompt}\n\n{written}" if self.system_prompt else written

    def _written(self, prompt: BasePromptTemplate, prompt_args: Mapping[str, Any], data_role: Any) -> str:
        """Write a prompt template. Core would put system prompt and output parser outside of the chat template."""
        if isinstance(prompt, SelectorPromptTemplate):
            prompt = prompt.select(llm=self)
        if isinstance(prompt, ChatPromptTemplate) or getattr(prompt, "is_chat_template", False):
            written = self._conversation(self._get_messages(prompt, **prompt_args), data_role)
        else:
            text = prompt.format(llm=self, **prompt_args)
            written = self._question(text if self.output_parser is None else self.output_parser.format(text))
        if self.query_wrapper_prompt:
            return self.query_wrapper_prompt.format(query_str=written)
        return written

    def _text_of_program(self) -> Callable[[BasePromptTemplate, dict[str, Any]], str]:
        return lambda prompt, prompt_args: self._written(prompt, prompt_args, self.data_role)

    def _get_prompt(self, prompt: BasePromptTemplate, **prompt_args: Any) -> str:
        return self._written(prompt, prompt_args, self.data_role)

    # ------------------------------------------------------------------ metadata

    @property
    def metadata(self) -> LLMMetadata:
        """Metadata for LlamaIndex; no network. The context window is 4096 tokens unless it is set or known."""
        return LLMMetadata(
            context_window=self.context_window or self._served_window() or PROMPT_CONTEXT_WINDOW,
            num_output=self._object_parameters().get("max_tokens") or self._default_max_tokens,
            is_chat_model=False,
            is_function_calling_model=False,
            model_name=self._label() or self._provider.name,
        )

    def _supports_json_schema(self) -> bool:
        return True

    # ------------------------------------------------------------------ requests

    def _chat_request(
        self, messages: Sequence[ChatMessage], kwargs: Mapping[str, Any]
    ) -> tuple[PromptRequest, float | None]:
        self._check_messages(messages)
        options = self._call_options(kwargs)
        data_role = options.fields.get("data_role", self.data_role)
        provider = self._provider.name
        function = _of_the_user(self.messages_to_prompt)
        if function is not None:
            ends = self._turn_ends()
            written = str(function(for_function(messages, provider=provider, data_role=data_role)))
            return self._request(written, options, ends)
        conversation = messages_from_llama_index(messages, provider=provider)
        template = self._template(options.model)
        if template is None:
            return self._request(plain_lines(conversation, provider=provider, data_role=data_role), options)
        return self._by_template(template, conversation, options, data_role=data_role)

    def _prompt_request(
        self, prompt: str, formatted: bool, kwargs: Mapping[str, Any]
    ) -> tuple[PromptRequest, float | None]:
        self._check_prompt(prompt)
        options = self._call_options(kwargs)
        if formatted:
            return self._request(prompt, options, self._turn_ends())
        function = _of_the_user(self.completion_to_prompt)
        if function is None and self.chat_template is not None:
            return self._by_template(self._template(), [Message("user", [Text(prompt)])], options)
        written = prompt if function is None else str(function(prompt))
        return self._request(written, options, self._turn_ends() if self.chat_template is not None else ())

    def _by_template(
        self,
        template: ChatTemplate | None,
        messages: Sequence[Message],
        options: CallOptions,
        *,
        data_role: Literal["error", "fenced"] = "error",
    ) -> tuple[PromptRequest, float | None]:
        """Return the request of a conversation that a chat template writes, like the chat classes."""
        unwritten, timeout = self._request("", options)
        codec = TemplatedChatCodec(
            self._prompt_codec(),
            cast("ChatTemplate", template),
            title=self._provider.title,
            max_stops=self._most_stops,
        )
        chat = ChatRequest(
            model=unwritten.model,
            messages=messages,
            parameters=unwritten.parameters,
            stop=unwritten.stop,
            extra_body=unwritten.extra_body,
            extra_headers=unwritten.extra_headers,
            data_role=data_role,
        )
        return codec.prompt_request(chat), timeout

    def _request(
        self, prompt: str, options: CallOptions, turn_ends: Sequence[str] = ()
    ) -> tuple[PromptRequest, float | None]:
        refuse_chat_keywords(self, options.keywords, ("tools", "tool_choice"))
        options.parameters.update(self._format_options(options.keywords.get("response_format")))
        options.stop = self._with_turn_ends(options.stop, turn_ends)
        if self.split_reasoning and options.parameters.get("return_full_text"):
            raise ConfigurationError(
                "split_reasoning looks at the start of an answer, and return_full_text puts the prompt there: set one.",
                provider=self._provider.name,
            )
        return self._prompt_request_of(prompt, options), options.timeout

    def _with_turn_ends(self, stops: list[str], ends: Sequence[str]) -> list[str]:
        """Add stop texts to the user's, up to the API's limit."""
        room = None if self._most_stops is None else max(self._most_stops, len(stops))
        return [*stops, *(end for end in ends if end not in stops)][:room]

    def _format_options(self, response_format: Any) -> dict[str, Any]:
        wanted = read_response_format(response_format, pydantic_format)
        if wanted is None or wanted.kind == "text":
            return {}
        if wanted.kind != "json_schema" or wanted.schema is None:
            raise ConfigurationError(
                "response_format must be of type json_schema: completion APIs have no JSON mode.",
                provider=self._provider.name,
            )
        return self._schema_options(wanted.schema)

    # ------------------------------------------------------------------ structured output

    def _subject(self, prompt: BasePromptTemplate, kwargs: dict[str, Any], prompt_args: Mapping[str, Any]) -> Any:
        return self._written(prompt, prompt_args, kwargs.pop("data_role", None) or self.data_role)


def _of_the_user(function: Any) -> Callable[[Any], Any] | None:
    """Return a function of the user; ``None`` for core's default."""
    return None if function in _CORE_FORMATS else function
