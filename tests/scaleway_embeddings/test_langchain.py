"""ScalewayEmbeddings as LangChain uses it, over real sockets."""

from __future__ import annotations

import asyncio
import copy
import json
import pickle
import threading
from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.exceptions import ModelRateLimitError
from langchain_core.vectorstores import InMemoryVectorStore
from langchain_tests.unit_tests import EmbeddingsUnitTests

from linkspan.errors import (
    ConfigurationError,
    InvalidRequestError,
    InvalidResponseError,
    PermissionDeniedError,
    RateLimitError,
    UnsupportedContentError,
)
from linkspan.langchain import ScalewayEmbeddings
from tests.scaleway_embeddings.conftest import KEY, MODEL
from tests.support.loopback import PATIENCE, LoopbackServer, Until, http
from tests.support.vectors import rounded, serve, vector_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from langchain_core.embeddings import Embeddings

    from tests.support.loopback import ReceivedRequest, Step

TEXTS = [f"text number {n}" for n in range(10)]


def embed_all(embeddings: ScalewayEmbeddings, texts: list[str], way: str) -> list[list[float]]:
    if way == "sync":
        return embeddings.embed_documents(texts)
    return asyncio.run(embeddings.aembed_documents(texts))


class TestStandard(EmbeddingsUnitTests):
    @property
    def embeddings_class(self) -> type[Embeddings]:
        return ScalewayEmbeddings

    @property
    def embedding_model_params(self) -> dict[str, Any]:
        return {"model": MODEL, "api_key": KEY}

    @property
    def init_from_env_params(self) -> tuple[dict[str, str], dict[str, Any], dict[str, Any]]:
        return {"SCW_SECRET_KEY": "env-key"}, {"model": MODEL}, {"api_key": "env-key"}


def test_documents_keep_their_order_over_batches(server: LoopbackServer, settings: dict[str, Any]) -> None:
    embeddings = ScalewayEmbeddings(**settings, chunk_size=3)
    expected = [vector_of(text) for text in TEXTS]
    assert embeddings.embed_documents(TEXTS) == expected
    assert asyncio.run(embeddings.aembed_documents(TEXTS)) == expected
    assert sorted(len(request.json()["input"]) for request in server.requests) == [1, 1, 3, 3, 3, 3, 3, 3]
    assert {request.path for request in server.requests} == {"/v1/embeddings"}
    assert {request.headers["authorization"] for request in server.requests} == {f"Bearer {KEY}"}


def test_body_holds_what_was_set_and_nothing_else(server: LoopbackServer, settings: dict[str, Any]) -> None:
    ScalewayEmbeddings(**settings).embed_query("one\ntwo")
    ScalewayEmbeddings(**settings, dimensions=32, extra_body={"user": "u"}).embed_query("x")
    assert [request.json() for request in server.requests] == [
        {"model": MODEL, "input": ["one\ntwo"]},
        {"model": MODEL, "input": ["x"], "dimensions": 32, "user": "u"},
    ]


def test_instructions_go_before_queries_and_documents(server: LoopbackServer, settings: dict[str, Any]) -> None:
    embeddings = ScalewayEmbeddings(**settings, query_instruction="Query: ", document_instruction="Passage: ")
    embeddings.embed_query("a")
    embeddings.embed_documents(["b"])
    asyncio.run(embeddings.aembed_query("a"))
    asyncio.run(embeddings.aembed_documents(["b"]))
    sent = [request.json()["input"] for request in server.requests]
    assert sent == [["Query: a"], ["Passage: b"]] * 2


def test_base64_answers_are_read(settings: dict[str, Any]) -> None:
    embeddings = ScalewayEmbeddings(**settings, extra_body={"encoding_format": "base64"})
    assert embeddings.embed_query("Oslo is cold") == rounded(vector_of("Oslo is cold"))


def test_usage_is_summed_over_batches(settings: dict[str, Any]) -> None:
    embedded = ScalewayEmbeddings(**settings, chunk_size=4).embed(TEXTS)
    assert embedded.usage is not None
    assert (embedded.usage.input_tokens, embedded.usage.total_tokens) == (30, 30)
    assert embedded.model == MODEL
    single = asyncio.run(ScalewayEmbeddings(**settings).aembed(["a b"]))
    assert single.request_id == "req-1"


def test_empty_list_sends_nothing(server: LoopbackServer, settings: dict[str, Any]) -> None:
    embeddings = ScalewayEmbeddings(**settings)
    assert embeddings.embed_documents([]) == []
    assert asyncio.run(embeddings.aembed_documents([])) == []
    assert server.connections == 0


@pytest.mark.parametrize(
    ("texts", "error", "said"),
    [
        (["a", ""], InvalidRequestError, "text 1 of 2 is empty"),
        (["a", 7], UnsupportedContentError, "item 1 is of type int"),
        ([[1, 2, 3]], UnsupportedContentError, "item 0 is of type list"),
        ("abc", UnsupportedContentError, "not a single str"),
    ],
)
def test_what_cannot_be_embedded_is_refused_before_the_network(
    server: LoopbackServer, settings: dict[str, Any], texts: Any, error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        ScalewayEmbeddings(**settings).embed_documents(texts)
    with pytest.raises(error, match=said):
        asyncio.run(ScalewayEmbeddings(**settings).aembed_documents(texts))
    assert server.connections == 0


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ('{"data": [{"index": 0, "embedding": [1]}]}', "2 texts were sent, but the answer holds 1 embeddings"),
        ('{"object": "list"}', "no list of embeddings"),
        ('{"data": [{"index": 0, "embedding": [1]}, {"index": 0, "embedding": [2]}]}', "occurs twice"),
        ('{"data": [{"index": 0, "embedding": [1]}, {"index": 2, "embedding": [2]}]}', "index 2"),
        ('{"data": [{"index": 0, "embedding": [1]}, {"index": 1, "embedding": [NaN]}]}', "embedding 1 .*finite"),
        ('{"data": [{"index": 0, "embedding": [null]}, {"index": 1, "embedding": [1]}]}', "embedding 0 .*finite"),
        ('{"data": [{"index": 0, "embedding": []}, {"index": 1, "embedding": [1]}]}', "embedding 0 .*no vector"),
        ('{"data": [{"index": 0, "embedding": "AAA"}, {"index": 1, "embedding": [1]}]}', "not base64"),
        ('{"data": [{"index": 0, "embedding": [1, 2]}, {"index": 1, "embedding": [1]}]}', "differ in length"),
        ("[]", "not an object"),
        ("<html>", "not JSON"),
    ],
)
def test_wrong_answers_are_errors(settings: dict[str, Any], server: LoopbackServer, answer: str, said: str) -> None:
    server.respond = None
    server.always(http(body=answer.encode()))
    with pytest.raises(InvalidResponseError, match=said):
        ScalewayEmbeddings(**settings).embed_documents(["a", "b"])


def test_a_length_that_was_not_asked_for_is_an_error(settings: dict[str, Any], server: LoopbackServer) -> None:
    server.respond = None
    server.always(http(body=b'{"data": [{"index": 0, "embedding": [1, 2, 3]}]}'))
    with pytest.raises(InvalidResponseError, match="dimensions=2 was requested, but the embeddings have 3"):
        ScalewayEmbeddings(**settings, dimensions=2).embed_query("a")


def test_errors_are_those_of_langchain_and_linkspan(settings: dict[str, Any], server: LoopbackServer) -> None:
    server.respond = None
    server.always(http(429, json.dumps({"status": 429, "error": "INSUFFICIENT QUOTA", "message": KEY}).encode()))
    embeddings = ScalewayEmbeddings(**settings)
    with pytest.raises(ModelRateLimitError) as caught:
        embeddings.embed_query("a secret text")
    assert isinstance(caught.value, RateLimitError)
    with pytest.raises(RateLimitError):
        asyncio.run(embeddings.aembed_query("a secret text"))
    for shown in (str(caught.value), repr(caught.value)):
        assert KEY not in shown
        assert "a secret text" not in shown


def test_an_error_under_status_200_is_one(settings: dict[str, Any], server: LoopbackServer) -> None:
    server.respond = None
    server.always(http(body=json.dumps({"error": {"message": f"key {KEY} may not", "code": 403}}).encode()))
    with pytest.raises(PermissionDeniedError, match="set project_id") as caught:
        ScalewayEmbeddings(**settings).embed_query("a")
    assert KEY not in str(caught.value)


@pytest.mark.parametrize("way", ["sync", "async"])
def test_concurrency_is_used_and_bounded(settings: dict[str, Any], way: str) -> None:
    three_are_in, lock, inside, most = threading.Event(), threading.Lock(), 0, 0

    def respond(request: ReceivedRequest) -> Sequence[Step]:
        nonlocal inside, most
        with lock:
            inside += 1
            most = max(most, inside)
            if inside == 3:
                three_are_in.set()
        assert three_are_in.wait(PATIENCE), "the requests did not overlap"
        with lock:
            inside -= 1
        return serve(request)

    with LoopbackServer(respond) as server:
        fields = {**settings, "base_url": f"{server.url}/v1"}
        embeddings = ScalewayEmbeddings(**fields, chunk_size=1, max_concurrency=3)
        vectors = embed_all(embeddings, TEXTS, way)
    assert vectors == [vector_of(text) for text in TEXTS]
    assert most == 3


@pytest.mark.parametrize("way", ["sync", "async"])
def test_the_first_error_ends_the_whole(settings: dict[str, Any], way: str) -> None:
    failed, never = threading.Event(), threading.Event()

    def respond(request: ReceivedRequest) -> Sequence[Step]:
        if request.json()["input"] == [TEXTS[0]]:
            failed.set()
            return [http(400, b'{"error": {"message": "no"}}')]
        # Async calls under way are cancelled, so the client leaves; sync ones get their answer once the error is out.
        return [Until(failed if way == "sync" else never), *serve(request)]

    with LoopbackServer(respond) as server:
        fields = {**settings, "base_url": f"{server.url}/v1"}
        embeddings = ScalewayEmbeddings(**fields, chunk_size=1, max_concurrency=2)
        with pytest.raises(InvalidRequestError, match="no"):
            embed_all(embeddings, TEXTS * 20, way)
        assert len(server.requests) < 100


def test_vector_store_finds_what_is_alike(settings: dict[str, Any]) -> None:
    store = InMemoryVectorStore(ScalewayEmbeddings(**settings))
    store.add_texts(["Paris is in France", "Oslo is in Norway", "Rome is in Italy"])
    assert [found.page_content for found in store.similarity_search("Norway Oslo", k=1)] == ["Oslo is in Norway"]
    found = asyncio.run(store.asimilarity_search("France Paris", k=1))
    assert [document.page_content for document in found] == ["Paris is in France"]


def test_key_is_not_shown_and_survives_pickle_and_copies(settings: dict[str, Any]) -> None:
    embeddings = ScalewayEmbeddings(**settings)
    vector = embeddings.embed_query("Oslo")
    assert KEY not in repr(embeddings) + str(embeddings) + str(embeddings.model_dump())
    for twin in (pickle.loads(pickle.dumps(embeddings)), copy.deepcopy(embeddings), copy.copy(embeddings)):
        assert twin.embed_query("Oslo") == vector
        twin.close()
    assert embeddings.embed_query("Oslo") == vector


def test_a_change_of_address_is_followed(settings: dict[str, Any], server: LoopbackServer) -> None:
    embeddings = ScalewayEmbeddings(**settings)
    embeddings.embed_query("a")
    embeddings.base_url = f"{server.url}/v2"
    embeddings.embed_query("a")
    assert [request.path for request in server.requests] == ["/v1/embeddings", "/v2/embeddings"]


def test_wrong_arguments_are_named() -> None:
    with pytest.raises(ConfigurationError, match=r"'dimension'.* Did you mean 'dimensions'"):
        ScalewayEmbeddings(model=MODEL, api_key=KEY, dimension=3)
    with pytest.raises(ConfigurationError, match="needs a key"):
        ScalewayEmbeddings(model=MODEL)
    with pytest.raises(ConfigurationError, match="http"):
        ScalewayEmbeddings(model=MODEL, api_key=KEY, base_url="http://api.example.com/v1")
    with pytest.raises(ConfigurationError, match="not both"):
        ScalewayEmbeddings(model=MODEL, api_key=KEY, base_url="https://a.example/v1", project_id="p")
    for field in ("chunk_size", "max_concurrency", "dimensions"):
        with pytest.raises(ValueError, match=field):
            ScalewayEmbeddings(model=MODEL, api_key=KEY, **{field: 0})
