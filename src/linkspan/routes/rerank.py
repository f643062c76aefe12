"""Ranking documents at one endpoint, for both frameworks."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from linkspan.providers.scaleway_rerank import RERANK_PATH, Ranking, decode_rerank, encode_rerank

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from linkspan.endpoint import Endpoint

__all__ = ["RerankCall"]


@dataclass(frozen=True)
class RerankCall:
    """How documents are to be ranked.

    Args:
        endpoint: Where to ask.
        model: Name of the model.
        top_n: How many of the best to return, ``None`` for all.
        extra_body: Merged into the body last.
    """

    endpoint: Endpoint[Any]
    model: str
    top_n: int | None = None
    extra_body: Mapping[str, Any] = field(default_factory=dict)

    def run(self, query: str, documents: Sequence[str]) -> Ranking:
        """Rank documents. No document, no request."""
        body = self._body(query, documents)
        return self.endpoint.call(RERANK_PATH, body, self._decoder(len(documents))) if documents else Ranking([])

    async def arun(self, query: str, documents: Sequence[str]) -> Ranking:
        """Rank documents. No document, no request."""
        body = self._body(query, documents)
        return await self.endpoint.acall(RERANK_PATH, body, self._decoder(len(documents))) if documents else Ranking([])

    def _body(self, query: str, documents: Sequence[str]) -> dict[str, Any]:
        return encode_rerank(self.model, query, documents, top_n=self.top_n, extra_body=self.extra_body)

    def _decoder(self, count: int) -> Callable[[bytes, Mapping[str, str]], Ranking]:
        return lambda body, headers: decode_rerank(body, headers, count=count, top_n=self.top_n)
