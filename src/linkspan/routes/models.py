"""Asking an endpoint for its models, for both frameworks. Any codec that names the route and reads it will do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, cast

if TYPE_CHECKING:
    from collections.abc import Mapping

    from linkspan.endpoint import Endpoint
    from linkspan.providers.chat_completions.models import ListedModel

__all__ = ["ModelsCodec", "alist_models", "list_models"]


class ModelsCodec(Protocol):
    """What a codec offers besides :class:`linkspan.providers.codec.Codec` if its API can list models."""

    @property
    def models_path(self) -> str:
        """The route below the base URL."""

    def decode_models(self, body: bytes, headers: Mapping[str, str]) -> list[ListedModel]:
        """Read the answer."""


def list_models(endpoint: Endpoint[Any]) -> list[ListedModel]:
    """Ask for the models, now and without a cache."""
    codec = _codec(endpoint)
    return endpoint.read(codec.models_path, codec.decode_models)


async def alist_models(endpoint: Endpoint[Any]) -> list[ListedModel]:
    """Ask for the models; see ``list_models``."""
    codec = _codec(endpoint)
    return await endpoint.aread(codec.models_path, codec.decode_models)


def _codec(endpoint: Endpoint[Any]) -> ModelsCodec:
    return cast("ModelsCodec", endpoint.codec)
