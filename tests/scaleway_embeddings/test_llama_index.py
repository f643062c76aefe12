"""ScalewayEmbedding as LlamaIndex uses it, over real sockets."""

from __future__ import annotations

import asyncio
import copy
import pickle
import threading
from typing import TYPE_CHECKING, Any

import pytest
from llama_index.core import Document, VectorStoreIndex

from linkspan.errors import ConfigurationError, InvalidRequestError, RateLimitError
from linkspan.llama_index import ScalewayEmbedding
from llama_index.embeddings.scaleway import ScalewayEmbedding as Leaf
from tests.scaleway_embeddings.conftest import KEY, MODEL
from tests.support.loopback import PATIENCE, LoopbackServer, http
from tests.support.vectors import serve, vector_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.support.loopback import ReceivedRequest, Step

TEXTS = [f"text number {n}" for n in range(10)]


def test_leaf_package_is_the_same_class() -> None:
    assert Leaf is ScalewayEmbedding


def test_batches_keep_their_order(server: LoopbackServer, settings: dict[str, Any]) -> None:
    model = ScalewayEmbedding(**settings, chunk_size=3, embed_batch_size=7)
    expected = [vector_of(text) for text in TEXTS]
    assert model.get_text_embedding_batch(TEXTS) == expected
    assert asyncio.run(model.aget_text_embedding_batch(TEXTS)) == expected
    assert sorted(len(request.json()["input"]) for request in server.requests) == [1, 1, 3, 3, 3, 3, 3, 3]


def test_text_is_sent_as_it_is_with_its_instruction(server: LoopbackServer, settings: dict[str, Any]) -> None:
    model = ScalewayEmbedding(**settings, query_instruction="Q:\n", text_instruction="T: ", dimensions=16)

    async def in_a_loop() -> list[list[float]]:
        return [await model.aget_query_embedding("a\nb"), await model.aget_text_embedding("c\nd")]

    vectors = [model.get_query_embedding("a\nb"), model.get_text_embedding("c\nd")]
    assert asyncio.run(in_a_loop()) == vectors
    assert {len(vector) for vector in vectors} == {16}
    body = {"model": MODEL, "dimensions": 16}
    expected = [{**body, "input": ["Q:\na\nb"]}, {**body, "input": ["T: c\nd"]}]
    assert [request.json() for request in server.requests] == expected * 2


def test_async_concurrency_is_bounded_over_all_batches(settings: dict[str, Any]) -> None:
    two_are_in, lock, inside, most = threading.Event(), threading.Lock(), 0, 0

    def respond(request: ReceivedRequest) -> Sequence[Step]:
        nonlocal inside, most
        with lock:
            inside += 1
            most = max(most, inside)
            if inside == 2:
                two_are_in.set()
        assert two_are_in.wait(PATIENCE), "the requests did not overlap"
        with lock:
            inside -= 1
        return serve(request)

    with LoopbackServer(respond) as server:
        fields = {**settings, "base_url": f"{server.url}/v1"}
        # LlamaIndex starts all pieces of embed_batch_size texts at once.
        model = ScalewayEmbedding(**fields, chunk_size=1, embed_batch_size=1, max_concurrency=2)
        assert asyncio.run(model.aget_text_embedding_batch(TEXTS)) == [vector_of(text) for text in TEXTS]
        assert asyncio.run(model.aget_text_embedding_batch(TEXTS)) == [vector_of(text) for text in TEXTS]
    assert most == 2


def test_empty_list_sends_nothing_and_usage_is_kept(server: LoopbackServer, settings: dict[str, Any]) -> None:
    model = ScalewayEmbedding(**settings)
    assert model.get_text_embedding_batch([]) == []
    assert asyncio.run(model.aget_text_embedding_batch([])) == []
    assert server.connections == 0
    usage = model.embed(["a b", "c"]).usage
    assert usage is not None
    assert usage.total_tokens == 3


def test_errors_keep_their_class(settings: dict[str, Any], server: LoopbackServer) -> None:
    model = ScalewayEmbedding(**settings)
    with pytest.raises(InvalidRequestError, match="text 0 of 1 is empty"):
        model.get_text_embedding("")
    server.respond = None
    server.always(http(429, b'{"status": 429, "error": "INSUFFICIENT QUOTA", "message": "slow down"}'))
    with pytest.raises(RateLimitError, match="slow down"):
        model.get_query_embedding("a")
    with pytest.raises(RateLimitError, match="slow down"):
        asyncio.run(model.aget_text_embedding_batch(TEXTS))


def test_index_finds_what_is_alike(settings: dict[str, Any]) -> None:
    documents = [Document(text=text) for text in ("Paris is in France", "Oslo is in Norway", "Rome is in Italy")]
    index = VectorStoreIndex.from_documents(documents, embed_model=ScalewayEmbedding(**settings))
    retriever = index.as_retriever(similarity_top_k=1)
    assert [found.text for found in retriever.retrieve("Norway Oslo")] == ["Oslo is in Norway"]
    assert [found.text for found in asyncio.run(retriever.aretrieve("Italy Rome"))] == ["Rome is in Italy"]


def test_key_is_not_shown_and_survives_pickle_and_copies(settings: dict[str, Any]) -> None:
    model = ScalewayEmbedding(**settings, default_headers={"x-secret": "hidden"}, dimensions=8)
    vector = model.get_query_embedding("Oslo")
    shown = repr(model) + str(model) + str(model.to_dict()) + model.to_json() + str(model.to_payload())
    assert KEY not in shown
    assert "hidden" not in shown
    for twin in (pickle.loads(pickle.dumps(model)), copy.deepcopy(model), copy.copy(model)):
        assert twin.get_query_embedding("Oslo") == vector
        assert asyncio.run(twin.aget_query_embedding("Oslo")) == vector


def test_round_trip_through_a_dict(settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCW_SECRET_KEY", KEY)
    model = ScalewayEmbedding(**settings, dimensions=8)
    assert ScalewayEmbedding.from_dict(model.to_dict()).get_query_embedding("a") == model.get_query_embedding("a")


def test_model_has_two_names_and_one_value(settings: dict[str, Any]) -> None:
    del settings["model"]
    model = ScalewayEmbedding(**settings, model_name=MODEL)
    assert (model.model, model.model_name) == (MODEL, MODEL)
    model.model = "other"
    assert model.model_name == "other"
    with pytest.raises(ConfigurationError, match="two names"):
        ScalewayEmbedding(**settings, model="a", model_name="b")
    with pytest.raises(ConfigurationError, match="model: Field required"):
        ScalewayEmbedding(**settings)


def test_wrong_arguments_are_named(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="Did you mean 'dimensions'"):
        ScalewayEmbedding(**settings, dimension=3)
    with pytest.raises(ConfigurationError, match="chunk_size"):
        ScalewayEmbedding(**settings, chunk_size=0)
    with pytest.raises(ConfigurationError, match="needs a key"):
        ScalewayEmbedding(model=MODEL)
