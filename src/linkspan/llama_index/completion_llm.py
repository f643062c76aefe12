"""The base of the LLM classes whose API takes a prompt: conversations are written out by a chat template."""

from __future__ import annotations

import contextlib
import pickle
from collections.abc import Mapping, Sequence  # noqa: TC003  # pydantic reads the annotations at run time
from typing import TYPE_CHECKING, Any, ClassVar, cast

from llama_index.core.base.llms.generic_utils import messages_to_prompt as core_messages_to_prompt
from llama_index.core.base.llms.types import LLMMetadata
from llama_index.core.constants import DEFAULT_NUM_OUTPUTS
from llama_index.core.llms.llm import default_completion_to_prompt as core_completion_to_prompt
from llama_index.core.prompts.base import ChatPromptTemplate, SelectorPromptTemplate

from linkspan.errors import ConfigurationError, InvalidRequestError
from linkspan.llama_index.prompt_format import ConversationFormat, QuestionFormat, WrittenPrompt, carry_data
from linkspan.llama_index.responses import as_chat_response
from linkspan.llama_index.structured import NativeStructuredOutput
from linkspan.llama_index.tools import schema_format
from linkspan.options import ConversationSettings, read_response_format, refuse_chat_keywords
from linkspan.prompts import ChatTemplate, find_template
from linkspan.providers.think_tag_codec import ThinkTagCodec
from linkspan.settings.templated import TemplateSettings

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator

    from llama_index.core.base.llms.types import ChatMessage, ChatResponse, ChatResponseAsyncGen, ChatResponseGen
    from llama_index.core.prompts.base import BasePromptTemplate

    from linkspan.conversation import PromptRequest
    from linkspan.options import CallOptions
    from linkspan.providers.codec import Codec

__all__ = ["CompletionLLM"]

#: Context window in tokens assumed where the user says none: what prompt servers have by default. Core cuts retrieved
#: text to it; too small a window costs calls, too large a one an error of the server's.
DEFAULT_CONTEXT_WINDOW = 4096

#: A user's own functions for texts.
_FUNCTIONS = frozenset({"completion_to_prompt", "messages_to_prompt"})
#: Settings that the texts of conversations depend on.
_FORMAT_FIELDS = frozenset({"chat_template", "data_role", "model"})


class CompletionLLM(TemplateSettings, ConversationSettings, NativeStructuredOutput):
    """A completion model behind an HTTP API. See :class:`LinkspanLLM` for what a subclass states.

    Conversations are written out as one text: by ``messages_to_prompt`` if it is given, else by ``chat_template``, else
    by the template that the model's name suggests, else as plain lines (``user: …``). A ``chat_template`` that is given
    also makes the text of ``complete`` a user's turn; a ``completion_to_prompt`` beats it. Each is applied once: a text
    that LlamaIndex has formatted already (``formatted=True``) is sent as it is.

    ``predict``, ``structured_predict`` and what is built on them write a prompt of messages as a conversation and any
    other as ``complete`` does. ``system_prompt`` and an output parser's words become part of that conversation, inside
    the template. A ``messages_to_prompt`` of the user's gets all messages as they are, also such with images.
    """

    #: What the API is asked for where ``max_tokens`` is not set.
    _default_max_tokens: ClassVar[int] = DEFAULT_NUM_OUTPUTS
    #: How many stop texts the API takes.
    _most_stops: ClassVar[int | None] = None

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self._set_formats()

    # ------------------------------------------------------------------ what each class states

    if TYPE_CHECKING:

        def _prompt_codec(self) -> Codec[PromptRequest]: ...

        def _schema_options(self, schema: Mapping[str, Any]) -> dict[str, Any]: ...

    def _create_codec(self) -> Codec[PromptRequest]:
        return ThinkTagCodec(self._prompt_codec()) if self.split_reasoning else self._prompt_codec()

    # ------------------------------------------------------------------ how texts are written

    def _template(self) -> ChatTemplate | None:
        return find_template(self.chat_template, self.model)

    def _set_formats(self) -> None:
        """Put linkspan's own formats where the user gave none."""
        template = self._template()
        if self._is_ours(self.messages_to_prompt):
            self.__dict__["messages_to_prompt"] = ConversationFormat(template, self._provider.name, self.data_role)
        if self._is_ours(self.completion_to_prompt):
            wraps = template is not None and self.chat_template is not None
            own = QuestionFormat(cast("ChatTemplate", template)) if wraps else core_completion_to_prompt
            self.__dict__["completion_to_prompt"] = own

    @staticmethod
    def _is_ours(function: Any) -> bool:
        """Whether a format is none of the user's."""
        defaults = (None, core_messages_to_prompt, core_completion_to_prompt)
        return function in defaults or isinstance(function, (ConversationFormat, QuestionFormat))

    def _changed(self, update: Mapping[str, Any]) -> None:
        super()._changed(update)
        taken_back = any(value is None and name in _FUNCTIONS for name, value in update.items())
        if taken_back or update.keys() & _FORMAT_FIELDS:
            self._set_formats()

    def __getstate__(self) -> dict[str, Any]:
        state = super().__getstate__()
        for name in ("messages_to_prompt", "completion_to_prompt"):
            if name not in state["__dict__"]:
                # Left behind, it would change what is asked, without a word.
                raise pickle.PicklingError(
                    f"{name} cannot be pickled: define the function at the top of a module, or use chat_template."
                )
        return state

    def _conversation(self, messages: Sequence[ChatMessage], data_role: Any, model: str | None = None) -> str:
        """Write messages as one text."""
        if not messages:
            raise InvalidRequestError(
                "there are no messages to answer: give at least one", provider=self._provider.name
            )
        own = cast("Any", self.messages_to_prompt)
        if not isinstance(own, ConversationFormat):
            return str(own(carry_data(messages, provider=self._provider.name, data_role=data_role)))
        template = own.template if model is None else find_template(self.chat_template, model)
        return ConversationFormat(template, own.provider, data_role)(messages)

    def _question(self, text: str) -> str:
        """Write a text, with the system prompt, as what is asked."""
        own = cast("Any", self.completion_to_prompt)
        if isinstance(own, QuestionFormat):
            return own(text, self.system_prompt)
        written = str(own(text))
        return f"{self.system_prompt}\n\n{written}" if self.system_prompt else written

    def _written(self, prompt: BasePromptTemplate, prompt_args: Mapping[str, Any], data_role: Any) -> str:
        """Write a prompt template. Core puts system prompt and output parser around the chat template, not into it."""
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
        def write(prompt: BasePromptTemplate, prompt_args: dict[str, Any]) -> str:
            written = self._written(prompt, prompt_args, self.data_role)
            # Core passes it to ``complete``, which must know that nothing is to be put around it any more.
            return written if isinstance(written, WrittenPrompt) else WrittenPrompt(written, self._turn_ends())

        return write

    def _get_prompt(self, prompt: BasePromptTemplate, **prompt_args: Any) -> str:
        return self._written(prompt, prompt_args, self.data_role)

    # ------------------------------------------------------------------ what is known of the model

    @property
    def metadata(self) -> LLMMetadata:
        """Facts for LlamaIndex, without the network. The context window is 4096 tokens unless it is given."""
        return LLMMetadata(
            context_window=self.context_window or DEFAULT_CONTEXT_WINDOW,
            num_output=self._object_parameters().get("max_tokens") or self._default_max_tokens,
            is_chat_model=False,
            is_function_calling_model=False,
            model_name=self.model or self._provider.name,
        )

    def _supports_json_schema(self) -> bool:
        return True

    # ------------------------------------------------------------------ requests

    def _chat_request(
        self, messages: Sequence[ChatMessage], kwargs: Mapping[str, Any]
    ) -> tuple[PromptRequest, float | None]:
        options = self._call_options(kwargs)
        data_role = options.fields.get("data_role", self.data_role)
        model = options.model if options.model != self.model else None
        return self._request(self._conversation(messages, data_role, model), options)

    def _prompt_request(
        self, prompt: str, formatted: bool, kwargs: Mapping[str, Any]
    ) -> tuple[PromptRequest, float | None]:
        self._check_prompt(prompt)
        options = self._call_options(kwargs)
        written = (
            prompt if formatted or isinstance(prompt, WrittenPrompt) else cast("Any", self.completion_to_prompt)(prompt)
        )
        return self._request(written, options)

    def _request(self, prompt: str, options: CallOptions) -> tuple[PromptRequest, float | None]:
        refuse_chat_keywords(self, options.keywords, ("tools", "tool_choice"))
        options.parameters.update(self._format_options(options.keywords.get("response_format")))
        options.stop = self._with_turn_ends(options.stop, prompt)
        if self.split_reasoning and options.parameters.get("return_full_text"):
            raise ConfigurationError(
                "split_reasoning looks at the start of an answer, and return_full_text puts the prompt there: set one.",
                provider=self._provider.name,
            )
        return self._prompt_request_of(str(prompt), options), options.timeout

    def _with_turn_ends(self, stops: list[str], prompt: str) -> list[str]:
        """Add the texts that end a turn under the prompt's format, as many as the API takes beside the user's."""
        if isinstance(prompt, WrittenPrompt):
            ends: Sequence[str] = prompt.stop
        else:
            ends = self._turn_ends()
        room = None if self._most_stops is None else max(self._most_stops, len(stops))
        return [*stops, *(end for end in ends if end not in stops)][:room]

    def _turn_ends(self) -> tuple[str, ...]:
        template = self._template() if self.chat_template is not None else None
        return tuple(template.stop) if template is not None else ()

    def _format_options(self, response_format: Any) -> dict[str, Any]:
        wanted = read_response_format(response_format, schema_format)
        if wanted is None or wanted.kind == "text":
            return {}
        if wanted.kind != "json_schema" or wanted.schema is None:
            raise ConfigurationError(
                "a completion model is held to a JSON schema or not at all: response_format must be of type "
                "json_schema.",
                provider=self._provider.name,
            )
        return self._schema_options(wanted.schema)

    # ------------------------------------------------------------------ structured output

    def _subject(self, prompt: BasePromptTemplate, kwargs: dict[str, Any], prompt_args: Mapping[str, Any]) -> Any:
        return self._written(prompt, prompt_args, kwargs.pop("data_role", None) or self.data_role)

    def _ask(self, subject: Any, kwargs: Mapping[str, Any]) -> ChatResponse:
        return as_chat_response(self.complete(subject, True, **kwargs))

    async def _aask(self, subject: Any, kwargs: Mapping[str, Any]) -> ChatResponse:
        return as_chat_response(await self.acomplete(subject, True, **kwargs))

    def _ask_in_pieces(self, subject: Any, kwargs: Mapping[str, Any]) -> ChatResponseGen:
        def pieces() -> Generator[ChatResponse, None, None]:
            with contextlib.closing(self.stream_complete(subject, True, **kwargs)) as chunks:
                for chunk in chunks:
                    yield as_chat_response(chunk)

        return pieces()

    async def _aask_in_pieces(self, subject: Any, kwargs: Mapping[str, Any]) -> ChatResponseAsyncGen:
        stream = await self.astream_complete(subject, True, **kwargs)

        async def pieces() -> AsyncGenerator[ChatResponse, None]:
            async with contextlib.aclosing(stream) as chunks:
                async for chunk in chunks:
                    yield as_chat_response(chunk)

        return pieces()
