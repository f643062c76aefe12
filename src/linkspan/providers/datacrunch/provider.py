"""DataCrunch (now Verda): its keys, and the base URLs of its servers and of any TGI server.

Source: docs/apis/datacrunch.md#addresses-and-keys.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from linkspan.errors import ConfigurationError
from linkspan.providers.provider import Provider, host_of

if TYPE_CHECKING:
    from linkspan.providers.datacrunch.parameter_apis import API

__all__ = ["DATACRUNCH", "check_model", "container_name", "datacrunch_base_url", "is_gateway", "is_legacy"]

#: Verda's gateway of served models: Chat Completions only, without TGI's routes.
_GATEWAY = "inference.verda.com"
#: The cloud API, which manages machines and deployments. It serves no models and must not receive inference keys.
_CLOUD_APIS = frozenset({"api.verda.com", "api.datacrunch.io"})

DATACRUNCH = Provider(
    name="datacrunch",
    title="DataCrunch (Verda)",
    api_key_env=("DATACRUNCH_API_KEY", "VERDA_INFERENCE_KEY", "VERDA_API_KEY"),
    base_url_env=("DATACRUNCH_BASE_URL", "VERDA_BASE_URL"),
    default_base_url="https://inference.datacrunch.io/v1/completions",
    # A container without a running replica starts one first; the provider's own client waits this long.
    default_timeout=300.0,
    keyed_hosts=(_GATEWAY,),
)

_ROUTES = ("/generate", "/generate_stream")
_OPENAI_ROUTES = ("/v1/chat/completions", "/v1/completions", "/v1/models", "/v1")


def datacrunch_base_url(base_url: str | None, *, api: API = "generate") -> str:
    """Return the base URL: the argument, ``DATACRUNCH_BASE_URL``, ``VERDA_BASE_URL``, or the public legacy one.

    A route at the end of the URL is removed, as in the documentation's curl calls: ``.../generate``,
    ``.../generate_stream``; for the other APIs also ``.../v1``, ``.../v1/chat/completions`` and ``.../v1/completions``.

    Args:
        base_url: ``https://containers.datacrunch.io/<deployment>``, the gateway, the root of your own
            server, or ``None``.
        api: ``"generate"`` for TGI's own API, ``"messages"`` for its chat route, ``"openai"`` for vLLM and SGLang.

    Raises:
        ConfigurationError: It is the cloud API's URL, or the legacy service or the gateway without this API.
    """
    url = DATACRUNCH.resolve_base_url(base_url).rstrip("/")
    _refuse_cloud_api(url, base_url)
    if api != "openai" and is_gateway(url):
        raise ConfigurationError(
            f'{url} is Verda\'s gateway, which has only Chat Completions: choose api="openai", not {api!r}.',
            provider=DATACRUNCH.name,
        )
    for route in _ROUTES if api == "generate" else (*_OPENAI_ROUTES, *_ROUTES):
        if url.endswith(route) and not is_legacy(url.removesuffix(route)):
            return url.removesuffix(route)
    if is_legacy(url):
        if api != "generate":
            raise ConfigurationError(
                f'{url} has no chat route but generate: api="{api}" exists on containers only. Set base_url '
                f'(https://containers.datacrunch.io/<deployment>), or leave out api="{api}" to chat over TGI\'s '
                f"generate with a template.",
                provider=DATACRUNCH.name,
            )
        return next((url.removesuffix(route) for route in _ROUTES if url.endswith(route)), url)
    return url


def check_model(model: str | None, base_url: str) -> None:
    """Refuse the legacy base URL without a model, because its requests must name one.

    Raises:
        ConfigurationError: The base URL is the legacy one, and there is no model.
    """
    if not model and is_legacy(base_url):
        raise ConfigurationError(
            f"{base_url} serves several models: set model. (For a container or your own TGI server, set base_url "
            f"instead.)",
            provider=DATACRUNCH.name,
        )


def container_name(base_url: str) -> str:
    """Return a name for a server's unnamed model: the last segment of the URL's path.

    Without a path, or if it ends with the API's version, the name is ``"tgi"``.
    """
    last = urlsplit(base_url).path.rstrip("/").rpartition("/")[2]
    return "tgi" if last in {"", "v1"} else last


def is_legacy(url: str) -> bool:
    """Whether a URL is that of the public legacy service."""
    return host_of(url) == host_of(DATACRUNCH.default_base_url or "")


def is_gateway(url: str) -> bool:
    """Whether a URL is that of Verda's gateway, which has only Chat Completions."""
    return host_of(url) == _GATEWAY


def _refuse_cloud_api(url: str, given: str | None) -> None:
    """Refuse the cloud API's URL, so that it never receives the key.

    Raises:
        ConfigurationError: It is that URL. For other tools, ``VERDA_BASE_URL`` means the cloud API.
    """
    if host_of(url) in _CLOUD_APIS:
        source = "base_url" if (given or "").strip() else f"the environment ({' or '.join(DATACRUNCH.base_url_env)})"
        raise ConfigurationError(
            f"{host_of(url)}, from {source}, is the cloud API: it manages deployments and serves no model. Give "
            'base_url="https://containers.datacrunch.io/<deployment>", or "https://inference.verda.com/v1" with '
            'api="openai".',
            provider=DATACRUNCH.name,
        )
