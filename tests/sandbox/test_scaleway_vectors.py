"""The sandbox's embeddings and rerank routes, through linkspan's own classes and without them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx
import pytest

from linkspan.langchain import ScalewayEmbeddings, ScalewayRerank
from linkspan.sandbox import Sandbox, run

if TYPE_CHECKING:
    from collections.abc import Iterator

TEXTS = ["Oslo is in Norway", "Rome is in Italy"]
MODEL = "qwen3-embedding-8b"


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with run(api_key="right-key") as running:
        yield running


def settings(sandbox: Sandbox) -> dict[str, Any]:
    return {"model": MODEL, "api_key": sandbox.api_key, "base_url": sandbox.scaleway_url, "max_retries": 0}


def post(sandbox: Sandbox, route: str, body: Any, key: str = "right-key") -> httpx.Response:
    return httpx.post(f"{sandbox.scaleway_url}/{route}", json=body, headers={"Authorization": f"Bearer {key}"})


def test_same_text_same_vector_also_as_base64(sandbox: Sandbox) -> None:
    numbers = ScalewayEmbeddings(**settings(sandbox), dimensions=64)
    packed = ScalewayEmbeddings(**settings(sandbox), dimensions=64, extra_body={"encoding_format": "base64"})
    first = numbers.embed_documents(TEXTS)
    assert numbers.embed_documents(TEXTS[::-1]) == first[::-1]
    assert packed.embed_documents(TEXTS) == [pytest.approx(vector) for vector in first]
    assert [len(vector) for vector in first] == [64, 64]
    assert sum(value * value for value in first[0]) == pytest.approx(1)
    assert len(ScalewayEmbeddings(**settings(sandbox)).embed_query("x")) == 4096


def test_rerank_prefers_shared_words(sandbox: Sandbox) -> None:
    ranked = ScalewayRerank(**settings(sandbox)).rerank(TEXTS, "Rome in Italy")
    assert [result["index"] for result in ranked] == [1, 0]
    assert post(sandbox, "rerank", {"model": MODEL, "query": "Rome", "documents": TEXTS, "top_n": 1}).json()["results"][
        0
    ]["document"] == {"text": TEXTS[1], "multi_modal": None}


@pytest.mark.parametrize(
    ("route", "body", "status"),
    [
        ("embeddings", {"model": MODEL, "input": []}, 400),
        ("embeddings", {"model": MODEL, "input": [""]}, 400),
        ("embeddings", {"model": MODEL, "input": [[1, 2]]}, 400),
        ("embeddings", {"model": MODEL, "input": "a", "dimensions": 8}, 400),
        ("embeddings", {"model": "no-such-model", "input": "a"}, 422),
        ("embeddings", [], 400),
        ("rerank", {"model": MODEL, "query": "a", "documents": []}, 400),
        ("rerank", {"model": MODEL, "query": "a", "documents": ["b"], "top_n": 0}, 400),
    ],
)
def test_what_scaleway_refuses_is_refused(sandbox: Sandbox, route: str, body: Any, status: int) -> None:
    response = post(sandbox, route, body)
    assert (response.status_code, response.json()["status"]) == (status, status)


def test_a_wrong_key_is_refused(sandbox: Sandbox) -> None:
    assert post(sandbox, "embeddings", {"model": MODEL, "input": "a"}, key="wrong").status_code == 403
