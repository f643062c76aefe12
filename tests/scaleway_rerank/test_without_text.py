"""Documents without text in a reranking: not sent, and below what was ranked, in both frameworks."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.documents import Document
from llama_index.core.postprocessor import SimilarityPostprocessor
from llama_index.core.schema import ImageNode, NodeWithScore, TextNode

from linkspan.errors import InvalidRequestError
from linkspan.langchain import ScalewayRerank
from linkspan.llama_index import ScalewayRerank as LlamaIndexRerank

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.loopback import LoopbackServer

QUERY = "Oslo Norway"
TEXTS = ["", "Rome is in Italy", " \n", "Oslo is in Norway", "\t"]
Ranked = list[tuple[int, "float | None"]]


def _langchain(settings: dict[str, Any], texts: list[str], is_async: bool) -> Ranked:
    documents = [Document(text, metadata={"place": place}) for place, text in enumerate(texts)]
    reranker = ScalewayRerank(**settings)
    compress = reranker.acompress_documents if is_async else reranker.compress_documents
    found: Any = compress(documents, QUERY)
    found = asyncio.run(found) if is_async else found
    return [(one.metadata["place"], one.metadata["relevance_score"]) for one in found]


def _llama_index(settings: dict[str, Any], texts: list[str], is_async: bool) -> Ranked:
    nodes = [NodeWithScore(node=TextNode(text=text, id_=str(place))) for place, text in enumerate(texts)]
    reranker = LlamaIndexRerank(**settings)
    found = (
        asyncio.run(reranker.apostprocess_nodes(nodes, query_str=QUERY))
        if is_async
        else reranker.postprocess_nodes(nodes, query_str=QUERY)
    )
    return [(int(one.node.node_id), one.score) for one in found]


@pytest.fixture(params=[(way, is_async) for way in (_langchain, _llama_index) for is_async in (False, True)])
def rank(request: pytest.FixtureRequest, settings: dict[str, Any]) -> Callable[..., Ranked]:
    way, is_async = request.param
    return lambda texts, **more: way({**settings, **more}, texts, is_async)


def test_they_keep_their_order_below_what_was_ranked(server: LoopbackServer, rank: Callable[..., Ranked]) -> None:
    found = rank(TEXTS)
    assert [place for place, _ in found] == [3, 1, 0, 2, 4]
    assert [score is None for _, score in found] == [False, False, True, True, True]
    assert server.requests[0].json()["documents"] == ["Rome is in Italy", "Oslo is in Norway"]


def test_top_n_counts_them_last(server: LoopbackServer, rank: Callable[..., Ranked]) -> None:
    assert [place for place, _ in rank(TEXTS, top_n=1)] == [3]
    assert [place for place, _ in rank(TEXTS, top_n=3)] == [3, 1, 0]
    assert [request.json()["top_n"] for request in server.requests] == [1, 2]


def test_nothing_with_text_sends_nothing(server: LoopbackServer, rank: Callable[..., Ranked]) -> None:
    assert rank(["", " "]) == [(0, None), (1, None)]
    assert rank(["", " "], top_n=1) == [(0, None)]
    assert server.connections == 0


def test_a_blank_query_is_refused(settings: dict[str, Any], server: LoopbackServer) -> None:
    with pytest.raises(InvalidRequestError, match="empty or blank"):
        ScalewayRerank(**settings).rerank(["a"], " \n")
    with pytest.raises(InvalidRequestError, match="empty or blank"):
        LlamaIndexRerank(**settings).postprocess_nodes([NodeWithScore(node=TextNode(text="a"))], query_str=" ")
    assert server.connections == 0


def test_a_picture_passes_other_postprocessors(settings: dict[str, Any]) -> None:
    nodes = [NodeWithScore(node=ImageNode(image="aGk=")), NodeWithScore(node=TextNode(text="Oslo"))]
    ranked = LlamaIndexRerank(**settings).postprocess_nodes(nodes, query_str=QUERY)
    kept = SimilarityPostprocessor(similarity_cutoff=0.1).postprocess_nodes(ranked)
    assert [node.text for node in kept] == ["Oslo"]
