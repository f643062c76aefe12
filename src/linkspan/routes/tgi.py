"""Read a TGI server's ``GET /health`` and ``GET /info``. Containers have these routes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from linkspan.errors import NotFoundError, ServerError
from linkspan.providers.datacrunch.server import decode_health, decode_info

if TYPE_CHECKING:
    from linkspan.endpoint import Endpoint
    from linkspan.providers.datacrunch.server import ServerHealth, ServerInfo

__all__ = ["ahealth", "ainfo", "health", "info"]

_ONLY_TGI = "Only TGI has this route: on vLLM and SGLang, list_models() returns the model and its window."


def health(endpoint: Endpoint[Any]) -> ServerHealth:
    """Check whether the server can generate. A 503 is retried like any other failure of the endpoint.

    Raises:
        LinkspanError: No connection, a wrong key, or no such route.
    """
    try:
        endpoint.get("health")
    except ServerError as error:
        return decode_health(error)
    return decode_health(None)


async def ahealth(endpoint: Endpoint[Any]) -> ServerHealth:
    """Check whether the server can generate; see :func:`health`."""
    try:
        await endpoint.aget("health")
    except ServerError as error:
        return decode_health(error)
    return decode_health(None)


def info(endpoint: Endpoint[Any]) -> ServerInfo:
    """Return the server's model, version and limits.

    Raises:
        LinkspanError: The call failed, or the server is not TGI.
    """
    try:
        return endpoint.read("info", decode_info)
    except NotFoundError as error:
        error.with_hint(_ONLY_TGI)
        raise


async def ainfo(endpoint: Endpoint[Any]) -> ServerInfo:
    """Return the server's model, version and limits; see :func:`info`."""
    try:
        return await endpoint.aread("info", decode_info)
    except NotFoundError as error:
        error.with_hint(_ONLY_TGI)
        raise
