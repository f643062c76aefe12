"""What all LangChain classes for DataCrunch have in common: its address, and what a TGI server tells of itself."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, ClassVar

from linkspan.langchain.connected import Connected
from linkspan.langchain.errors import converted_errors
from linkspan.langchain.model_listing import ListsModels
from linkspan.providers.datacrunch import DATACRUNCH, ahealth, ainfo, health, info, regex_grammar

if TYPE_CHECKING:
    from linkspan.providers.datacrunch import ServerHealth, ServerInfo
    from linkspan.providers.provider import Provider

__all__ = ["DataCrunchConnected"]


class DataCrunchConnected(ListsModels, Connected):
    """A connection to DataCrunch, or any TGI server. ``list_models()`` is answered by containers only, since TGI 2.3.

    Environment: ``DATACRUNCH_API_KEY``, ``VERDA_INFERENCE_KEY``; ``DATACRUNCH_BASE_URL``, ``VERDA_BASE_URL``.
    """

    _provider: ClassVar[Provider] = DATACRUNCH

    @property
    def lc_secrets(self) -> dict[str, str]:
        """The environment variable that stands for the key in serialised models."""
        return {"api_key": DATACRUNCH.api_key_env[0]}

    def _choice_options(self, choices: list[str]) -> dict[str, Any]:
        """Return the parameters that hold an answer to one of these texts."""
        return {"grammar": regex_grammar("|".join(map(re.escape, choices)))}

    def health(self) -> ServerHealth:
        """Ask whether the server can generate: a truth value, with the server's words if not. Containers only.

        Raises:
            ModelError: (of langchain-core, and at the same time of ``linkspan.errors``) if it cannot be asked.
        """
        with converted_errors():
            return health(self._connection())

    async def ahealth(self) -> ServerHealth:
        """Ask whether the server can generate; see ``health``."""
        with converted_errors():
            return await ahealth(self._connection())

    def info(self) -> ServerInfo:
        """Ask what the server runs, and its limits. Containers only.

        Raises:
            ModelError: (of langchain-core, and at the same time of ``linkspan.errors``) if it cannot be asked.
        """
        with converted_errors():
            return info(self._connection())

    async def ainfo(self) -> ServerInfo:
        """Ask what the server runs; see ``info``."""
        with converted_errors():
            return await ainfo(self._connection())
