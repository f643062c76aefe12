"""Settings of Scale LLM Engine's chat classes, which can use the prompt API with a chat template."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from linkspan.errors import ConfigurationError, UnsupportedContentError
from linkspan.providers.filters.forced_call import ForcedCallCodec
from linkspan.providers.filters.thinking import ThinkTagCodec
from linkspan.providers.likely_tokens import CHAT_LIKELY_TOKENS, LikelyTokens
from linkspan.providers.llm_engine import LLM_ENGINE, LLMEngineChatCodec, LLMEnginePromptCodec
from linkspan.providers.llm_engine.prompt_fields import schema_refusal
from linkspan.providers.templated_chat import TemplatedChatCodec
from linkspan.settings.llm_engine import LLMEngineChatParameters, LLMEngineSettings
from linkspan.settings.templated import TemplateSettings

if TYPE_CHECKING:
    from linkspan.conversation import ChatRequest, ResponseFormat
    from linkspan.providers.codec import Codec

__all__ = ["LLMEngineChatSettings"]


class LLMEngineChatSettings(LLMEngineSettings, TemplateSettings, LLMEngineChatParameters):
    """A chat model of LLM Engine."""

    connection_fields: ClassVar[frozenset[str]] = frozenset({"api"})

    api: Literal["v1", "v2"] = Field(
        default="v2",
        description="API to call: `v2`, the chat API; or `v1`, the prompt API with a chat template, for inference "
        "frameworks without chat.",
    )

    @property
    def _writes_prompts(self) -> bool:
        """Whether a chat template turns conversations into prompts."""
        return self.api == "v1"

    def _create_codec(self) -> Codec[ChatRequest]:
        if self.api == "v1":
            return self._templated_codec()
        if self.chat_template is not None:
            raise ConfigurationError(
                'chat_template is for api="v1": on "v2" the server writes the prompt itself. (To make the server use '
                "another template, pass it in extra_body.)",
                provider=LLM_ENGINE.name,
            )
        codec: Codec[ChatRequest] = LLMEngineChatCodec(self.auth, guided_decoding=self.guided_decoding)
        if self.split_reasoning:
            codec = ThinkTagCodec(codec)
        return codec if self.guided_decoding else ForcedCallCodec(codec, LLM_ENGINE.title)

    def _templated_codec(self) -> Codec[ChatRequest]:
        return TemplatedChatCodec(
            LLMEnginePromptCodec(
                self.auth, inference_framework=self.inference_framework, guided_decoding=self.guided_decoding
            ),
            self._required_template(self.model, 'api="v1"'),
            title=LLM_ENGINE.title,
            split_reasoning=self.split_reasoning,
            structured=partial(_guide, obeyed=self.guided_decoding),
        )

    def _choice_options(self, choices: list[str]) -> dict[str, Any]:
        """Return the parameters that restrict an answer to one of these texts."""
        if self.guided_decoding:
            return {"guided_choice": choices}
        schema = {"type": "string", "enum": choices}
        return {"response_format": {"type": "json_schema", "json_schema": {"name": "choice", "schema": schema}}}

    def _likely_token_options(self) -> LikelyTokens:
        # v1 returns the probabilities of the chosen tokens only.
        return CHAT_LIKELY_TOKENS if self.api == "v2" else super()._likely_token_options()


def _guide(wanted: ResponseFormat, *, obeyed: bool) -> dict[str, Any]:
    if wanted.schema is None:
        raise UnsupportedContentError(
            f"{LLM_ENGINE.title}: the prompt API (v1) cannot return a JSON object without a schema. Add one, or ask "
            f"for JSON in the prompt.",
            provider=LLM_ENGINE.name,
        )
    if not obeyed:
        raise schema_refusal()
    return {"guided_json": dict(wanted.schema)}
