"""Calls that Verda's gateway takes over: handed over, asked for, fetched."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from linkspan.errors import APITimeoutError, InvalidResponseError, LinkspanError, ServerError
from linkspan.providers.datacrunch import acomplete_deferred, complete_deferred
from tests.providers.tgi import KEY, ask, event, whole
from tests.support.loopback import http

if TYPE_CHECKING:
    from linkspan.conversation import Completion
    from tests.providers.tgi import Caller

TAKEN = {"Id": "call-1", "StatusPath": "/status/mine", "ResultPath": "/result/mine"}


async def complete(tgi: Caller, **options: Any) -> Completion:
    options.setdefault("poll_seconds", 0.0)
    request = ask("Hi", stop=["STOP"])
    if tgi.face == "sync":
        return complete_deferred(tgi.generate, request, **options)
    return await acomplete_deferred(tgi.generate, request, **options)


async def test_the_answer_is_fetched_when_it_is_completed(tgi: Caller) -> None:
    states = ["Initialized", "Queue", "Inference", "Completed"]
    tgi.server.answer(http(202, event(TAKEN)))
    for state in states:
        tgi.server.answer(http(200, event({"Id": "call-1", "Status": state})))
    tgi.server.answer(http(200, event(whole("Hello STOP"))))
    seen: list[str] = []
    answer = await complete(tgi, on_status=seen.append)
    assert answer.text == "Hello "
    assert seen == states
    first, *looks, last = tgi.server.requests
    assert (first.path, first.headers["prefer"]) == ("/mine/generate", "respond-async")
    assert first.json()["inputs"] == "Hi"
    assert [look.path for look in looks] == ["/status/mine"] * 4
    assert last.path == "/result/mine"
    for later in (*looks, last):
        assert (later.method, later.headers["x-inference-id"]) == ("GET", "call-1")
        assert later.headers["authorization"] == f"Bearer {KEY}"
        assert "prefer" not in later.headers


async def test_a_server_that_does_not_defer_answers_at_once(tgi: Caller) -> None:
    tgi.server.answer(http(200, event(whole("Hello"))))
    assert (await complete(tgi)).text == "Hello"
    assert len(tgi.server.requests) == 1


async def test_it_waits_no_longer_than_told(tgi: Caller) -> None:
    tgi.server.answer(http(202, event(TAKEN)))
    tgi.server.answer(http(200, event({"Status": "Queue"})))
    with pytest.raises(APITimeoutError) as caught:
        await complete(tgi, max_seconds=0.0)
    assert caught.value.request_id == "call-1"


@pytest.mark.parametrize(
    ("state", "kind", "words"),
    [
        ({"Status": "Exploded"}, InvalidResponseError, "'Exploded'"),
        ({"error": "no memory", "error_type": "generation"}, ServerError, "no memory"),
    ],
)
async def test_a_call_that_failed(tgi: Caller, state: Any, kind: type[LinkspanError], words: str) -> None:
    tgi.server.answer(http(202, event(TAKEN)))
    tgi.server.answer(http(200, event(state)))
    with pytest.raises(kind, match=words):
        await complete(tgi)


async def test_the_key_never_follows_to_another_host(tgi: Caller) -> None:
    tgi.server.answer(http(202, event({**TAKEN, "StatusPath": "https://example.org/status"})))
    with pytest.raises(InvalidResponseError, match="does not say where"):
        await complete(tgi)
    assert len(tgi.server.requests) == 1
