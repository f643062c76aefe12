"""Many texts in few requests, texts without words, and what a failing request says, in both frameworks."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from llama_index.core import VectorStoreIndex
from llama_index.core.ingestion import IngestionPipeline
from llama_index.core.schema import ImageNode, TextNode

from linkspan.errors import InvalidRequestError, InvalidResponseError, UnsupportedContentError
from linkspan.langchain import ScalewayEmbeddings
from linkspan.llama_index import ScalewayEmbedding
from tests.support.loopback import LoopbackServer, http
from tests.support.vectors import rounded, serve, vector_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tests.support.loopback import ReceivedRequest, Step

Embed = "Callable[..., list[list[float]]]"
TEXTS = [f"text number {number}" for number in range(4_500)]


def _langchain(texts: list[str], **settings: Any) -> list[list[float]]:
    return ScalewayEmbeddings(**settings).embed_documents(texts)


def _langchain_async(texts: list[str], **settings: Any) -> list[list[float]]:
    return asyncio.run(ScalewayEmbeddings(**settings).aembed_documents(texts))


def _llama_index(texts: list[str], **settings: Any) -> list[list[float]]:
    return ScalewayEmbedding(**settings).get_text_embedding_batch(texts)


def _llama_index_async(texts: list[str], **settings: Any) -> list[list[float]]:
    return asyncio.run(ScalewayEmbedding(**settings).aget_text_embedding_batch(texts))


@pytest.fixture(params=[_langchain, _langchain_async, _llama_index, _llama_index_async], ids=lambda way: way.__name__)
def embed(request: pytest.FixtureRequest) -> Callable[..., list[list[float]]]:
    return request.param


def sizes(server: LoopbackServer) -> list[int]:
    return sorted(len(request.json()["input"]) for request in server.requests)


def test_thousands_of_texts_take_three_requests(server: LoopbackServer, settings: dict[str, Any], embed: Any) -> None:
    vectors = embed(TEXTS, dimensions=16, **settings)
    assert sizes(server) == [404, 2048, 2048]
    assert len(vectors) == len(TEXTS)
    for place in (0, 2047, 2048, 4_499):
        assert vectors[place] == rounded(vector_of(TEXTS[place], 16))


def test_large_answers_are_read(server: LoopbackServer, settings: dict[str, Any], embed: Any) -> None:
    assert embed(TEXTS[:300], **settings) == [rounded(vector_of(text)) for text in TEXTS[:300]]
    assert sizes(server) == [300]
    server.respond = None
    server.always(http(body=b'{"data": [{"index": 0, "embedding": ["%s"]}]}' % (b"x" * 2_000_000)))
    with pytest.raises(InvalidResponseError, match="not a finite number"):
        embed(["a"], **settings)


def test_a_dedicated_deployment_takes_as_many_and_an_unknown_model_few(
    server: LoopbackServer, settings: dict[str, Any], embed: Any
) -> None:
    embed(TEXTS[:100], **{**settings, "model": "qwen/qwen3-embedding-8b:fp8"})
    assert sizes(server) == [100]
    server.requests.clear()
    embed(TEXTS[:100], **{**settings, "model": "bge-multilingual-gemma2"})
    assert sizes(server) == [4, 32, 32, 32]


def test_requests_are_bounded_by_size(server: LoopbackServer, settings: dict[str, Any], embed: Any) -> None:
    texts = ["small", "x" * 9_000_000, *(f"{number}é" * 900_000 for number in range(6)), "end"]
    assert embed(texts, **settings) == [vector_of(text) for text in texts]
    sent = [request.json()["input"] for request in server.requests]
    assert all(len(batch) == 1 or sum(len(text.encode()) for text in batch) <= 8 * 1024 * 1024 for batch in sent)
    assert sorted(map(len, sent)) == [1, 1, 3, 4]


@pytest.mark.parametrize("refusal", ["request", "answer"])
def test_what_is_too_large_is_sent_in_halves(settings: dict[str, Any], embed: Any, refusal: str) -> None:
    def respond(request: ReceivedRequest) -> Sequence[Step]:
        if refusal == "request" and len(request.json()["input"]) > 3:
            return [http(413, b"<html><title>413 Request Entity Too Large</title></html>")]
        return serve(request)

    limit = {"max_response_bytes": 6_000} if refusal == "answer" else {}
    with LoopbackServer(respond) as server:
        vectors = embed(TEXTS[:10], **{**settings, **limit, "base_url": f"{server.url}/v1"}, dimensions=200)
        assert vectors == [vector_of(text, 200) for text in TEXTS[:10]]
        assert sizes(server)[-1] == 10


def test_one_text_that_is_too_large_is_an_error(settings: dict[str, Any], embed: Any) -> None:
    with pytest.raises(InvalidResponseError, match="raise max_response_bytes"):
        embed(TEXTS[:2], **settings, max_response_bytes=50)


def test_a_failing_request_names_its_texts(settings: dict[str, Any], embed: Any) -> None:
    def respond(request: ReceivedRequest) -> Sequence[Step]:
        if TEXTS[25] in request.json()["input"]:
            return [http(400, b'{"error": {"message": "no"}}')]
        return serve(request)

    with LoopbackServer(respond) as server:
        size = {"chunk_size": 10} if "langchain" in embed.__name__ else {"embed_batch_size": 10}
        with pytest.raises(InvalidRequestError, match=r"texts 20 to 29 of 40, counted from 0"):
            embed(TEXTS[:40], **{**settings, "base_url": f"{server.url}/v1"}, **size)


# ------------------------------------------------------------------ texts without words


@pytest.mark.parametrize("blank", ["", " ", "\n\t\u00a0"])
def test_texts_without_words_are_named_before_anything_is_sent(
    server: LoopbackServer, settings: dict[str, Any], embed: Any, blank: str
) -> None:
    with pytest.raises(InvalidRequestError, match=r"text 1 of 2 is empty or blank.*blank_texts"):
        embed(["a", blank], **settings)
    with pytest.raises(InvalidRequestError, match=r"2 of 4 texts are empty or blank \(places 1, 3\)"):
        embed(["a", blank, "b", blank], **settings)
    assert server.connections == 0


def test_zeros_keep_vectors_in_line(server: LoopbackServer, settings: dict[str, Any], embed: Any) -> None:
    vectors = embed(["", "a", " ", "b", ""], blank_texts="zeros", **settings)
    nothing = [0.0] * 256
    assert vectors == [nothing, vector_of("a"), nothing, vector_of("b"), nothing]
    assert server.requests[0].json()["input"] == ["a", "b"]


@pytest.mark.parametrize("is_async", [False, True])
def test_a_batch_of_texts_without_words_has_the_length_of_the_others(
    server: LoopbackServer, settings: dict[str, Any], is_async: bool
) -> None:
    model = ScalewayEmbedding(embed_batch_size=2, blank_texts="zeros", **settings)
    texts = ["", " ", "a", "", " ", "", " ", "b", "c"]
    vectors = asyncio.run(model.aget_text_embedding_batch(texts)) if is_async else model.get_text_embedding_batch(texts)
    nothing = [0.0] * 256
    assert vectors == [vector_of(text) if text.strip() else nothing for text in texts]
    assert sizes(server) == [1, 2]


def test_texts_of_an_iterator_are_all_embedded(settings: dict[str, Any], embed: Any) -> None:
    assert embed((text for text in TEXTS[:3]), **settings) == [vector_of(text) for text in TEXTS[:3]]
    with pytest.raises(UnsupportedContentError, match="not a single NoneType"):
        embed(None, **settings)


def test_zeros_need_a_length(server: LoopbackServer, settings: dict[str, Any], embed: Any) -> None:
    assert embed(["", " "], blank_texts="zeros", dimensions=3, **settings) == [[0.0] * 3] * 2
    with pytest.raises(InvalidRequestError, match="dimensions"):
        embed(["", " "], blank_texts="zeros", **settings)
    assert server.connections == 0


@pytest.mark.parametrize("is_async", [False, True])
def test_a_pipeline_gives_a_picture_no_vector(settings: dict[str, Any], is_async: bool) -> None:
    nodes = [TextNode(text="Oslo"), ImageNode(image="aGk="), TextNode(text=" \n"), TextNode(text="Rome")]
    pipeline = IngestionPipeline(transformations=[ScalewayEmbedding(**settings)])
    done = asyncio.run(pipeline.arun(nodes=nodes)) if is_async else pipeline.run(nodes=nodes)
    assert [node.embedding for node in done] == [vector_of("Oslo"), None, None, vector_of("Rome")]


def test_an_index_is_built_beside_a_picture(settings: dict[str, Any]) -> None:
    nodes = [ImageNode(image="aGk="), TextNode(text="Oslo is cold"), TextNode(text="Rome is warm")]
    index = VectorStoreIndex(nodes=nodes, embed_model=ScalewayEmbedding(**settings), show_progress=True)
    assert [found.text for found in index.as_retriever(similarity_top_k=1).retrieve("warm Rome")] == ["Rome is warm"]
