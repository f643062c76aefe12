"""Embeddings and rerank in both frameworks over recordings of vLLM with an embedding model.

vLLM ranks with an embedding model as Scaleway does: by the cosine of the vectors.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest
from langchain_core.documents import Document
from llama_index.core.schema import NodeWithScore, TextNode

from linkspan.langchain import ScalewayEmbeddings, ScalewayRerank
from linkspan.langchain.errors import InvalidRequestError
from llama_index.embeddings.scaleway import ScalewayEmbedding
from llama_index.postprocessor.scaleway_rerank import ScalewayRerank as NodeRerank
from tests.cassettes.constructors import connection

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.cassettes.tape import Tape

pytestmark = pytest.mark.recorded_from("vllm-vectors")

TEXTS = ["Oslo is the capital of Norway.", "A ferry carries cars across the water.", "Bread is baked in an oven."]
QUERY = "Which boat takes my car?"
FERRY = 1


def cosine(one: Sequence[float], other: Sequence[float]) -> float:
    lengths = math.sqrt(sum(x * x for x in one)) * math.sqrt(sum(x * x for x in other))
    return sum(x * y for x, y in zip(one, other, strict=True)) / lengths


def nearest(query: Sequence[float], vectors: Sequence[Sequence[float]]) -> int:
    return max(range(len(vectors)), key=lambda place: cosine(query, vectors[place]))


# ---------------------------------------------------------------------- embeddings


def test_langchain_embed(tape: Tape) -> None:
    embedded = ScalewayEmbeddings(**connection(tape)).embed(TEXTS)
    assert embedded.vectors == [item["embedding"] for item in tape.body["data"]]
    assert len(embedded.vectors) == len(TEXTS)
    assert embedded.usage is not None
    assert embedded.usage.input_tokens == tape.body["usage"]["prompt_tokens"] > 0
    assert embedded.model == tape.body["model"]
    assert embedded.request_id == tape.request_id
    assert set(tape.request) == {"model", "input"}


def test_langchain_documents_and_query(tape: Tape) -> None:
    """The vectors mean something: the query is nearest to the text that answers it, in requests of two texts each."""
    embeddings = ScalewayEmbeddings(**connection(tape), chunk_size=2, max_concurrency=1)
    vectors = embeddings.embed_documents(TEXTS)
    assert nearest(embeddings.embed_query(QUERY), vectors) == FERRY
    assert [request["input"] for request in tape.requests] == [TEXTS[:2], TEXTS[2:], [QUERY]]
    assert vectors == [item["embedding"] for body in tape.bodies[:2] for item in body["data"]]


async def test_langchain_documents_and_query_async(tape: Tape) -> None:
    embeddings = ScalewayEmbeddings(**connection(tape))
    vectors = await embeddings.aembed_documents(TEXTS)
    assert nearest(await embeddings.aembed_query(QUERY), vectors) == FERRY


def test_langchain_as_base64(tape: Tape) -> None:
    """Asked for base64, the same vectors come as text and are read as numbers."""
    plain = ScalewayEmbeddings(**connection(tape)).embed_query(QUERY)
    packed = ScalewayEmbeddings(**connection(tape), extra_body={"encoding_format": "base64"}).embed_query(QUERY)
    first, second = tape.bodies
    assert isinstance(first["data"][0]["embedding"], list)
    assert isinstance(second["data"][0]["embedding"], str)
    assert packed == pytest.approx(plain, abs=1e-6)


@pytest.mark.never_live("Scaleway's embedding model has a choice of lengths")
def test_langchain_a_length_that_the_model_does_not_have(tape: Tape) -> None:
    with pytest.raises(InvalidRequestError, match="dimensions") as caught:
        ScalewayEmbeddings(**connection(tape), dimensions=32).embed_query(QUERY)
    assert caught.value.status_code == tape.status == 400
    assert QUERY not in str(caught.value)
    assert tape.request["dimensions"] == 32


def test_llama_index_batch_and_query(tape: Tape) -> None:
    embedding = ScalewayEmbedding(**connection(tape))
    vectors = embedding.get_text_embedding_batch(TEXTS)
    assert vectors == [item["embedding"] for item in tape.bodies[0]["data"]]
    assert nearest(embedding.get_query_embedding(QUERY), vectors) == FERRY


async def test_llama_index_batch_and_query_async(tape: Tape) -> None:
    embedding = ScalewayEmbedding(**connection(tape), query_instruction="Query: ")
    vectors = await embedding.aget_text_embedding_batch(TEXTS)
    assert nearest(await embedding.aget_query_embedding(QUERY), vectors) == FERRY
    assert [request["input"] for request in tape.requests] == [TEXTS, [f"Query: {QUERY}"]]


# ---------------------------------------------------------------------- rerank


def ranking(tape: Tape) -> list[tuple[int, float]]:
    return [(result["index"], result["relevance_score"]) for result in tape.body["results"]]


def test_langchain_rerank(tape: Tape) -> None:
    documents = [Document(text, metadata={"place": place}) for place, text in enumerate(TEXTS)]
    best = ScalewayRerank(**connection(tape), top_n=2).compress_documents(documents, QUERY)
    found = [(document.metadata["place"], document.metadata["relevance_score"]) for document in best]
    assert found == ranking(tape)
    assert found[0][0] == FERRY
    assert found[0][1] > found[1][1]
    assert [document.metadata for document in documents] == [{"place": 0}, {"place": 1}, {"place": 2}]
    assert tape.request["top_n"] == 2


async def test_langchain_arerank(tape: Tape) -> None:
    results = await ScalewayRerank(**connection(tape)).arerank(TEXTS, QUERY)
    assert [(result["index"], result["relevance_score"]) for result in results] == ranking(tape)
    assert sorted(result["index"] for result in results) == [0, 1, 2]
    assert results[0]["index"] == FERRY


def nodes() -> list[NodeWithScore]:
    return [NodeWithScore(node=TextNode(text=text, id_=str(place))) for place, text in enumerate(TEXTS)]


def test_llama_index_rerank(tape: Tape) -> None:
    best = NodeRerank(**connection(tape), top_n=2).postprocess_nodes(nodes(), query_str=QUERY)
    assert [(int(found.node.node_id), found.score) for found in best] == ranking(tape)
    assert best[0].node.node_id == str(FERRY)


async def test_llama_index_rerank_async(tape: Tape) -> None:
    best = await NodeRerank(**connection(tape)).apostprocess_nodes(nodes(), query_str=QUERY)
    assert [(int(found.node.node_id), found.score) for found in best] == ranking(tape)
    assert len(best) == len(TEXTS)
