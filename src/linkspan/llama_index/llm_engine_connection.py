"""What the LlamaIndex classes for LLM Engine have in common: where it is, and how the key travels."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from linkspan.llama_index.model_listing import ListsModels
from linkspan.providers.llm_engine import LLM_ENGINE, Auth, acheck_health, aget_model, check_health, get_model

if TYPE_CHECKING:
    from linkspan.providers.llm_engine import LLMEngineModel
    from linkspan.providers.provider import Provider

__all__ = ["LLMEngineConnected"]


class LLMEngineConnected(ListsModels):
    """A connection to an LLM Engine of one's own. Environment: ``SCALE_API_KEY``, ``LLM_ENGINE_BASE_PATH``."""

    _provider: ClassVar[Provider] = LLM_ENGINE

    auth: Auth = Field(default="basic", description="How the key is sent: basic (and x-api-key), or bearer.")

    def get_model(self, name: str) -> LLMEngineModel:
        """Ask for one endpoint of the deployment: its framework, kind and status.

        Raises:
            LinkspanError: The call failed.
        """
        return get_model(self._connected(), name)

    async def aget_model(self, name: str) -> LLMEngineModel:
        """Ask for one endpoint of the deployment; see ``get_model``."""
        return await aget_model(self._connected(), name)

    def check_health(self) -> None:
        """Ask whether the deployment is up: the gateway, not its models.

        Raises:
            LinkspanError: It is not.
        """
        check_health(self._connected())

    async def acheck_health(self) -> None:
        """Ask whether the deployment is up; see ``check_health``."""
        await acheck_health(self._connected())
