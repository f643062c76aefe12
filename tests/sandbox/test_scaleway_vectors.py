"""The sandbox's embeddings and rerank routes, through linkspan's own classes and without them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx
import pytest

from linkspan.errors import ConfigurationError
from linkspan.langchain import ScalewayEmbeddings, ScalewayRerank
from linkspan_sandbox import Cut, ErrorEvent, HTTPError, Reply, Sandbox

if TYPE_CHECKING:
    from collections.abc import Iterator

TEXTS = ["Oslo is in Norway", "Rome is in Italy"]
MODEL = "qwen3-embedding-8b"


@pytest.fixture
def sandbox_settings() -> dict[str, Any]:
    return {"api_key": "right-key"}


def settings(sandbox: Sandbox) -> dict[str, Any]:
    return {"model": MODEL, "api_key": sandbox.api_key, "base_url": sandbox.scaleway_url, "max_retries": 0}


def post(sandbox: Sandbox, route: str, body: Any, key: str = "right-key") -> httpx.Response:
    return httpx.post(
        f"{sandbox.scaleway_url}/{route}", json=body, headers={"Authorization": f"Bearer {key}"}, verify=False
    )


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
        ("embeddings", {"model": MODEL, "input": ["a"] * 2049}, 400),
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


BODIES = {
    "embeddings": {"model": MODEL, "input": ["Oslo is cold", "Rome is warm"]},
    "rerank": {"model": MODEL, "query": "Rome?", "documents": TEXTS},
}


@pytest.fixture
def fresh(sandbox: Sandbox) -> Iterator[Sandbox]:
    sandbox.reset()
    yield sandbox
    sandbox.reset()


class TestRules:
    @pytest.mark.parametrize("route", BODIES)
    def test_for_text_leave_vectors_alone(self, fresh: Sandbox, route: str) -> None:
        before = post(fresh, route, BODIES[route]).json()
        fresh.add_rule(Reply(fault=HTTPError(500)))
        assert post(fresh, route, BODIES[route]).json() == before

    @pytest.mark.parametrize("route", BODIES)
    def test_of_a_route_fail_there_and_only_there(self, fresh: Sandbox, route: str) -> None:
        fresh.add_rule(Reply(fault=HTTPError(429, headers={"retry-after": "7"})), route=route, times=1)
        (other,) = set(BODIES) - {route}
        assert post(fresh, other, BODIES[other]).status_code == 200
        refused = post(fresh, route, BODIES[route])
        assert (refused.status_code, refused.json()["error"]) == (429, "INSUFFICIENT QUOTA")
        assert refused.headers["retry-after"] == "7"
        assert refused.headers["x-request-id"]
        assert post(fresh, route, BODIES[route]).status_code == 200

    @pytest.mark.parametrize(("route", "when"), [("embeddings", "cold\nRome"), ("rerank", "Rome?")])
    def test_see_the_texts(self, fresh: Sandbox, route: str, when: str) -> None:
        fresh.add_rule(Reply(body={"seen": True}), when=when, route=route)
        fresh.add_rule(Reply(body={"seen": False}), route=route)
        assert post(fresh, route, BODIES[route]).json() == {"seen": True}

    @pytest.mark.parametrize("route", BODIES)
    def test_break_connections_and_fail_in_the_models_words(self, fresh: Sandbox, route: str) -> None:
        fresh.add_rule(Reply(fault=Cut()), route=route, times=1)
        with pytest.raises(httpx.RemoteProtocolError):
            post(fresh, route, BODIES[route])
        fresh.add_rule(Reply(fault=ErrorEvent(message="out of memory", status=500)), route=route)
        assert post(fresh, route, BODIES[route]).json()["error"]["message"] == "out of memory"

    def test_are_retried_by_linkspans_classes(self, fresh: Sandbox) -> None:
        fresh.add_rule(Reply(fault=HTTPError(503, headers={"retry-after": "0"})), route="embeddings", times=1)
        embeddings = ScalewayEmbeddings(**{**settings(fresh), "max_retries": 1})
        assert len(embeddings.embed_query("Hello")) == 4096
        assert [request.status for request in fresh.requests] == [503, 200]

    def test_with_a_text_are_told_so(self, fresh: Sandbox) -> None:
        fresh.add_rule("a text", route="rerank")
        answer = post(fresh, "rerank", BODIES["rerank"])
        assert (answer.status_code, answer.json()["error"]["message"]) == (
            500,
            "a rule for rerank can have a body, a delay or an error, but no text",
        )

    def test_of_an_unknown_route_are_refused(self, fresh: Sandbox) -> None:
        with pytest.raises(ConfigurationError, match=r"route must be embeddings or rerank or .*, not 'chat'"):
            fresh.add_rule("x", route="chat")
