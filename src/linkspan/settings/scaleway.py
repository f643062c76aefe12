"""Settings of the classes for Scaleway Generative APIs."""

from __future__ import annotations

from collections.abc import Mapping  # noqa: TC003  # pydantic reads the annotations at run time
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from linkspan.connection import Connected
from linkspan.errors import ConfigurationError
from linkspan.fields import sent_if_set
from linkspan.options import ChatSettings, ModelName
from linkspan.providers.likely_tokens import CHAT_LIKELY_TOKENS, LikelyTokens
from linkspan.providers.responses import refused_parameter
from linkspan.providers.scaleway import (
    SCALEWAY,
    ScalewayAPI,  # pydantic reads the annotations at run time
    ScalewayChatCodec,
    chat_codec,
    scaleway_base_url,
)
from linkspan.settings.listing import ListsModels

if TYPE_CHECKING:
    from linkspan.providers.catalog import ModelInfo
    from linkspan.providers.codec import Codec
    from linkspan.providers.provider import Provider

__all__ = ["ScalewayChatSettings", "ScalewaySettings"]


class ScalewaySettings(ListsModels, Connected):
    """A connection to Scaleway. Environment: ``SCW_SECRET_KEY``, ``SCALEWAY_API_KEY``; ``SCALEWAY_BASE_URL``."""

    _provider: ClassVar[Provider] = SCALEWAY
    argument_aliases: ClassVar[Mapping[str, str]] = {**Connected.argument_aliases, "model_name": "model"}
    connection_fields: ClassVar[frozenset[str]] = frozenset({"project_id"})

    project_id: str | None = Field(
        default=None,
        description="ID of the Scaleway project to bill. It is part of the URL, so it cannot be combined with "
        "`base_url`. Default: the key's project.",
    )

    def _resolved_base_url(self) -> str:
        return scaleway_base_url(self.base_url, self.project_id)

    def _create_codec(self) -> Codec[Any]:
        return ScalewayChatCodec()


class ScalewayChatSettings(ScalewaySettings, ChatSettings):
    """A chat model of Scaleway."""

    parameter_fields: ClassVar[tuple[str, ...]] = (
        *ChatSettings.parameter_fields,
        "presence_penalty",
        "frequency_penalty",
        "reasoning_effort",
    )
    connection_fields: ClassVar[frozenset[str]] = frozenset({"api"})

    api: ScalewayAPI | None = Field(
        default=None,
        description="API to call: `chat`, Chat Completions; or `responses`, the Responses API, without state on the "
        "server. Default: `chat`, except for calls with tools to a model that calls tools only over the "
        "Responses API (gpt-oss-120b).",
    )
    model: ModelName = Field(description="Name of the model; `model_name` is another name.")
    presence_penalty: float | None = sent_if_set("Penalty, -2.0 to 2.0, for tokens that already appeared.")
    frequency_penalty: float | None = Field(
        default=None,
        description="Penalty, -2.0 to 2.0, that grows with a token's count so far. Not sent unless set; models that "
        "do not support it refuse it.",
    )
    reasoning_effort: str | None = sent_if_set(
        'How much a reasoning model reasons. Values differ by model; "none" turns reasoning off if the model allows.'
    )

    def _check(self) -> None:
        if self.api == "responses":
            refused = refused_parameter(self._object_parameters())
            if refused is not None:
                raise ConfigurationError(f"{type(self).__name__}: {refused}", provider=SCALEWAY.name)
        super()._check()

    def _create_codec(self) -> Codec[Any]:
        return chat_codec(self.api)

    def _likely_token_options(self) -> LikelyTokens:
        # Scaleway's page of 2025 lists `top_logprobs` as unsupported; without it, answers cover the chosen tokens only.
        return super()._likely_token_options() if self.api == "responses" else CHAT_LIKELY_TOKENS

    def _calls_tools(self, info: ModelInfo | None) -> bool:
        if info is None:
            return True
        if self.api is None:
            return info.tools
        return info.calls_tools_over("responses" if self.api == "responses" else "chat/completions")
