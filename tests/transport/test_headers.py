"""Headers: secrets are masked, unsendable values refused, and nothing shows a key."""

from __future__ import annotations

import logging
import pickle
import traceback

import pytest

from linkspan.errors import APIConnectionError, ConfigurationError, LinkspanError
from linkspan.redaction import mask_headers
from linkspan.transport import HttpClient
from tests.support.loopback import Cut, event, event_stream, head, http
from tests.transport.conftest import KEY


@pytest.mark.parametrize(
    "name",
    [
        "Authorization",
        "Proxy-Authorization",
        "X-API-Key",
        "api-key",
        "grayswan-api-key",
        "X-Auth-Token",
        "x-amz-security-token",
        "X-Client-Secret",
        "Cookie",
        "Set-Cookie",
        "X-Password",
        "X-Auth-Key",
        "apikey",
        "x-credentials",
    ],
)
def test_credentials_are_masked(name):
    assert mask_headers({name: "sk-secret", "x-request-id": "r-1"}) == {name: "**********", "x-request-id": "r-1"}


@pytest.mark.parametrize(
    "name",
    [
        "content-type",
        "x-request-id",
        "x-ratelimit-remaining-tokens",
        "x-ratelimit-reset-tokens",
        "retry-after",
        "keep-alive",
    ],
)
def test_facts_are_not_masked(name):
    assert mask_headers({name: "5"}) == {name: "5"}


@pytest.mark.parametrize(
    "key", ["sk-secret\n", " sk-secret", "sk-secret\r\nx-evil: 1", "sk-s\u00e9cret", "sk-secret\x00", ""]
)
async def test_key_that_cannot_be_sent_is_refused_without_being_shown(server, face, ask, key):
    request = ask(headers={"x-api-key": key})
    if key == "":
        server.answer(http())
        await face.send(request)
        return
    with pytest.raises(ConfigurationError, match="'x-api-key' cannot be sent") as caught:
        await face.send(request)
    assert "secret" not in "".join(traceback.format_exception(caught.value))
    assert server.requests == []


@pytest.mark.parametrize(
    ("headers", "message"), [({"bad name": "1"}, "'bad name'"), ({"x-n": 5}, "must be a str, not int")]
)
async def test_other_headers_that_cannot_be_sent(face, ask, headers, message):
    with pytest.raises(ConfigurationError, match=message):
        await face.send(ask(headers=headers))


async def test_no_representation_log_or_error_shows_key_prompt_or_query(server, face, ask, caplog):
    request = ask("/v1/chat?token=sk-query", headers={"authorization": f"Bearer {KEY}", "x-api-key": KEY})
    server.answer(Cut())
    server.answer(http(503, b"busy", headers={"retry-after": "0"}))
    server.answer(http(200, b"an answer"))
    server.answer(head(), event(b"one"), Cut())
    shown = [repr(request), str(request), repr(face.client)]
    errors: list[LinkspanError] = []
    with caplog.at_level(logging.DEBUG, logger="linkspan"):
        with pytest.raises(APIConnectionError) as refused:
            await face.send(request)
        errors.append(refused.value)
        with pytest.raises(LinkspanError) as caught:
            await face.send(request)
        errors.append(caught.value)
        shown.append(repr(await face.send(request)))
        with pytest.raises(LinkspanError) as caught:
            await face.stream(request)
        errors.append(caught.value)
    shown += [record.getMessage() for record in caplog.records if record.name.startswith("linkspan")]
    shown += ["".join(traceback.format_exception(error)) + repr(vars(error)) for error in errors]
    shown += [repr(pickle.dumps(error)) for error in errors]
    for text in shown:
        assert KEY not in text
        assert "secret prompt" not in text
        assert "sk-query" not in text


async def test_one_debug_line_per_attempt_and_a_warning_per_retry(server, face, ask, waits, caplog):
    server.answer(http(503, b"busy"))
    server.answer(Cut())
    server.answer(http(200))
    with caplog.at_level(logging.DEBUG, logger="linkspan.transport"):
        await face.send(ask(max_retries=2))
    records = [record for record in caplog.records if record.name == "linkspan.transport"]
    attempts = [record.getMessage() for record in records if record.levelno == logging.DEBUG]
    retries = [record.getMessage() for record in records if record.levelno == logging.WARNING]
    assert [line.rsplit(" ", 2)[0] for line in attempts if "->" in line] == [
        f"POST {server.url}/v1/chat -> 503 in",
        f"POST {server.url}/v1/chat -> ReadError after",
        f"POST {server.url}/v1/chat -> 200 in",
    ]
    assert "attempt 1 failed (ServerError, HTTP 503)" in retries[0]
    assert "attempt 2 failed (APIConnectionError)" in retries[1]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("streamed", [False, True])
async def test_redirects_are_not_followed(server, face, ask, status, streamed):
    target = "https://user:pw@elsewhere.example/v1/chat?sig=sk-query"
    server.answer(http(status, b"moved", headers={"location": target}))
    with pytest.raises(ConfigurationError, match="set base_url to it") as caught:
        await (face.stream(ask(max_retries=2)) if streamed else face.send(ask(max_retries=2)))
    assert "https://elsewhere.example/v1/chat" in str(caught.value)
    assert "sk-query" not in str(caught.value)
    assert caught.value.status_code == status
    assert len(server.requests) == 1


async def test_relative_redirect_names_its_origin(server, face, ask):
    server.answer(http(308, headers={"location": "/v2/chat"}))
    with pytest.raises(ConfigurationError, match=f"{server.url}/v2/chat"):
        await face.send(ask())


async def test_redirects_are_not_followed_by_a_client_that_would(server, ask):
    import httpx

    server.answer(http(307, headers={"location": f"{server.url}/other"}))
    with httpx.Client(follow_redirects=True) as own, pytest.raises(ConfigurationError):
        HttpClient(http_client=own).send(ask())
    assert [request.path for request in server.requests] == ["/v1/chat"]


async def test_what_is_sent(server, face, ask):
    server.answer(*event_stream(b"one"))
    await face.stream(ask())
    [request] = server.requests
    assert (request.method, request.path, request.json()) == ("POST", "/v1/chat", {"prompt": "a secret prompt"})
    assert request.headers["authorization"] == f"Bearer {KEY}"
    assert request.headers["user-agent"].startswith("linkspan/")
    assert request.headers["content-length"] == str(len(request.body))
