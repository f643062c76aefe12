"""The APIs as the commands name them, and how each is reached without a framework."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from linkspan.endpoint import connect
from linkspan.errors import ConfigurationError
from linkspan.providers.datacrunch import DATACRUNCH, check_model, datacrunch_base_url
from linkspan.providers.datacrunch.chat import DataCrunchChatCodec
from linkspan.providers.gray_swan import GRAY_SWAN, GraySwanChatCodec, gray_swan_base_url
from linkspan.providers.llm_engine import LLM_ENGINE
from linkspan.providers.llm_engine.chat import LLMEngineChatCodec
from linkspan.providers.scaleway import SCALEWAY, ScalewayChatCodec, scaleway_base_url

if TYPE_CHECKING:
    from linkspan.conversation import ChatRequest
    from linkspan.endpoint import Endpoint
    from linkspan.providers.codec import Codec
    from linkspan.providers.provider import Provider

__all__ = ["PROVIDERS", "Address", "ProviderName", "chat_endpoint"]


class ProviderName(str, enum.Enum):
    """An API's name on the command line."""

    SCALEWAY = "scaleway"
    GRAY_SWAN = "gray-swan"
    LLM_ENGINE = "llm-engine"
    DATACRUNCH = "datacrunch"


PROVIDERS: dict[ProviderName, Provider] = {
    ProviderName.SCALEWAY: SCALEWAY,
    ProviderName.GRAY_SWAN: GRAY_SWAN,
    ProviderName.LLM_ENGINE: LLM_ENGINE,
    ProviderName.DATACRUNCH: DATACRUNCH,
}


@dataclass(frozen=True)
class Address:
    """What the user says about where an API is and how it is spoken to.

    Attributes:
        base_url: The API's address; ``None`` for the environment's, then the public service.
        project_id: Scaleway's project.
        timeout: Seconds of silence allowed; ``None`` for the API's default.
        max_retries: How often a failed attempt is repeated.
    """

    base_url: str | None = None
    project_id: str | None = None
    timeout: float | None = None
    max_retries: int = 2


def chat_endpoint(name: ProviderName, model: str | None, address: Address) -> Endpoint[ChatRequest]:
    """Return an endpoint that chats.

    Raises:
        ConfigurationError: The key or the address is missing or wrong.
    """
    provider = PROVIDERS[name]
    codec, base_url = _codec_and_url(name, model, address)
    return connect(
        codec,
        provider,
        api_key=provider.resolve_api_key(None),
        base_url=base_url,
        timeout=address.timeout,
        max_retries=address.max_retries,
    )


def _codec_and_url(name: ProviderName, model: str | None, address: Address) -> tuple[Codec[Any], str]:
    if address.project_id and name is not ProviderName.SCALEWAY:
        raise ConfigurationError("--project-id is Scaleway's; other APIs have no projects.")
    if name is ProviderName.SCALEWAY:
        return ScalewayChatCodec(), scaleway_base_url(address.base_url, address.project_id)
    if name is ProviderName.GRAY_SWAN:
        return GraySwanChatCodec(), gray_swan_base_url(address.base_url)
    if name is ProviderName.LLM_ENGINE:
        return LLMEngineChatCodec("basic"), LLM_ENGINE.resolve_base_url(address.base_url)
    base_url = datacrunch_base_url(address.base_url)
    check_model(model, base_url)
    return DataCrunchChatCodec(), datacrunch_base_url(address.base_url, api="messages")
