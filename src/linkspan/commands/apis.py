"""The APIs by their command-line names, and their endpoints without a framework."""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, get_args

from linkspan.errors import ConfigurationError
from linkspan.providers.datacrunch import DATACRUNCH
from linkspan.providers.datacrunch.parameter_apis import API
from linkspan.providers.gray_swan import GRAY_SWAN
from linkspan.providers.llm_engine import LLM_ENGINE
from linkspan.providers.scaleway import SCALEWAY, ScalewayAPI
from linkspan.settings.datacrunch_chat import DataCrunchChatSettings
from linkspan.settings.gray_swan import GraySwanSettings
from linkspan.settings.llm_engine_chat import LLMEngineChatSettings
from linkspan.settings.scaleway import ScalewayChatSettings

if TYPE_CHECKING:
    from linkspan.connection import Connected
    from linkspan.conversation import ChatRequest
    from linkspan.endpoint import Endpoint
    from linkspan.providers.provider import Provider

__all__ = [
    "PROVIDERS",
    "Address",
    "ProviderName",
    "chat_endpoint",
    "chat_settings",
    "check_options",
    "endpoint_of",
    "in_flags",
]


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
_SETTINGS: dict[ProviderName, type[Connected]] = {
    ProviderName.SCALEWAY: ScalewayChatSettings,
    ProviderName.GRAY_SWAN: GraySwanSettings,
    ProviderName.LLM_ENGINE: LLMEngineChatSettings,
    ProviderName.DATACRUNCH: DataCrunchChatSettings,
}
#: Values of ``--api``. Gray Swan has one API.
_APIS: dict[ProviderName, tuple[str, ...]] = {
    ProviderName.SCALEWAY: get_args(ScalewayAPI),
    ProviderName.LLM_ENGINE: ("v1", "v2"),
    ProviderName.DATACRUNCH: get_args(API),
}
#: APIs without a default model.
_NEED_A_MODEL = frozenset({ProviderName.SCALEWAY, ProviderName.LLM_ENGINE})

#: Replaces the Python arguments that errors name by command-line flags.
_FLAGS = (
    (re.compile(r"\b(?:give|pass|set) api_key(?:=\S+)?,? or "), ""),
    (re.compile(r"\bapi_key\b"), "the key"),
    (re.compile(r"\b()(base_url|project_id|max_tokens)(=|\b)"), lambda found: _flag(*found.groups())),
    (re.compile(r"\b((?:give|choose|set|pass) )(model|api)(=|\b)"), lambda found: _flag(*found.groups())),
    (re.compile(r"\bapi=(?=\")"), "--api "),
    # The commands have no flags for these.
    (
        re.compile(r"\b(set|pass|raise|Raise) (?=(?:chat_template|allow_insecure_http|max_response_bytes|timeout)\b)"),
        lambda found: f"{'In' if found[1].istitle() else 'in'} Python {found[1].lower()} ",
    ),
)


@dataclass(frozen=True)
class Address:
    """The user's connection options for an API.

    Attributes:
        base_url: The base URL; ``None`` for the environment variable, then the public service.
        project_id: Scaleway's project.
        api: The API's dialect, as in the classes' ``api``.
        timeout: Seconds of silence allowed; ``None`` for the API's default.
        max_retries: Retries after a failed attempt.
    """

    base_url: str | None = None
    project_id: str | None = None
    api: str | None = None
    timeout: float | None = None
    max_retries: int = 2


def check_options(name: ProviderName, model: str | None, address: Address) -> None:
    """Refuse a command line that does not suit the API.

    Raises:
        ConfigurationError: An option, or its value, is for other APIs, or the model is missing.
    """
    if address.project_id and name is not ProviderName.SCALEWAY:
        raise ConfigurationError("--project-id is only for Scaleway: other APIs have no projects.")
    if address.api is not None and name not in _APIS:
        raise ConfigurationError(f"--api is not for {PROVIDERS[name].title}, which has one API.")
    if address.api is not None and address.api not in _APIS[name]:
        known = " or ".join(_APIS[name])
        raise ConfigurationError(f"--api must be {known} for {PROVIDERS[name].title}, not {address.api!r}.")
    if model is None and name in _NEED_A_MODEL:
        raise ConfigurationError(f"Choose a model with --model; `linkspan models {name.value}` lists them.")


def chat_settings(name: ProviderName, model: str | None, address: Address) -> Connected:
    """Return the chat settings of an API.

    Raises:
        ConfigurationError: The key or the address is missing or wrong.
    """
    given: dict[str, Any] = {"model": model, "base_url": address.base_url, "timeout": address.timeout}
    special = {"project_id": address.project_id, "api": address.api}
    given |= {key: value for key, value in special.items() if value is not None}
    return _SETTINGS[name](**given, max_retries=address.max_retries)


def chat_endpoint(name: ProviderName, model: str | None, address: Address) -> Endpoint[ChatRequest]:
    """Return the chat endpoint of an API.

    Raises:
        ConfigurationError: The key or the address is missing or wrong.
    """
    return endpoint_of(chat_settings(name, model, address))


def endpoint_of(settings: Connected) -> Endpoint[ChatRequest]:
    """Return the endpoint of an API's settings, without a framework's class."""
    return settings._endpoint()  # noqa: SLF001  # frameworks' classes derive from the settings; a command has none


def in_flags(text: str) -> str:
    """Return an error's text with flags and environment variables instead of Python's arguments."""
    for pattern, replacement in _FLAGS:
        text = pattern.sub(replacement, text)
    return text


def _flag(before: str, name: str, equals: str) -> str:
    return f"{before}--{name.replace('_', '-')}{' ' if equals else ''}"
