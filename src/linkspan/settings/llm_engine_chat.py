"""Settings of Scale LLM Engine's chat classes, which can use the prompt API with a chat template."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from linkspan.providers.likely_tokens import CHAT_LIKELY_TOKENS, LikelyTokens
from linkspan.providers.llm_engine.chat_apis import ChatAPI, chat_codec
from linkspan.settings.llm_engine import LLMEngineChatParameters, LLMEngineSettings
from linkspan.settings.templated import TemplateSettings

if TYPE_CHECKING:
    from linkspan.providers.codec import Codec

__all__ = ["LLMEngineChatSettings"]


class LLMEngineChatSettings(LLMEngineSettings, TemplateSettings, LLMEngineChatParameters):
    """A chat model of LLM Engine."""

    connection_fields: ClassVar[frozenset[str]] = frozenset({"api"})

    api: ChatAPI = Field(
        default="v2",
        description="API to call: `v2`, the chat API; or `v1`, the prompt API with a chat template, for inference "
        "frameworks without chat.",
    )

    @property
    def _writes_prompts(self) -> bool:
        """Whether a chat template turns conversations into prompts."""
        return self.api == "v1"

    def _create_codec(self) -> Codec[Any]:
        return chat_codec(
            api=self.api,
            auth=self.auth,
            model=self.model,
            chat_template=self.chat_template,
            split_reasoning=self.split_reasoning,
            inference_framework=self.inference_framework,
            guided_decoding=self.guided_decoding,
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
