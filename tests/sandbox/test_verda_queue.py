"""Verda's queue before the container: calls with ``Prefer: respond-async``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx
import pytest

from linkspan.errors import InvalidRequestError, RateLimitError
from linkspan.providers.datacrunch import acomplete_deferred, complete_deferred
from linkspan.sandbox import Cut, DataCrunchOptions, HTTPError, Reply, Sandbox, Stall, run
from tests.sandbox.test_datacrunch_codec import ask, reach
from tests.sandbox.test_datacrunch_dialect import TGI, parse

if TYPE_CHECKING:
    from collections.abc import Iterator

PROMPT = {"inputs": "Hello big world", "parameters": {"max_new_tokens": 20}}
DEFER = {"prefer": "respond-async"}


@pytest.fixture
def tgi(sandbox: Sandbox) -> Iterator[TGI]:
    client = TGI(sandbox.tgi_url)
    with client.http:
        yield client


def hand_over(tgi: TGI, route: str = "/generate", body: Any = PROMPT) -> httpx.Response:
    return tgi.http.post(tgi.base_url + route, json=body, headers=DEFER)


def look(tgi: TGI, path: str, call_id: str) -> httpx.Response:
    return tgi.http.get(httpx.URL(tgi.base_url).join(path), headers={"X-Inference-Id": call_id})


def result(tgi: TGI, taken: httpx.Response) -> httpx.Response:
    call_id, status_path = taken.json()["Id"], taken.json()["StatusPath"]
    for _ in range(1000):
        if look(tgi, status_path, call_id).json()["Status"] == "Completed":
            return look(tgi, taken.headers["location"], call_id)
    raise AssertionError("it is never completed")


def test_a_call_is_taken_over_and_its_answer_fetched(tgi: TGI) -> None:
    taken = hand_over(tgi)
    assert taken.status_code == 202
    call_id = taken.json()["Id"]
    assert taken.json() == {"Id": call_id, "StatusPath": "/status/container", "ResultPath": "/result/container"}
    assert taken.headers["x-inference-id"] == call_id
    assert taken.headers["location"] == "/result/container"
    answer = result(tgi, taken)
    assert (answer.status_code, answer.json()) == (200, {"generated_text": "Hello big world"})
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-generated-tokens"] == "4"
    assert look(tgi, "/result/container", call_id).json() == answer.json()


@pytest.mark.parametrize(
    ("route", "body"),
    [
        ("/", PROMPT),
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": "Hello big world"}]}),
    ],
)
def test_every_route_of_the_container_can_be_deferred(tgi: TGI, route: str, body: Any) -> None:
    answer = result(tgi, hand_over(tgi, route, body))
    assert answer.status_code == 200
    assert "Hello big world" in answer.text


def test_a_stream_is_kept_as_a_whole(tgi: TGI) -> None:
    answer = result(tgi, hand_over(tgi, "/generate_stream"))
    assert answer.headers["content-type"] == "text/event-stream"
    assert parse(answer.text)[-1]["generated_text"] == "Hello big world"


def test_calls_wait_for_each_other(sandbox: Sandbox, tgi: TGI) -> None:
    sandbox.add_rule(Reply(fault=Stall(0)), when="for ever")
    first, second = hand_over(tgi, body={**PROMPT, "inputs": "for ever"}), hand_over(tgi)
    states = [look(tgi, "/status/container", call.json()["Id"]).json()["Status"] for call in (first, second)]
    assert states == ["Inference", "Queue"]
    early = look(tgi, "/result/container", second.json()["Id"])
    assert (early.status_code, early.json()) == (404, {"error": "no result: Queue"})


def test_reset_forgets_calls_and_frees_their_places(sandbox: Sandbox, tgi: TGI) -> None:
    sandbox.add_rule(Reply(fault=Stall(0)))
    stalled = hand_over(tgi).json()["Id"]
    assert look(tgi, "/status/container", stalled).json()["Status"] == "Inference"
    sandbox.reset()
    assert look(tgi, "/status/container", stalled).status_code == 404
    assert result(tgi, hand_over(tgi)).status_code == 200


def test_as_many_as_told_run_at_once() -> None:
    with run(datacrunch_options=DataCrunchOptions(replica_concurrency=2)) as sandbox:
        sandbox.add_rule(Reply(fault=Stall(0)))
        tgi = TGI(sandbox.tgi_url)
        calls = [hand_over(tgi).json()["Id"] for _ in range(3)]
        states = [look(tgi, "/status/container", call).json()["Status"] for call in calls]
    assert states == ["Inference", "Inference", "Queue"]


def test_what_the_container_refuses_is_its_answer(sandbox: Sandbox, tgi: TGI) -> None:
    refused = result(tgi, hand_over(tgi, body={"inputs": "x", "parameters": {"top_p": 7}}))
    assert (refused.status_code, refused.json()["error_type"]) == (422, "validation")
    sandbox.add_rule(Reply(fault=Cut(None)))
    assert result(tgi, hand_over(tgi)).status_code == 502


@pytest.mark.parametrize("prefer", ["wait=5", "respond-async-container", ""])
def test_other_preferences_are_none(tgi: TGI, prefer: str) -> None:
    answer = tgi.http.post(f"{tgi.base_url}/generate", json=PROMPT, headers={"prefer": prefer})
    assert (answer.status_code, answer.json()) == (200, {"generated_text": "Hello big world"})


def test_the_legacy_route_defers_nothing(sandbox: Sandbox, tgi: TGI) -> None:
    body = {"model": "any", **PROMPT}
    assert tgi.http.post(f"{sandbox.datacrunch_url}/generate", json=body, headers=DEFER).status_code == 200


def test_keys_and_ids_are_checked(sandbox: Sandbox, tgi: TGI) -> None:
    keyless = TGI(sandbox.tgi_url, key=None)
    assert hand_over(keyless).status_code == 401
    taken = hand_over(tgi).json()["Id"]
    assert look(keyless, "/status/container", taken).status_code == 401
    assert look(keyless, "/result/container", taken).status_code == 401
    assert look(tgi, "/status/container", "another").status_code == 404
    assert look(tgi, "/result/container", "").status_code == 404


@pytest.mark.parametrize("face", ["sync", "async"])
class TestLinkspansOwnCalls:
    @pytest.fixture
    def endpoint(self, sandbox: Sandbox) -> Iterator[Any]:
        made = reach(sandbox.tgi_url)
        yield made
        made.close()

    async def complete(self, face: str, endpoint: Any, **options: Any) -> Any:
        if face == "sync":
            return complete_deferred(endpoint, ask(), poll_seconds=0.0, **options)
        return await acomplete_deferred(endpoint, ask(), poll_seconds=0.0, **options)

    async def test_fetch_the_answer(self, sandbox: Sandbox, endpoint: Any, face: str) -> None:
        sandbox.add_rule("Good morning.")
        states: list[str] = []
        answer = await self.complete(face, endpoint, on_status=states.append)
        assert answer.text == "Good morning."
        assert states[-1] == "Completed"
        assert sandbox.requests[0].status == 202

    async def test_get_its_errors(self, sandbox: Sandbox, endpoint: Any, face: str) -> None:
        sandbox.add_rule(Reply(fault=HTTPError(429)), times=1)
        with pytest.raises(RateLimitError):
            await self.complete(face, endpoint)
        sandbox.add_rule(Reply(fault=HTTPError(422)))
        with pytest.raises(InvalidRequestError):
            await self.complete(face, endpoint)
