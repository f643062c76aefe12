"""Settings of the chat classes for DataCrunch (Verda) and any TGI, vLLM or SGLang server."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from linkspan.errors import ConfigurationError
from linkspan.fields import sent_if_set
from linkspan.options import ChatSettings
from linkspan.providers.datacrunch import DATACRUNCH, DataCrunchChatCodec, OpenAIChatCodec, TGICodec, grammar_of
from linkspan.providers.datacrunch.parameter_apis import API  # noqa: TC001  # pydantic reads the annotations at run time
from linkspan.providers.datacrunch.provider import is_gateway, is_legacy
from linkspan.providers.filters.thinking import ThinkTagCodec
from linkspan.providers.likely_tokens import CHAT_LIKELY_TOKENS, TGI_CHAT_LIKELY_TOKENS, TGI_LIKELY_TOKENS
from linkspan.providers.templated_chat import TemplatedChatCodec
from linkspan.settings.datacrunch import DataCrunchSettings, SharedParameters
from linkspan.settings.templated import TemplateSettings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from linkspan.conversation import ChatRequest
    from linkspan.providers.codec import Codec
    from linkspan.providers.likely_tokens import LikelyTokens

__all__ = ["DataCrunchChatSettings"]

#: Most stop texts that every TGI server accepts.
_MOST_STOPS = 4
_LIKELY_TOKENS: Mapping[API, LikelyTokens] = {
    "openai": CHAT_LIKELY_TOKENS,
    "messages": TGI_CHAT_LIKELY_TOKENS,
    "generate": TGI_LIKELY_TOKENS,
}


class DataCrunchChatSettings(DataCrunchSettings, TemplateSettings, SharedParameters, ChatSettings):
    """A chat model of a TGI, vLLM or SGLang server."""

    parameter_fields: ClassVar[tuple[str, ...]] = (
        *ChatSettings.parameter_fields,
        *SharedParameters.model_fields,
        "reasoning_effort",
    )
    connection_fields: ClassVar[frozenset[str]] = frozenset({"short_tool_call_ids"})

    api: API | None = Field(
        default=None,
        description="API to call: `openai`, Chat Completions of vLLM and SGLang; `messages`, TGI's chat route, on "
        "containers only; or `generate`, TGI's prompt API with a chat template. Default: `generate` with "
        "a `chat_template` and on the legacy endpoint, `openai` on Verda's gateway, else `messages`.",
    )
    reasoning_effort: str | None = sent_if_set('How much a reasoning model reasons; `api="openai"` only.')
    short_tool_call_ids: bool = Field(
        default=False,
        description="Send tool call ids as nine letters and digits, which Mistral's chat templates require; "
        "`api=\"openai\"` only. Needed if neither the model's name nor the server's list shows that the "
        "model is Mistral's.",
    )

    def _api(self) -> API:
        if self.api is not None:
            return self.api
        url = DATACRUNCH.resolve_base_url(self.base_url).rstrip("/")
        if is_gateway(url):
            return "openai"
        return "generate" if is_legacy(url) or self.chat_template is not None else "messages"

    @property
    def _writes_prompts(self) -> bool:
        """Whether a chat template turns conversations into prompts."""
        return self._api() == "generate"

    def _likely_token_options(self) -> LikelyTokens:
        return _LIKELY_TOKENS[self._api()]

    def _create_codec(self) -> Codec[ChatRequest]:
        api = self._api()
        if api == "generate":
            return self._templated_codec()
        if self.chat_template is not None:
            raise ConfigurationError(
                f'chat_template is for api="generate": with "{api}" the server writes the prompt itself.',
                provider=DATACRUNCH.name,
            )
        codec: Codec[ChatRequest] = (
            OpenAIChatCodec(short_call_ids=self.short_tool_call_ids) if api == "openai" else DataCrunchChatCodec()
        )
        return ThinkTagCodec(codec) if self.split_reasoning else codec

    def _templated_codec(self) -> Codec[ChatRequest]:
        other_apis = '; or api="messages" (TGI) or "openai" (vLLM, SGLang) on a container'
        return TemplatedChatCodec(
            TGICodec(),
            self._required_template(self.model, "TGI's generate", other_apis),
            title=DATACRUNCH.title,
            split_reasoning=self.split_reasoning,
            structured=lambda wanted: {"grammar": grammar_of(wanted)},
            max_stops=_MOST_STOPS,
        )
