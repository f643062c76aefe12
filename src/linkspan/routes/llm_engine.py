"""Read one model endpoint of an LLM Engine deployment, and check that its gateway is up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from linkspan.providers.llm_engine.models import HEALTH_PATH, decode_model, model_path

if TYPE_CHECKING:
    from linkspan.endpoint import Endpoint
    from linkspan.providers.llm_engine.models import LLMEngineModel

__all__ = ["acheck_health", "aget_model", "check_health", "get_model"]


def get_model(endpoint: Endpoint[Any], name: str) -> LLMEngineModel:
    """Return one model endpoint.

    Raises:
        NotFoundError: The name is unknown, or the endpoint belongs to another team.
        LinkspanError: The call failed for another reason.
    """
    return endpoint.read(model_path(name), decode_model)


async def aget_model(endpoint: Endpoint[Any], name: str) -> LLMEngineModel:
    """Return one model endpoint; see :func:`get_model`."""
    return await endpoint.aread(model_path(name), decode_model)


def check_health(endpoint: Endpoint[Any]) -> None:
    """Check that the deployment's gateway is up; says nothing about its models.

    Raises:
        LinkspanError: The gateway is down, or not at this address.
    """
    endpoint.get(HEALTH_PATH)


async def acheck_health(endpoint: Endpoint[Any]) -> None:
    """Check that the gateway is up; see :func:`check_health`."""
    await endpoint.aget(HEALTH_PATH)
