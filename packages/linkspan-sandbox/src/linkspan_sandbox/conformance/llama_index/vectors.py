"""Points 35 and 36: embeddings and reranking, suites of their own."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
from llama_index.core.callbacks import CallbackManager, CBEventType, LlamaDebugHandler
from llama_index.core.schema import NodeWithScore, TextNode

from linkspan_sandbox.conformance.llama_index.base import KEY, Script, Suite
from linkspan_sandbox.conformance.llama_index.events import watched
from linkspan_sandbox.conformance.llama_index.relay import Relay
from linkspan_sandbox.conformance.needs import needs
from linkspan_sandbox.scaleway_vectors import vector_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

__all__ = ["EmbeddingTests", "RerankTests"]

TEXTS = ["the ferry to Ostra", "a loaf of rye", "two\nlines", "cars on deck"]


class EmbeddingTests(Suite):
    """Tests of an embedding class for an API in the form of ``/v1/embeddings``.

    Attributes:
        dimensions: Vector length of the model that ``make_embedding`` selects.
        query_settings: Settings that prefix queries with ``"Q: "`` and texts with ``"T: "``; ``None`` if there are
            none.
    """

    dimensions: ClassVar[int] = 64
    query_settings: ClassVar[Mapping[str, Any] | None] = None

    def make_embedding(self, base_url: str, **settings: Any) -> Any:
        """Return an object of the class under test.

        Args:
            base_url: The URL to call.
            settings: Constructor arguments under LlamaIndex's usual names.
        """
        raise NotImplementedError(f"{type(self).__name__} must override make_embedding")

    def usage_of(self, embedding: Any, texts: list[str]) -> Any:
        """Embed texts and return the server's token count, however the class reports it."""
        raise NotImplementedError(
            f"{type(embedding).__name__} does not report the tokens of {len(texts)} texts: override usage_of"
        )

    @pytest.fixture
    def make(self, script: Script) -> Iterator[Callable[..., Any]]:
        """Build objects of the class that call the server; close them at the end, if possible."""
        made: list[Any] = []

        def make_one(*, through: str | None = None, **settings: Any) -> Any:
            address = self.base_url(script.sandbox)
            if through is not None:
                address = address.replace(script.sandbox.url, through)
            made.append(self.make_embedding(address, **{"api_key": KEY, "max_retries": 0, **settings}))
            return made[-1]

        yield make_one
        for embedding in made:
            if hasattr(embedding, "close"):
                embedding.close()

    def _expected(self, texts: list[str]) -> list[Any]:
        return [pytest.approx(vector_of(text, self.dimensions), abs=1e-6) for text in texts]

    @pytest.mark.parametrize("is_async", [False, True])
    def test_order_is_by_index(self, make: Callable[..., Any], script: Script, is_async: bool) -> None:
        """Point 35: a server may answer out of order; each text gets its own vector."""
        with Relay(script.sandbox.url, rewrite=_turned_round) as relay:
            assert _batch(make(through=relay.url), TEXTS, is_async) == self._expected(TEXTS)

    def test_texts_are_sent_as_they_are(self, make: Callable[..., Any], script: Script) -> None:
        """Point 35: line breaks are kept."""
        make().get_text_embedding("two\nlines")
        assert script.sandbox.last_request.json["input"] in (["two\nlines"], "two\nlines")

    def test_nothing_unasked_is_sent(self, make: Callable[..., Any], script: Script) -> None:
        """Point 35: no ``encoding_format: base64``, which some servers refuse."""
        make().get_text_embedding("x")
        assert script.sandbox.last_request.json.get("encoding_format", "float") == "float"

    def test_no_texts_no_request(self, make: Callable[..., Any], script: Script) -> None:
        """Point 35: an empty list sends no request."""
        assert make().get_text_embedding_batch([]) == []
        assert script.requests == 0

    @pytest.mark.parametrize("is_async", [False, True])
    def test_batches(self, make: Callable[..., Any], script: Script, is_async: bool) -> None:
        """Point 35: each request has ``embed_batch_size`` texts, and the order is kept."""
        texts = [f"text number {number}" for number in range(7)]
        assert _batch(make(embed_batch_size=3), texts, is_async) == self._expected(texts)
        assert sorted(len(request.json["input"]) for request in script.sandbox.requests) == [1, 3, 3]

    def test_workers(self, make: Callable[..., Any], script: Script) -> None:
        """Point 35: ``num_workers`` changes only how many requests run concurrently."""
        texts = [f"text number {number}" for number in range(7)]
        assert _batch(make(embed_batch_size=2, num_workers=2), texts, True) == self._expected(texts)
        assert script.requests == 4

    def test_batches_overlap(self, make: Callable[..., Any], script: Script) -> None:
        """Point 35: async batches run concurrently."""
        with Relay(script.sandbox.url, hold=4) as relay:
            assert _batch(make(through=relay.url, embed_batch_size=1), TEXTS, True) == self._expected(TEXTS)

    @needs("query_settings")
    def test_instructions(self, make: Callable[..., Any]) -> None:
        """Point 35: queries and texts get separate instructions."""
        embedding = make(**(self.query_settings or {}))
        assert embedding.get_query_embedding("ferry") == self._expected(["Q: ferry"])[0]
        assert embedding.get_text_embedding("ferry") == self._expected(["T: ferry"])[0]

    def test_usage(self, make: Callable[..., Any]) -> None:
        """Point 35: the server's token counts are available."""
        assert self.usage_of(make(), ["one two three", "four"]) == 4

    def test_one_event(self, make: Callable[..., Any], script: Script) -> None:
        """Point 35: each batch has one event, with its texts."""
        debug = LlamaDebugHandler(print_trace_on_end=False)
        with watched() as (events, _):
            make(callback_manager=CallbackManager([debug])).get_text_embedding_batch(TEXTS)
        assert len(debug.get_event_pairs(CBEventType.EMBEDDING)) == 1
        assert [events.count(name) for name in ("EmbeddingStartEvent", "EmbeddingEndEvent")] == [1, 1]
        assert script.requests == 1

    def test_the_key_is_not_shown(self, make: Callable[..., Any]) -> None:
        """Point 18 for embeddings: the key is in nothing printed or stored."""
        embedding = make()
        assert KEY not in f"{embedding!r} {embedding} {embedding.to_dict()}"


def _turned_round(body: bytes) -> Iterable[bytes]:
    answer = json.loads(body)
    answer["data"].reverse()
    return [json.dumps(answer).encode()]


def _batch(embedding: Any, texts: list[str], is_async: bool) -> list[list[float]]:
    if not is_async:
        return list(embedding.get_text_embedding_batch(texts))

    async def in_a_loop() -> list[list[float]]:
        try:
            return list(await embedding.aget_text_embedding_batch(texts))
        finally:
            if hasattr(embedding, "aclose"):
                await embedding.aclose()

    return asyncio.run(in_a_loop())


class RerankTests(Suite):
    """Tests of a reranker for an API in the form of ``/v1/rerank``."""

    def make_rerank(self, base_url: str, **settings: Any) -> Any:
        """Return an object of the class under test; ``settings``: ``api_key``, ``top_n``, ``callback_manager``."""
        raise NotImplementedError(f"{type(self).__name__} must override make_rerank")

    @pytest.fixture
    def make(self, script: Script) -> Callable[..., Any]:
        """Make objects of the class before the server."""

        def make_one(**settings: Any) -> Any:
            return self.make_rerank(self.base_url(script.sandbox), **{"api_key": KEY, **settings})

        return make_one

    @pytest.mark.parametrize("is_async", [False, True])
    def test_order_and_scores(self, make: Callable[..., Any], is_async: bool) -> None:
        """Point 36: the best come first, with the server's scores; the input nodes are unchanged."""
        nodes = _nodes()
        ranked = _rank(make(top_n=2), nodes, is_async)
        assert [node.node.get_content() for node in ranked] == ["the ferry to Ostra", "the ferry"]
        assert ranked[0].score > ranked[1].score
        assert [node.score for node in nodes] == [0.5] * 3
        assert all(node not in nodes for node in ranked)

    @pytest.mark.parametrize("is_async", [False, True])
    def test_events(self, make: Callable[..., Any], is_async: bool) -> None:
        """Point 36: one start and one end event, in both of core's mechanisms."""
        debug = LlamaDebugHandler(print_trace_on_end=False)
        with watched() as (events, _):
            _rank(make(callback_manager=CallbackManager([debug])), _nodes(), is_async)
        assert [events.count(name) for name in ("ReRankStartEvent", "ReRankEndEvent")] == [1, 1]
        assert len(debug.get_event_pairs(CBEventType.RERANKING)) == 1

    def test_no_nodes_no_request(self, make: Callable[..., Any], script: Script) -> None:
        """Point 36: an empty list returns an empty list."""
        assert _rank(make(), [], False) == []
        assert script.requests == 0

    def test_no_query_is_an_error_without_events(self, make: Callable[..., Any], script: Script) -> None:
        """Point 36: a missing query raises, and leaves no event without an end."""
        with watched() as (events, _), pytest.raises(Exception, match=r"(?i)query"):
            make().postprocess_nodes(_nodes())
        assert events.count("ReRankStartEvent") == events.count("ReRankEndEvent") == 0
        assert script.requests == 0


def _nodes() -> list[NodeWithScore]:
    return [
        NodeWithScore(node=TextNode(text=text), score=0.5)
        for text in ("a loaf of rye", "the ferry", "the ferry to Ostra")
    ]


def _rank(rerank: Any, nodes: list[NodeWithScore], is_async: bool) -> list[Any]:
    query = "ferry to Ostra"
    if not is_async:
        return list(rerank.postprocess_nodes(nodes, query_str=query))

    async def in_a_loop() -> list[Any]:
        try:
            return list(await rerank.apostprocess_nodes(nodes, query_str=query))
        finally:
            if hasattr(rerank, "aclose"):
                await rerank.aclose()

    return asyncio.run(in_a_loop())
