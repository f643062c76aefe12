"""Read a TGI server's ``GET /health`` and ``GET /info``. Containers have these routes."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from linkspan.errors import NotFoundError, ServerError
from linkspan.providers.datacrunch.provider import DATACRUNCH
from linkspan.providers.datacrunch.server import decode_health, decode_info
from linkspan.providers.error_bodies import refuse_page

if TYPE_CHECKING:
    from linkspan.endpoint import Endpoint
    from linkspan.providers.datacrunch.server import ServerHealth, ServerInfo

__all__ = ["ahealth", "ainfo", "health", "info"]

_no_page = partial(refuse_page, DATACRUNCH.name)
_ONLY_TGI = "Only TGI has this route: on vLLM and SGLang, list_models() returns the model and its window."


def health(endpoint: Endpoint[Any]) -> ServerHealth:
    """Check whether the server can generate. A 503 is retried like any other failure of the endpoint.

    Raises:
        LinkspanError: No connection, a wrong key, or no such route.
    """
    try:
        endpoint.read("health", _no_page)
    except ServerError as error:
        return decode_health(error)
    return decode_health(None)


async def ahealth(endpoint: Endpoint[Any]) -> ServerHealth:
    """Check whether the server can generate; see :func:`health`."""
    try:
        await endpoint.aread("health", _no_page)
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
