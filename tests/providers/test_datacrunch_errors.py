"""How a TGI server fails, and what it tells about itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from linkspan.errors import (
    AuthenticationError,
    ContextOverflowError,
    InvalidRequestError,
    InvalidResponseError,
    LinkspanError,
    NotFoundError,
    RateLimitError,
    ServerError,
)
from linkspan.providers.datacrunch import TGICodec
from linkspan.routes.tgi import ahealth, ainfo, health, info
from linkspan.transport import retries
from tests.providers.tgi import KEY, ask, event, last, step, stream, whole
from tests.support.loopback import http
from tests.support.streams import assemble

if TYPE_CHECKING:
    from tests.providers.tgi import Caller


# --------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (
            422,
            {"error": "Input validation error: x", "error_type": "validation"},
            InvalidRequestError,
        ),
        (
            424,
            {"error": "Request failed during generation: x", "error_type": "generation"},
            ServerError,
        ),
        (429, {"error": "Model is overloaded", "error_type": "overloaded"}, RateLimitError),
        (
            500,
            {"error": "Incomplete generation", "error_type": "incomplete_generation"},
            ServerError,
        ),
        (
            422,
            {
                "error": "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 1512. Given: 9 "
                "`inputs` tokens and 2000 `max_new_tokens`",
                "error_type": "validation",
            },
            ContextOverflowError,
        ),
    ],
)
async def test_errors_are_typed_alike_by_status_and_in_a_stream(
    tgi: Caller, status: int, body: dict[str, str], kind: type[LinkspanError]
) -> None:
    by_status = await tgi.refused(http(status, event(body)))
    first = await tgi.refused(*stream(event(body)), streaming=True)
    middle = await tgi.refused(*stream(step("Hel"), step("lo"), event(body)), streaming=True)
    for error in (by_status, first, middle):
        assert type(error) is kind
        assert (error.status_code, error.code) == (status, body["error_type"])
        assert error.is_retryable == (kind in {ServerError, RateLimitError})
        assert body["error"] in str(error)
    assert middle.partial_text == "Hello"
    assert first.partial_text == ""


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        (
            http(422, b"Failed to deserialize the JSON body into the target type: parameters.top_k", "text/plain"),
            InvalidRequestError,
            "parameters.top_k",
        ),
        (http(413, b"length limit exceeded", "text/plain"), InvalidRequestError, "length limit"),
        (http(401, b"", None), AuthenticationError, "Check the key"),
        (http(404, b"", None), NotFoundError, "Check base_url"),
        (http(503, b'{"message":"no replica"}', "application/json"), ServerError, "no replica"),
    ],
)
@pytest.mark.parametrize("streaming", [False, True])
async def test_error_bodies_of_every_kind(
    tgi: Caller, answer: bytes, kind: type[LinkspanError], words: str, *, streaming: bool
) -> None:
    error = await tgi.refused(answer, streaming=streaming)
    assert type(error) is kind
    assert words in str(error)


async def test_answers_of_the_wrong_kind(tgi: Caller) -> None:
    error = await tgi.refused(http(200, event(whole("Hi"))), streaming=True)
    assert isinstance(error, InvalidResponseError)
    assert "a stream was asked for" in str(error)
    error = await tgi.refused(http(200, b'{"choices":[]}'))
    assert "generated_text is missing (it holds: choices)" in str(error)
    error = await tgi.refused(http(200, b"<html>", "text/html"))
    assert "check base_url" in str(error)
    error = await tgi.refused(http(200, b'{"error":"late","error_type":"generation"}'))
    assert isinstance(error, ServerError)
    error = await tgi.refused(*stream(event({"object": "chat.completion.chunk"})), streaming=True)
    assert "token is missing; it holds object" in str(error)


@pytest.mark.parametrize("status", [424, 429, 503])
@pytest.mark.parametrize("streaming", [False, True])
async def test_passing_failures_are_tried_again(
    tgi: Caller, monkeypatch: pytest.MonkeyPatch, status: int, streaming: bool
) -> None:
    async def no_wait(_: float) -> None: ...

    monkeypatch.setattr(retries, "sleep", lambda _: None)
    monkeypatch.setattr(retries, "async_sleep", no_wait)
    endpoint = tgi.connect(TGICodec(), max_retries=1)
    tgi.server.answer(http(status, b'{"error":"busy","error_type":"x"}'))
    if streaming:
        tgi.server.answer(*stream(last("Hi", "Hi")))
        answer = assemble(await tgi.stream(ask(), endpoint))
    else:
        tgi.server.answer(http(200, event(whole("Hi"))))
        answer = await tgi.complete(ask(), endpoint)
    assert answer.text == "Hi"


async def test_an_overloaded_stream_is_tried_again(tgi: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    async def no_wait(_: float) -> None: ...

    monkeypatch.setattr(retries, "sleep", lambda _: None)
    monkeypatch.setattr(retries, "async_sleep", no_wait)
    endpoint = tgi.connect(TGICodec(), max_retries=1)
    tgi.server.answer(*stream(event({"error": "Model is overloaded", "error_type": "overloaded"})))
    tgi.server.answer(*stream(last("Hi", "Hi")))
    assert assemble(await tgi.stream(ask(), endpoint)).text == "Hi"


async def test_a_key_that_the_server_repeats_is_masked(tgi: Caller) -> None:
    error = await tgi.refused(http(401, event({"error": f"unknown key {KEY}"})))
    assert KEY not in str(error)
    assert KEY not in repr(error.body)


# --------------------------------------------------------------------------- health and info


async def test_health_and_info(tgi: Caller) -> None:
    tgi.server.answer(http(200, b"", None))
    assert health(tgi.generate) if tgi.face == "sync" else await ahealth(tgi.generate)
    tgi.server.answer(http(503, b'{"error":"unhealthy","error_type":"healthcheck"}'))
    sick = health(tgi.generate) if tgi.face == "sync" else await ahealth(tgi.generate)
    assert not sick
    assert "unhealthy" in (sick.message or "")
    body = {"model_id": "mixtral", "version": "2.0.4", "max_input_length": 1024, "max_total_tokens": 2048, "sha": "abc"}
    tgi.server.answer(http(200, event(body)))
    told = info(tgi.generate) if tgi.face == "sync" else await ainfo(tgi.generate)
    assert (told.model_id, told.version) == ("mixtral", "2.0.4")
    assert (told.max_input_tokens, told.max_total_tokens) == (1024, 2048)
    assert told.raw == body
    assert [request.path for request in tgi.server.requests] == ["/mine/health", "/mine/health", "/mine/info"]
    assert tgi.server.requests[-1].headers["authorization"] == f"Bearer {KEY}"
    tgi.server.answer(http(200, b"{}"))
    with pytest.raises(InvalidResponseError, match="not a TGI server"):
        info(tgi.generate) if tgi.face == "sync" else await ainfo(tgi.generate)
