"""Settings of the reranking classes for Scaleway."""

from __future__ import annotations

from pydantic import Field

from linkspan.options import ModelName  # noqa: TC001  # pydantic reads the annotations at run time
from linkspan.providers.scaleway_rerank import DEFAULT_RERANK_MODEL
from linkspan.routes.rerank import RerankCall
from linkspan.settings.scaleway import ScalewaySettings

__all__ = ["ScalewayRerankSettings"]


class ScalewayRerankSettings(ScalewaySettings):
    """A reranking model of Scaleway."""

    model: ModelName = Field(
        default=DEFAULT_RERANK_MODEL, description="Name of the model; `model_name` is another name."
    )
    top_n: int | None = Field(default=None, gt=0, description="Number of best documents to return. Default: all.")

    def _call(self, top_n: int | None = None) -> RerankCall:
        return RerankCall(self._endpoint(), self.model, self.top_n if top_n is None else top_n, self.extra_body)
