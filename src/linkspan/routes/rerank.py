"""Rank documents at one endpoint, for both frameworks."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from linkspan.providers.scaleway_embeddings import without_text
from linkspan.providers.scaleway_rerank import (
    RERANK_PATH,
    Ranked,
    Ranking,
    check_rerank,
    decode_rerank,
    encode_rerank,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from linkspan.endpoint import Endpoint

__all__ = ["RerankCall"]


@dataclass(frozen=True)
class RerankCall:
    """How to rank documents."""

    endpoint: Endpoint[Any]
    model: str
    top_n: int | None = None
    extra_body: Mapping[str, Any] = field(default_factory=dict)

    def run(self, query: str, documents: Sequence[str]) -> Ranking:
        """Rank documents. Blank ones are not sent and come last; if all are blank, no request is sent."""
        check_rerank(query, documents, self.top_n)
        places = _with_text(documents)
        sent = [documents[place] for place in places]
        ranking = self.endpoint.call(RERANK_PATH, self._body(query, sent), self._decoder(len(sent))) if sent else None
        return self._whole(ranking, places, len(documents))

    async def arun(self, query: str, documents: Sequence[str]) -> Ranking:
        """Rank documents; see :meth:`run`."""
        check_rerank(query, documents, self.top_n)
        places = _with_text(documents)
        sent = [documents[place] for place in places]
        decoder = self._decoder(len(sent))
        ranking = await self.endpoint.acall(RERANK_PATH, self._body(query, sent), decoder) if sent else None
        return self._whole(ranking, places, len(documents))

    def _body(self, query: str, documents: Sequence[str]) -> dict[str, Any]:
        return encode_rerank(self.model, query, documents, top_n=self.top_n, extra_body=self.extra_body)

    def _whole(self, ranking: Ranking | None, places: Sequence[int], count: int) -> Ranking:
        """Return the ranking with indexes into all documents; blank ones come last, in their order."""
        whole = Ranking([]) if ranking is None else ranking
        ranked = [Ranked(places[result.index], result.score) for result in whole.results]
        sent = set(places)
        rest = [Ranked(place, None) for place in range(count) if place not in sent]
        return replace(whole, results=[*ranked, *rest][: self.top_n])

    def _decoder(self, count: int) -> Callable[[bytes, Mapping[str, str]], Ranking]:
        return lambda body, headers: decode_rerank(body, headers, count=count, top_n=self.top_n)


def _with_text(documents: Sequence[str]) -> list[int]:
    blank = set(without_text(documents))
    return [place for place in range(len(documents)) if place not in blank]
