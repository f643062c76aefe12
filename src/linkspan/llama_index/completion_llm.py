"""The base of the LLM classes whose API takes a prompt: conversations are written out by a chat template."""

from __future__ import annotations

from collections.abc import Mapping, Sequence  # noqa: TC003  # pydantic reads the annotations at run time
from typing import TYPE_CHECKING, Any, cast

from llama_index.core.base.llms.generic_utils import messages_to_prompt as core_messages_to_prompt
from llama_index.core.base.llms.types import LLMMetadata
from llama_index.core.constants import DEFAULT_NUM_OUTPUTS
from llama_index.core.llms.llm import default_completion_to_prompt as core_completion_to_prompt
from pydantic import Field

from linkspan.conversation import PromptRequest
from linkspan.errors import ConfigurationError, UnsupportedContentError
from linkspan.llama_index.language_model import given, response_format_from
from linkspan.llama_index.prompt_format import ConversationFormat, QuestionFormat, carry_data
from linkspan.llama_index.structured import NativeStructuredOutput
from linkspan.prompts import ChatTemplate, find_template

if TYPE_CHECKING:
    from llama_index.core.base.llms.types import ChatMessage

__all__ = ["CompletionLLM"]

#: Context window in tokens assumed where the user says none: what prompt servers have by default. Core cuts retrieved
#: text to it; too small a window costs calls, too large a one an error of the server's.
DEFAULT_CONTEXT_WINDOW = 4096

#: Settings that the texts of conversations depend on.
_FORMAT_FIELDS = frozenset({"chat_template", "data_role", "model"})


class CompletionLLM(NativeStructuredOutput):
    """A completion model behind an HTTP API. See :class:`LinkspanLLM` for what a subclass states.

    Conversations are written out as one text: by ``messages_to_prompt`` if it is given, else by ``chat_template``, else
    by the template that the model's name suggests, else as plain lines (``user: …``). A ``chat_template`` that is given
    also makes the text of ``complete`` a user's turn; a ``completion_to_prompt`` beats it. Each is applied once: a text
    that LlamaIndex has formatted already (``formatted=True``) is sent as it is.
    """

    chat_template: ChatTemplate | str | None = Field(
        default=None, description="How conversations are written: a template's name, Jinja text, or a ChatTemplate."
    )

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self._set_formats()

    # ------------------------------------------------------------------ what each class states

    def _structured_options(self, schema: Mapping[str, Any]) -> dict[str, Any]:
        """Return the parameters that hold an answer to a JSON schema."""
        raise NotImplementedError

    # ------------------------------------------------------------------ how texts are written

    def _template(self) -> ChatTemplate | None:
        return find_template(self.chat_template, self.model)

    def _set_formats(self) -> None:
        """Put linkspan's own formats where the user gave none."""
        template = self._template()
        if self.messages_to_prompt is core_messages_to_prompt or isinstance(
            self.messages_to_prompt, ConversationFormat
        ):
            self.messages_to_prompt = ConversationFormat(template, self._provider.name, self.data_role)
        if self.completion_to_prompt is core_completion_to_prompt or isinstance(
            self.completion_to_prompt, QuestionFormat
        ):
            wraps = template is not None and self.chat_template is not None
            self.completion_to_prompt = cast(
                "Any", QuestionFormat(cast("ChatTemplate", template)) if wraps else core_completion_to_prompt
            )

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name in _FORMAT_FIELDS:
            self._set_formats()

    # ------------------------------------------------------------------ what is known of the model

    @property
    def metadata(self) -> LLMMetadata:
        """Facts for LlamaIndex, without the network. The context window is 4096 tokens unless it is given."""
        return LLMMetadata(
            context_window=self.context_window or DEFAULT_CONTEXT_WINDOW,
            num_output=self.max_tokens or DEFAULT_NUM_OUTPUTS,
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
        call = self._call_settings(kwargs)
        data_role = given(call.pop("data_role", None), self.data_role)
        own = cast("Any", self.messages_to_prompt)
        if isinstance(own, ConversationFormat):
            template = own.template
            prompt = ConversationFormat(template, own.provider, data_role)(messages)
        else:
            template = None
            prompt = own(carry_data(messages, provider=self._provider.name, data_role=data_role))
        return self._request(prompt, call, template)

    def _prompt_request(
        self, prompt: str, formatted: bool, kwargs: Mapping[str, Any]
    ) -> tuple[PromptRequest, float | None]:
        call = self._call_settings(kwargs)
        call.pop("data_role", None)
        template = self._template() if self.chat_template is not None else None
        written = prompt if formatted else cast("Any", self.completion_to_prompt)(prompt)
        return self._request(written, call, template)

    def _request(
        self, prompt: str, call: dict[str, Any], template: ChatTemplate | None
    ) -> tuple[PromptRequest, float | None]:
        for name in ("tools", "tool_choice"):
            if call.pop(name, None):
                raise UnsupportedContentError(
                    f"{type(self).__name__} takes a prompt and has no {name}: use the chat class of this API.",
                    provider=self._provider.name,
                )
        timeout = call.pop("timeout", None)
        stops = self._stops(call)
        stops += [stop for stop in (template.stop if template is not None else ()) if stop not in stops]
        request = PromptRequest(
            model=call.pop("model", None) or self.model or None,
            prompt=prompt,
            stop=stops,
            extra_body=self._extra_body(call),
        )
        shape = self._format_options(call.pop("response_format", None))
        request.parameters = self._parameters({**call, **shape})
        return request, timeout

    def _format_options(self, response_format: Any) -> dict[str, Any]:
        wanted = response_format_from(response_format)
        if wanted is None or wanted.kind == "text":
            return {}
        if wanted.kind != "json_schema" or wanted.schema is None:
            raise ConfigurationError(
                "a completion model is held to a JSON schema or not at all: response_format must be of type "
                "json_schema.",
                provider=self._provider.name,
            )
        return self._structured_options(wanted.schema)
