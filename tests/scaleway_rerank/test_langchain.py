"""ScalewayRerank as LangChain uses it, over real sockets."""

from __future__ import annotations

import asyncio
import copy
import pickle
from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.documents import Document
from langchain_core.exceptions import ModelRateLimitError

from linkspan.errors import (
    ConfigurationError,
    InvalidRequestError,
    InvalidResponseError,
    RateLimitError,
    UnsupportedContentError,
)
from linkspan.langchain import ScalewayRerank
from tests.scaleway_rerank.conftest import KEY, MODEL
from tests.support.loopback import http

if TYPE_CHECKING:
    from tests.support.loopback import LoopbackServer

QUERY = "Oslo Norway"
TEXTS = ["Rome is in Italy", "Norway is north", "Oslo is in Norway"]


def test_texts_are_ranked_best_first(server: LoopbackServer, settings: dict[str, Any]) -> None:
    reranker = ScalewayRerank(**settings)
    ranked = reranker.rerank(TEXTS, QUERY)
    assert [result["index"] for result in ranked] == [2, 1, 0]
    assert ranked[0]["relevance_score"] > ranked[1]["relevance_score"] > ranked[2]["relevance_score"] == 0
    assert asyncio.run(reranker.arerank(TEXTS, QUERY)) == ranked
    request = server.requests[0]
    assert (request.path, request.json()) == (
        "/v1/rerank",
        {"model": MODEL, "query": QUERY, "documents": TEXTS},
    )


def test_top_n_is_sent_and_never_above_the_number_of_documents(
    server: LoopbackServer, settings: dict[str, Any]
) -> None:
    reranker = ScalewayRerank(**settings, top_n=2)
    assert [result["index"] for result in reranker.rerank(TEXTS, QUERY)] == [2, 1]
    assert [result["index"] for result in reranker.rerank(TEXTS, QUERY, top_n=1)] == [2]
    assert len(reranker.rerank(TEXTS[:1], QUERY)) == 1
    assert [request.json()["top_n"] for request in server.requests] == [2, 1, 1]


def test_documents_are_copied_with_their_score(settings: dict[str, Any]) -> None:
    documents = [Document(text, id=str(n), metadata={"n": n}) for n, text in enumerate(TEXTS)]
    reranker = ScalewayRerank(**settings, top_n=2)
    best = reranker.compress_documents(documents, QUERY)
    assert [(document.id, document.metadata["n"]) for document in best] == [("2", 2), ("1", 1)]
    assert best[0].metadata["relevance_score"] > best[1].metadata["relevance_score"]
    assert [document.metadata for document in documents] == [{"n": 0}, {"n": 1}, {"n": 2}]
    assert asyncio.run(reranker.acompress_documents(documents, QUERY)) == best


def test_no_documents_no_request(server: LoopbackServer, settings: dict[str, Any]) -> None:
    reranker = ScalewayRerank(**settings)
    assert reranker.compress_documents([], QUERY) == []
    assert asyncio.run(reranker.acompress_documents([], QUERY)) == []
    assert server.connections == 0


def test_bad_input_is_refused_before_the_network(server: LoopbackServer, settings: dict[str, Any]) -> None:
    reranker = ScalewayRerank(**settings)
    with pytest.raises(InvalidRequestError, match="query to rerank by is empty"):
        reranker.rerank(TEXTS, "")
    with pytest.raises(UnsupportedContentError, match="document 1 is of type int"):
        reranker.rerank(["a", 1], QUERY)  # type: ignore[list-item]  # what is wrong here
    with pytest.raises(UnsupportedContentError, match="not a single string"):
        reranker.rerank("a text", QUERY)
    with pytest.raises(InvalidRequestError, match="top_n=0"):
        reranker.rerank(TEXTS, QUERY, top_n=0)
    for wrong in (True, "2", 1.5):
        with pytest.raises(InvalidRequestError, match="is no whole number"):
            reranker.rerank(TEXTS, QUERY, top_n=wrong)  # type: ignore[arg-type]
    assert server.connections == 0


@pytest.mark.parametrize(
    ("results", "said"),
    [
        ('[{"index": 0, "relevance_score": 1}]', "2 of 2 documents were requested, but the answer holds 1"),
        ("null", "no list of results"),
        ('[{"index": 0, "relevance_score": 1}, {"index": 0, "relevance_score": 1}]', "index 0 .*twice"),
        ('[{"index": 0, "relevance_score": 1}, {"index": 2, "relevance_score": 1}]', "index 2"),
        ('[{"index": 0, "relevance_score": NaN}, {"index": 1, "relevance_score": 1}]', "document 0"),
        ('[{"index": 0, "relevance_score": 1}, {"index": 1}]', "document 1"),
        ("[1, 2]", "index None is missing"),
    ],
)
def test_wrong_answers_are_errors(settings: dict[str, Any], server: LoopbackServer, results: str, said: str) -> None:
    server.respond = None
    server.always(http(body=b'{"results": %s}' % results.encode()))
    with pytest.raises(InvalidResponseError, match=said):
        ScalewayRerank(**settings).rerank(["a", "b"], QUERY)


def test_errors_are_those_of_langchain_and_linkspan(settings: dict[str, Any], server: LoopbackServer) -> None:
    server.respond = None
    server.always(http(429, b'{"status": 429, "error": "INSUFFICIENT QUOTA", "message": "slow down"}'))
    reranker = ScalewayRerank(**settings)
    with pytest.raises(ModelRateLimitError, match="slow down") as caught:
        reranker.rerank(TEXTS, QUERY)
    assert isinstance(caught.value, RateLimitError)
    with pytest.raises(ModelRateLimitError, match="slow down"):
        asyncio.run(reranker.arerank(TEXTS, QUERY))


def test_construction(settings: dict[str, Any]) -> None:
    assert ScalewayRerank(api_key=KEY).model == "qwen3-embedding-8b"
    with pytest.raises(ConfigurationError, match="Did you mean 'top_n'"):
        ScalewayRerank(api_key=KEY, topn=3)
    reranker = ScalewayRerank(**settings)
    assert KEY not in repr(reranker) + str(reranker.model_dump())
    ranked = reranker.rerank(TEXTS, QUERY)
    for twin in (pickle.loads(pickle.dumps(reranker)), copy.deepcopy(reranker)):
        assert twin.rerank(TEXTS, QUERY) == ranked
