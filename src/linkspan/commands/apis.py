"""The APIs as the commands name them, and how each is reached without a framework."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from linkspan.endpoint import connect
from linkspan.errors import ConfigurationError
from linkspan.providers.catalog import models as catalogue
from linkspan.providers.datacrunch import DATACRUNCH, check_model, datacrunch_base_url
from linkspan.providers.datacrunch import chat_apis as datacrunch_chat
from linkspan.providers.datacrunch.provider import is_legacy
from linkspan.providers.gray_swan import DEFAULT_MODEL, GRAY_SWAN, GraySwanChatCodec, gray_swan_base_url
from linkspan.providers.llm_engine import LLM_ENGINE
from linkspan.providers.llm_engine import chat_apis as llm_engine_chat
from linkspan.providers.scaleway import SCALEWAY, ScalewayChatCodec, scaleway_base_url

if TYPE_CHECKING:
    from linkspan.conversation import ChatRequest
    from linkspan.endpoint import Endpoint
    from linkspan.providers.codec import Codec
    from linkspan.providers.provider import Provider

__all__ = ["PROVIDERS", "Address", "ProviderName", "chat_endpoint", "model_or_default"]


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
        template: Name of a chat template: chat then goes through the API for prompts.
        timeout: Seconds of silence allowed; ``None`` for the API's default.
        max_retries: How often a failed attempt is repeated.
    """

    base_url: str | None = None
    project_id: str | None = None
    template: str | None = None
    timeout: float | None = None
    max_retries: int = 2


def model_or_default(name: ProviderName, model: str | None) -> str | None:
    """Return the model to ask, ``None`` where the server has only one.

    Raises:
        ConfigurationError: The API needs one, and there is none.
    """
    if model:
        return model
    if name is ProviderName.GRAY_SWAN:
        return DEFAULT_MODEL
    if name is ProviderName.DATACRUNCH:
        return None
    known = [info.id for info in catalogue(PROVIDERS[name].name).values() if info.kind == "chat"]
    served = [one for one in known if catalogue(PROVIDERS[name].name)[one].status in {"active", "preview"}]
    hint = f" Known are {', '.join(sorted(served))}." if served else f" `linkspan models {name.value}` lists them."
    raise ConfigurationError(f"{PROVIDERS[name].title} needs a model: give --model.{hint}")


def chat_endpoint(name: ProviderName, model: str | None, address: Address) -> Endpoint[ChatRequest]:
    """Return an endpoint that chats.

    Raises:
        ConfigurationError: The key, the address or the template is missing or wrong.
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
    if address.template and name in {ProviderName.SCALEWAY, ProviderName.GRAY_SWAN}:
        raise ConfigurationError(f"--template is for APIs that take prompts; {PROVIDERS[name].title} chats by itself.")
    if name is ProviderName.SCALEWAY:
        return ScalewayChatCodec(), scaleway_base_url(address.base_url, address.project_id)
    if name is ProviderName.GRAY_SWAN:
        return GraySwanChatCodec(), gray_swan_base_url(address.base_url)
    if name is ProviderName.LLM_ENGINE:
        codec = llm_engine_chat.chat_codec(
            api="v1" if address.template else "v2",
            auth="basic",
            model=model,
            chat_template=address.template,
            split_reasoning=True,
        )
        return codec, LLM_ENGINE.resolve_base_url(address.base_url)
    return _datacrunch(model, address)


def _datacrunch(model: str | None, address: Address) -> tuple[Codec[Any], str]:
    """TGI's own chat route where there is one, and no template is given: the legacy address has none."""
    base_url = datacrunch_base_url(address.base_url)
    by_template = address.template is not None or is_legacy(base_url)
    check_model(model, base_url)
    codec = datacrunch_chat.chat_codec(
        api="generate" if by_template else "messages",
        model=model,
        chat_template=address.template,
        split_reasoning=True,
    )
    return codec, base_url if by_template else datacrunch_base_url(address.base_url, api="messages")
