"""ScalewayRerank as LlamaIndex uses it, over real sockets."""

from __future__ import annotations

import asyncio
import copy
import pickle
from typing import TYPE_CHECKING, Any

import pytest
from llama_index.core.callbacks import CallbackManager, CBEventType, LlamaDebugHandler
from llama_index.core.instrumentation import get_dispatcher
from llama_index.core.instrumentation.event_handlers import BaseEventHandler
from llama_index.core.instrumentation.events.rerank import ReRankEndEvent, ReRankStartEvent
from llama_index.core.schema import NodeWithScore, TextNode

from linkspan.errors import ConfigurationError, InvalidRequestError, RateLimitError
from linkspan.llama_index import ScalewayRerank
from llama_index.postprocessor.scaleway_rerank import ScalewayRerank as Leaf
from tests.scaleway_rerank.conftest import KEY, MODEL
from tests.support.loopback import http

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.support.loopback import LoopbackServer

QUERY = "Oslo Norway"


class Events(BaseEventHandler):
    seen: list[Any] = []  # noqa: RUF012  # pydantic copies it

    def handle(self, event: Any, **_: Any) -> None:
        if isinstance(event, (ReRankStartEvent, ReRankEndEvent)):
            self.seen.append(event)


@pytest.fixture
def events() -> Iterator[Events]:
    handler, dispatcher = Events(), get_dispatcher()
    dispatcher.add_event_handler(handler)
    yield handler
    dispatcher.event_handlers.remove(handler)


@pytest.fixture(params=["sync", "async"])
def rerank(request: pytest.FixtureRequest) -> Callable[..., list[NodeWithScore]]:
    def call(reranker: ScalewayRerank, nodes: list[NodeWithScore], **query: Any) -> list[NodeWithScore]:
        if request.param == "sync":
            return reranker.postprocess_nodes(nodes, **query)
        return asyncio.run(reranker.apostprocess_nodes(nodes, **query))

    return call


def make_nodes() -> list[NodeWithScore]:
    texts = ["Rome is in Italy", "Norway\nis north", "Oslo is in Norway"]
    return [NodeWithScore(node=TextNode(text=text, id_=str(n)), score=0.5) for n, text in enumerate(texts)]


def test_nodes_are_ranked_and_left_as_they_are(
    server: LoopbackServer, settings: dict[str, Any], rerank: Callable[..., list[NodeWithScore]]
) -> None:
    nodes = make_nodes()
    nodes[1].node.metadata = {"kind": "fact"}
    best = rerank(ScalewayRerank(**settings, top_n=2), nodes, query_str=QUERY)
    assert [found.node.node_id for found in best] == ["2", "1"]
    assert best[0].get_score() > best[1].get_score() > 0
    assert [node.score for node in nodes] == [0.5, 0.5, 0.5]
    assert server.requests[0].json() == {
        "model": MODEL,
        "query": QUERY,
        "documents": ["Rome is in Italy", "kind: fact\n\nNorway\nis north", "Oslo is in Norway"],
        "top_n": 2,
    }


def test_events_come_in_pairs(
    settings: dict[str, Any], rerank: Callable[..., list[NodeWithScore]], events: Events
) -> None:
    debug = LlamaDebugHandler(print_trace_on_end=False)
    reranker = ScalewayRerank(**settings, callback_manager=CallbackManager([debug]))
    best = rerank(reranker, make_nodes(), query_str=QUERY)
    start, end = events.seen
    assert (start.top_n, start.model_name, len(start.nodes)) == (3, MODEL, 3)
    assert [node.node_id for node in end.nodes] == [node.node_id for node in best]
    assert len(debug.get_event_pairs(CBEventType.RERANKING)) == 1


def test_no_nodes_no_request(
    server: LoopbackServer, settings: dict[str, Any], rerank: Callable[..., list[NodeWithScore]]
) -> None:
    assert rerank(ScalewayRerank(**settings), [], query_str=QUERY) == []
    assert server.connections == 0


def test_a_missing_query_is_an_error_without_events(
    settings: dict[str, Any], rerank: Callable[..., list[NodeWithScore]], events: Events
) -> None:
    with pytest.raises(InvalidRequestError, match="needs a query"):
        rerank(ScalewayRerank(**settings), make_nodes())
    assert events.seen == []


def test_errors_keep_their_class(
    server: LoopbackServer, settings: dict[str, Any], rerank: Callable[..., list[NodeWithScore]]
) -> None:
    server.respond = None
    server.always(http(429, b'{"status": 429, "error": "INSUFFICIENT QUOTA", "message": "slow down"}'))
    with pytest.raises(RateLimitError, match="slow down"):
        rerank(ScalewayRerank(**settings), make_nodes(), query_str=QUERY)


def test_construction(settings: dict[str, Any]) -> None:
    assert Leaf is ScalewayRerank
    assert ScalewayRerank(api_key=KEY).model == "qwen3-embedding-8b"
    with pytest.raises(ConfigurationError, match="Did you mean 'top_n'"):
        ScalewayRerank(api_key=KEY, topn=3)
    reranker = ScalewayRerank(**settings)
    assert KEY not in repr(reranker) + str(reranker.to_dict()) + reranker.to_json()
    ids = [node.node_id for node in reranker.postprocess_nodes(make_nodes(), query_str=QUERY)]
    for twin in (pickle.loads(pickle.dumps(reranker)), copy.deepcopy(reranker)):
        assert [node.node_id for node in twin.postprocess_nodes(make_nodes(), query_str=QUERY)] == ids
