"""DataCrunch (now Verda): its address, its keys, and the addresses under which a TGI server is reached.

Source: DataCrunch reference, section 1 (base URLs, keys, environment).
"""

from __future__ import annotations

from typing import Literal
from urllib.parse import urlsplit

from linkspan.errors import ConfigurationError
from linkspan.providers.provider import Provider

__all__ = ["DATACRUNCH", "check_model", "container_name", "datacrunch_base_url", "is_legacy"]

DATACRUNCH = Provider(
    name="datacrunch",
    title="DataCrunch (Verda)",
    api_key_env=("DATACRUNCH_API_KEY", "VERDA_INFERENCE_KEY"),
    base_url_env=("DATACRUNCH_BASE_URL", "VERDA_BASE_URL"),
    default_base_url="https://inference.datacrunch.io/v1/completions",
    # A container without a running replica starts one first; the provider's own client waits as long.
    default_timeout=300.0,
)

_ROUTES = ("/generate", "/generate_stream")
_MESSAGES_ROUTES = ("/v1/chat/completions", "/v1")


def datacrunch_base_url(base_url: str | None, *, api: Literal["generate", "messages"] = "generate") -> str:
    """Return the base URL: the argument, ``DATACRUNCH_BASE_URL``, ``VERDA_BASE_URL``, or the legacy public one.

    A URL that names the route itself, as the documentation's curl calls do (``.../generate``, ``.../generate_stream``;
    for ``api="messages"`` also ``.../v1`` and ``.../v1/chat/completions``), is cut back to its base.

    Args:
        base_url: ``https://containers.datacrunch.io/<deployment>``, a self-hosted TGI's root, or ``None``.
        api: ``"generate"`` for TGI's own schema, ``"messages"`` for its chat route.

    Raises:
        ConfigurationError: The chat route is asked for on the legacy address, which does not have it.
    """
    url = DATACRUNCH.resolve_base_url(base_url).rstrip("/")
    for route in _ROUTES if api == "generate" else (*_MESSAGES_ROUTES, *_ROUTES):
        if url.endswith(route) and not is_legacy(url.removesuffix(route)):
            return url.removesuffix(route)
    if is_legacy(url):
        if api == "messages":
            raise ConfigurationError(
                f"{url} has no chat route: TGI's Messages API is found on containers only. Give base_url "
                '(https://containers.datacrunch.io/<deployment>), or leave api="messages" out to chat through a '
                "template.",
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
