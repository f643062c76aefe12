"""List the models of an endpoint."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from linkspan.endpoint import Endpoint
    from linkspan.providers.chat_completions.models import ListedModel

__all__ = ["alist_models", "list_models"]


def list_models(endpoint: Endpoint[Any], *, timeout: float | None = None) -> list[ListedModel]:
    """List the endpoint's models; nothing is cached."""
    codec = endpoint.codec
    return list(endpoint.read(codec.models_path, codec.decode_models, timeout=timeout))


async def alist_models(endpoint: Endpoint[Any], *, timeout: float | None = None) -> list[ListedModel]:
    """List the endpoint's models; see :func:`list_models`."""
    codec = endpoint.codec
    return list(await endpoint.aread(codec.models_path, codec.decode_models, timeout=timeout))
