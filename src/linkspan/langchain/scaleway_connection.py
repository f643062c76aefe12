"""What all LangChain classes for Scaleway have in common: the key, the project and the address."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from linkspan.langchain.connected import Connected
from linkspan.langchain.model_listing import ListsModels
from linkspan.providers.scaleway import SCALEWAY, ScalewayChatCodec, scaleway_base_url

if TYPE_CHECKING:
    from linkspan.providers.provider import Provider

__all__ = ["ScalewayConnected"]


class ScalewayConnected(ListsModels, Connected):
    """A connection to Scaleway. Environment: ``SCW_SECRET_KEY``, ``SCALEWAY_API_KEY``; ``SCALEWAY_BASE_URL``."""

    _provider: ClassVar[Provider] = SCALEWAY

    project_id: str | None = None
    """The Scaleway project that is billed; part of the URL. Not together with ``base_url``. Default: the key's own."""

    def _resolved_base_url(self) -> str:
        return scaleway_base_url(self.base_url, self.project_id)

    def _make_codec(self) -> Any:
        return ScalewayChatCodec()
