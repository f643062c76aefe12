"""DataCrunch (now Verda): its address, its keys, and the addresses under which a TGI server is reached.

Source: docs/apis/datacrunch.md#addresses-and-keys.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from linkspan.errors import ConfigurationError
from linkspan.providers.provider import Provider

if TYPE_CHECKING:
    from linkspan.providers.datacrunch.parameter_apis import API

__all__ = ["DATACRUNCH", "check_model", "container_name", "datacrunch_base_url", "is_gateway", "is_legacy"]

#: Verda's gateway of served models: Chat Completions, and no TGI.
_GATEWAY = "inference.verda.com"
#: The cloud API, which manages machines and deployments: it serves no model, and no inference key belongs there.
_CLOUD_APIS = frozenset({"api.verda.com", "api.datacrunch.io"})

DATACRUNCH = Provider(
    name="datacrunch",
    title="DataCrunch (Verda)",
    api_key_env=("DATACRUNCH_API_KEY", "VERDA_INFERENCE_KEY", "VERDA_API_KEY"),
    base_url_env=("DATACRUNCH_BASE_URL", "VERDA_BASE_URL"),
    default_base_url="https://inference.datacrunch.io/v1/completions",
    # A container without a running replica starts one first; the provider's own client waits as long.
    default_timeout=300.0,
    keyed_hosts=(_GATEWAY,),
)

_ROUTES = ("/generate", "/generate_stream")
_OPENAI_ROUTES = ("/v1/chat/completions", "/v1/completions", "/v1/models", "/v1")


def datacrunch_base_url(base_url: str | None, *, api: API = "generate") -> str:
    """Return the base URL: the argument, ``DATACRUNCH_BASE_URL``, ``VERDA_BASE_URL``, or the legacy public one.

    A URL that names the route itself, as the documentation's curl calls do (``.../generate``, ``.../generate_stream``;
    for the other APIs also ``.../v1``, ``.../v1/chat/completions`` and ``.../v1/completions``), is cut back to its
    base.

    Args:
        base_url: ``https://containers.datacrunch.io/<deployment>``, the gateway, the root of a server of one's own, or
            ``None``.
        api: ``"generate"`` for TGI's own schema, ``"messages"`` for its chat route, ``"openai"`` for vLLM and SGLang.

    Raises:
        ConfigurationError: It is the cloud API's address; or the legacy one, or the gateway, and the API is not found
            there.
    """
    url = DATACRUNCH.resolve_base_url(base_url).rstrip("/")
    _refuse_cloud_api(url, base_url)
    if api != "openai" and is_gateway(url):
        raise ConfigurationError(
            f'{url} is Verda\'s gateway, which has Chat Completions and no TGI: choose api="openai", not {api!r}.',
            provider=DATACRUNCH.name,
        )
    for route in _ROUTES if api == "generate" else (*_OPENAI_ROUTES, *_ROUTES):
        if url.endswith(route) and not is_legacy(url.removesuffix(route)):
            return url.removesuffix(route)
    if is_legacy(url):
        if api != "generate":
            raise ConfigurationError(
                f'{url} has no chat route but generate: api="{api}" is found on containers only. Give base_url '
                f'(https://containers.datacrunch.io/<deployment>), or leave api="{api}" out for TGI\'s generate, which '
                "chats through a template.",
                provider=DATACRUNCH.name,
            )
        return next((url.removesuffix(route) for route in _ROUTES if url.endswith(route)), url)
    return url


def check_model(model: str | None, base_url: str) -> None:
    """Refuse a call of the legacy address without a model: there the body must name it.

    Raises:
        ConfigurationError: There is no model, and the base URL is the legacy one.
    """
    if not model and is_legacy(base_url):
        raise ConfigurationError(
            f"{base_url} serves several models: give model. (A container or a TGI server of your own needs none: "
            "then give its base_url.)",
            provider=DATACRUNCH.name,
        )


def container_name(base_url: str) -> str:
    """Return what the model of a server is called where the user names none: the last part of its address's path.

    A server at the root of its address, or whose path says the version of the API, is ``"tgi"``.
    """
    last = urlsplit(base_url).path.rstrip("/").rpartition("/")[2]
    return "tgi" if last in {"", "v1"} else last


def is_legacy(url: str) -> bool:
    """Whether an address is that of the legacy public service."""
    return urlsplit(url).netloc.lower() == urlsplit(DATACRUNCH.default_base_url or "").netloc


def is_gateway(url: str) -> bool:
    """Whether an address is that of Verda's gateway, which speaks Chat Completions alone."""
    return _host(url) == _GATEWAY


def _refuse_cloud_api(url: str, given: str | None) -> None:
    """Refuse the address of the cloud API, so that no key goes there.

    Raises:
        ConfigurationError: It is that address. Other tools mean it by ``VERDA_BASE_URL``.
    """
    if _host(url) in _CLOUD_APIS:
        source = "base_url" if (given or "").strip() else f"the environment ({' or '.join(DATACRUNCH.base_url_env)})"
        raise ConfigurationError(
            f"{_host(url)}, from {source}, is the cloud API: it manages deployments and serves no model. Give base_url="
            '"https://containers.datacrunch.io/<deployment>", or "https://inference.verda.com/v1" with api="openai".',
            provider=DATACRUNCH.name,
        )


def _host(url: str) -> str:
    # Also of what is no URL: check_base_url says what is wrong with it.
    return url.split("//", 1)[-1].split("/", 1)[0].rpartition("@")[2].partition(":")[0].lower()
