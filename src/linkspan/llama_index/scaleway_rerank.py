"""Reranking by Scaleway Generative APIs in LlamaIndex."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from llama_index.core.callbacks import CBEventType, EventPayload
from llama_index.core.instrumentation.events.rerank import ReRankEndEvent, ReRankStartEvent
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.schema import MetadataMode, NodeWithScore, QueryBundle
from llama_index_instrumentation import get_dispatcher

from linkspan.errors import InvalidRequestError
from linkspan.llama_index.component import LlamaIndexComponent
from linkspan.settings.scaleway_rerank import ScalewayRerankSettings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from linkspan.providers.scaleway_rerank import Ranking

__all__ = ["ScalewayRerank"]

_dispatcher = get_dispatcher(__name__)


class ScalewayRerank(ScalewayRerankSettings, LlamaIndexComponent, BaseNodePostprocessor):
    """Ranks nodes by relevance to the query (docs/apis/scaleway.md#rerank).

    The score is the cosine similarity of two embeddings, not a cross-encoder's: the API documents only an embedding
    model for this. Nodes are compared by their text for embeddings (``MetadataMode.EMBED``); the given nodes are not
    changed. A node without text (a scan, a picture) is not sent: it comes last, with a score of ``None``.

    Example:
        >>> from llama_index.postprocessor.scaleway_rerank import ScalewayRerank
        >>> engine = index.as_query_engine(node_postprocessors=[ScalewayRerank(top_n=3)])

    Raises:
        ConfigurationError: An unknown or invalid argument, or no key.
    """

    def _postprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        query = _query_of(query_bundle)
        if not nodes:
            return []
        with self._reported(nodes, query) as ranked:
            ranked.extend(_ranked(nodes, self._call().run(query.query_str, _texts(nodes))))
        return ranked

    async def _apostprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        query = _query_of(query_bundle)
        if not nodes:
            return []
        with self._reported(nodes, query) as ranked:
            ranked.extend(_ranked(nodes, await self._call().arun(query.query_str, _texts(nodes))))
        return ranked

    @contextmanager
    def _reported(self, nodes: list[NodeWithScore], query: QueryBundle) -> Iterator[list[NodeWithScore]]:
        """Report the call to LlamaIndex's handlers, and as its result the list that the caller fills."""
        ranked: list[NodeWithScore] = []
        _dispatcher.event(
            ReRankStartEvent(query=query, nodes=nodes, top_n=self.top_n or len(nodes), model_name=self.model)
        )
        with self.callback_manager.event(CBEventType.RERANKING, payload=self._payload(nodes, query)) as event:
            yield ranked
            event.on_end(payload={EventPayload.NODES: ranked})
        _dispatcher.event(ReRankEndEvent(nodes=ranked))

    def _payload(self, nodes: list[NodeWithScore], query: QueryBundle) -> dict[Any, Any]:
        return {
            EventPayload.NODES: nodes,
            EventPayload.MODEL_NAME: self.model,
            EventPayload.QUERY_STR: query.query_str,
            EventPayload.TOP_K: self.top_n or len(nodes),
        }


def _query_of(query_bundle: QueryBundle | None) -> QueryBundle:
    if query_bundle is None or not query_bundle.query_str:
        raise InvalidRequestError("ScalewayRerank needs a query: pass query_str or query_bundle.", provider="scaleway")
    return query_bundle


def _texts(nodes: list[NodeWithScore]) -> list[str]:
    return [node.node.get_content(metadata_mode=MetadataMode.EMBED) for node in nodes]


def _ranked(nodes: list[NodeWithScore], ranking: Ranking) -> list[NodeWithScore]:
    return [NodeWithScore(node=nodes[result.index].node, score=result.score) for result in ranking.results]
