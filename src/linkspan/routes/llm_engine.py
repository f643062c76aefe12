"""What an LLM Engine tells of its deployment: one model endpoint, and whether the gateway is up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from linkspan.providers.llm_engine.models import HEALTH_PATH, decode_model, model_path

if TYPE_CHECKING:
    from linkspan.endpoint import Endpoint
    from linkspan.providers.llm_engine.models import LLMEngineModel

__all__ = ["acheck_health", "aget_model", "check_health", "get_model"]


def get_model(endpoint: Endpoint[Any], name: str) -> LLMEngineModel:
    """Ask for one model endpoint.

    Raises:
        NotFoundError: There is none of this name, or it belongs to another team.
        LinkspanError: The call failed otherwise.
    """
    return endpoint.read(model_path(name), decode_model)


async def aget_model(endpoint: Endpoint[Any], name: str) -> LLMEngineModel:
    """Ask for one model endpoint; see :func:`get_model`."""
    return await endpoint.aread(model_path(name), decode_model)


def check_health(endpoint: Endpoint[Any]) -> None:
    """Ask whether the deployment is up: the gateway, not its models.

    Raises:
        LinkspanError: It is not, or not at this address.
    """
    endpoint.get(HEALTH_PATH)


async def acheck_health(endpoint: Endpoint[Any]) -> None:
    """Ask whether the deployment is up; see :func:`check_health`."""
    await endpoint.aget(HEALTH_PATH)
