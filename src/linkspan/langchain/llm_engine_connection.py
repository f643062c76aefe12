"""What all LangChain classes for LLM Engine have in common: where it is, and how the key travels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from linkspan.langchain.connected import Connected
from linkspan.langchain.errors import converted_errors
from linkspan.langchain.model_listing import ListsModels
from linkspan.providers.llm_engine import (
    LLM_ENGINE,
    Auth,
    Framework,
    acheck_health,
    aget_model,
    check_health,
    get_model,
)

if TYPE_CHECKING:
    from linkspan.providers.llm_engine import LLMEngineModel
    from linkspan.providers.provider import Provider

__all__ = ["LLMEngineConnected"]


class LLMEngineConnected(ListsModels, Connected):
    """A connection to an LLM Engine of one's own. Environment: ``SCALE_API_KEY``, ``LLM_ENGINE_BASE_PATH``."""

    _provider: ClassVar[Provider] = LLM_ENGINE

    auth: Auth = "basic"
    """How the key is sent: ``"basic"`` (beside ``x-api-key``, as the official client does) or ``"bearer"``."""
    inference_framework: Framework | None = None
    """What runs the endpoint. Streams of ``"tensorrt_llm"`` end without the ``finished: true`` by which all others
    say that the prompt API's answer is whole; without this setting, such a stream raises ``InterruptedStreamError``."""

    @property
    def lc_secrets(self) -> dict[str, str]:
        """The environment variable that stands for the key in serialised models."""
        return {"api_key": LLM_ENGINE.api_key_env[0]}

    def _choice_options(self, choices: list[str]) -> dict[str, Any]:
        """Return the parameters that hold an answer to one of these texts."""
        return {"guided_choice": choices}

    def get_model(self, name: str) -> LLMEngineModel:
        """Ask for one endpoint of the deployment: its framework, kind and status.

        Raises:
            ModelError: (of langchain-core, and at the same time of ``linkspan.errors``) when the call fails.
        """
        with converted_errors():
            return get_model(self._connection(), name)

    async def aget_model(self, name: str) -> LLMEngineModel:
        """Ask for one endpoint of the deployment; see ``get_model``."""
        with converted_errors():
            return await aget_model(self._connection(), name)

    def check_health(self) -> None:
        """Ask whether the deployment is up: the gateway, not its models.

        Raises:
            ModelError: (of langchain-core, and at the same time of ``linkspan.errors``) if it is not.
        """
        with converted_errors():
            check_health(self._connection())

    async def acheck_health(self) -> None:
        """Ask whether the deployment is up; see ``check_health``."""
        with converted_errors():
            await acheck_health(self._connection())
