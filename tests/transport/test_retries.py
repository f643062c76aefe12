"""What is retried, how often and after what time; and what becomes of attempts that got no answer."""

from __future__ import annotations

import asyncio
import socket
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime

import httpx
import pytest

from linkspan.errors import (
    APIConnectionError,
    APITimeoutError,
    AuthenticationError,
    ConfigurationError,
    InvalidRequestError,
    InvalidResponseError,
    LinkspanError,
    RateLimitError,
    ServerError,
)
from linkspan.transport import HttpClient
from linkspan.transport.retries import LONGEST_DELAY, LONGEST_RETRY_AFTER, retry_after_seconds
from tests.support.loopback import PATIENCE, Close, Cut, UntilClosed, event_stream, http


async def attempt(face, request, streamed):
    return await (face.stream(request) if streamed else face.send(request))


@pytest.mark.parametrize("streamed", [False, True])
async def test_exactly_so_many_requests(server, face, ask, waits, *, streamed):
    retries = dict.fromkeys((408, 429, 500, 502, 503, 504), 1)
    for status, max_retries in [*retries.items(), (503, 0), (503, 3)]:
        server.requests.clear()
        waits.clear()
        server.always(http(status, b"no"))
        with pytest.raises(LinkspanError) as caught:
            await attempt(face, ask(max_retries=max_retries), streamed)
        assert caught.value.status_code == status
        assert len(server.requests) == max_retries + 1, status
        assert len(waits) == max_retries, status
        assert len({request.body for request in server.requests}) == 1  # each with its body


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize(
    ("status", "error"), [(400, InvalidRequestError), (401, AuthenticationError), (422, InvalidRequestError)]
)
async def test_other_statuses_are_not_retried(server, face, ask, *, status, error, streamed):
    server.always(http(status, b"no"))
    with pytest.raises(error):
        await attempt(face, ask(max_retries=3), streamed)
    assert len(server.requests) == 1


@pytest.mark.parametrize("streamed", [False, True])
async def test_success_after_failures(server, face, ask, waits, streamed):
    server.answer(http(500))
    server.answer(Cut())
    server.answer(*(event_stream(b"one") if streamed else [http(200, b"fine")]))
    answer = await attempt(face, ask(max_retries=2), streamed)
    assert answer == [b"one", b"[DONE]"] if streamed else answer.content == b"fine"
    assert len(server.requests) == 3


async def test_codec_decides_what_is_retried(server, face, ask, waits):
    server.always(http(500, b"permanent"))
    request = ask(max_retries=3, decode_error=lambda response: ServerError(response.text, is_retryable=False))
    with pytest.raises(ServerError):
        await face.send(request)
    assert len(server.requests) == 1


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize(
    "steps", [(Cut(),), (Close(),), (b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf", Close())]
)
async def test_broken_connections_are_retried(server, face, ask, waits, *, steps, streamed):
    server.always(*steps)
    with pytest.raises(APIConnectionError) as caught:
        await attempt(face, ask(max_retries=1), streamed)
    assert len(server.requests) == 2
    assert not isinstance(caught.value, APITimeoutError)
    assert f"127.0.0.1:{server.port}" in str(caught.value)
    assert isinstance(caught.value.__cause__, httpx.TransportError)


@pytest.mark.usefixtures("patient_connect")
async def test_silence_is_a_timeout_and_retried(server, face, ask, waits):
    server.always(UntilClosed())
    with pytest.raises(APITimeoutError, match=r"did not answer within 0\.\d s"):
        await face.send(ask(timeout=0.1, max_retries=1))
    assert len(server.wait_requests(2)) == 2


async def test_refused_connections_are_retried(face, ask, waits):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound, but it does not listen
        port = unused.getsockname()[1]
        with pytest.raises(APIConnectionError, match=f"No connection to 127.0.0.1:{port}.*Check base_url"):
            await face.send(ask(url=f"http://127.0.0.1:{port}/v1", max_retries=2))
    assert len(waits) == 2


async def test_host_that_does_not_exist(face, ask, monkeypatch):
    def no_such_host(*_args, **_kwargs):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", no_such_host)
    with pytest.raises(APIConnectionError, match=r"nowhere\.invalid could not be resolved: Name or service not known"):
        await face.send(ask(url="https://nowhere.invalid/v1"))


async def test_the_host_of_a_proxy_that_does_not_exist(face, ask, monkeypatch):
    def no_such_host(*_args, **_kwargs):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", no_such_host)
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.invalid:3128")
    with pytest.raises(APIConnectionError, match=r"api\.invalid, or that of its proxy, could not be resolved"):
        await face.send(ask(url="https://api.invalid/v1"))


async def test_connect_timeout_is_apart_from_timeout(face, ask):
    # A listener whose queue is full does not complete further handshakes.
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        port = listener.getsockname()[1]
        fillers = [socket.socket() for _ in range(8)]
        try:
            for filler in fillers:
                filler.setblocking(False)
                filler.connect_ex(("127.0.0.1", port))
            with pytest.raises(APITimeoutError, match=r"No connection to .* within"):
                await face.send(ask(url=f"http://127.0.0.1:{port}/", timeout=30.0, connect_timeout=0.1))
        finally:
            for filler in fillers:
                filler.close()


async def test_all_connections_in_use(server, ask):
    server.always(UntilClosed())
    limits = httpx.Limits(max_connections=1)
    async with httpx.AsyncClient(limits=limits) as own:
        client = HttpClient(http_async_client=own)
        first = asyncio.create_task(client.asend(ask()))
        await asyncio.to_thread(server.wait_requests, 1)
        with pytest.raises(APITimeoutError, match="all of this client's are in use"):
            await client.asend(ask(timeout=0.1))
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first


@pytest.mark.parametrize("name", ["timeout", "connect_timeout", "stall_timeout"])
@pytest.mark.parametrize("seconds", [0, -1, float("nan")])
def test_timeouts_that_are_none(ask, name, seconds):
    with pytest.raises(ConfigurationError, match=f"{name} must be more than 0 seconds"):
        ask(**{name: seconds})


def test_retries_that_are_none(ask):
    with pytest.raises(ConfigurationError, match="max_retries must be 0 or more, not -1"):
        ask(max_retries=-1)


async def test_no_limits_at_all(server, face, ask):
    server.answer(*event_stream(b"one"))
    request = ask(timeout=None, connect_timeout=None, stall_timeout=None)
    assert await face.stream(request, stop=lambda item: item == b"[DONE]", drain=True) == [b"one", b"[DONE]"]


async def test_answer_that_cannot_be_decompressed(server, face, ask):
    server.always(http(200, b"plain", headers={"content-encoding": "gzip"}))
    with pytest.raises(InvalidResponseError, match="decompressed"):
        await face.send(ask(max_retries=2))
    assert len(server.requests) == 1


async def test_address_that_is_none(face, ask):
    with pytest.raises(ConfigurationError):
        await face.send(ask(url="https://host:port/v1"))
    with pytest.raises(ConfigurationError, match="not an http"):
        await face.send(ask(url="ftp://127.0.0.1/v1"))


@pytest.mark.parametrize("streamed", [False, True])
async def test_server_says_when(server, face, ask, waits, streamed):
    server.answer(http(429, headers={"Retry-After": "7"}))
    server.answer(http(503, headers={"retry-after-ms": "250", "retry-after": "9"}))
    server.answer(http(429, headers={"Retry-After": "0"}))
    server.answer(*event_stream(b"one"))
    await attempt(face, ask(max_retries=3), streamed)
    assert waits == [7.0, 0.25, 0.0]


@pytest.mark.parametrize("streamed", [False, True])
async def test_server_says_too_late(server, face, ask, waits, streamed):
    server.always(http(429, headers={"Retry-After": str(int(LONGEST_RETRY_AFTER) + 1)}))
    with pytest.raises(RateLimitError) as caught:
        await attempt(face, ask(max_retries=3), streamed)
    assert caught.value.retry_after == LONGEST_RETRY_AFTER + 1
    assert len(server.requests) == 1
    assert waits == []


async def test_a_redirect_without_a_target(server, face, ask):
    server.answer(http(302))
    with pytest.raises(ConfigurationError, match="redirects without a target"):
        await face.send(ask())


async def test_time_that_the_codec_found_stands(server, face, ask, waits):
    server.answer(http(429, headers={"Retry-After": "7"}))
    server.answer(http(200))
    await face.send(ask(max_retries=1, decode_error=lambda _: RateLimitError("in the body", retry_after=3.0)))
    assert waits == [3.0]


async def test_delays_grow_with_jitter_up_to_a_cap(server, face, ask, waits):
    server.always(http(503))
    with pytest.raises(ServerError):
        await face.send(ask(max_retries=8))
    full = [0.5, 1.0, 2.0, 4.0, LONGEST_DELAY, LONGEST_DELAY, LONGEST_DELAY, LONGEST_DELAY]
    assert all(most / 2 <= delay <= most for delay, most in zip(waits, full, strict=True))
    assert len(set(waits)) == len(waits)


async def test_waiting_can_be_cancelled(server, ask, monkeypatch):
    waiting = asyncio.Event()

    async def endless(_seconds):
        waiting.set()
        await asyncio.Event().wait()

    monkeypatch.setattr("linkspan.transport.retries.async_sleep", endless)
    server.always(http(503))
    client = HttpClient()
    task = asyncio.create_task(client.asend(ask(max_retries=3)))
    await waiting.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert len(server.requests) == 1
    await client.aclose()


def test_errors_other_than_ours_are_not_retried(server, ask):
    def broken(_response):
        raise ZeroDivisionError

    server.always(http(503))
    with pytest.raises(ZeroDivisionError):
        HttpClient().send(ask(max_retries=3, decode_error=broken))
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "2"}, 2.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after": "-3"}, 0.0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": ""}, None),
        ({"retry-after-ms": "1500"}, 1.5),
        ({"retry-after-ms": "x", "retry-after": "4"}, 4.0),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0.0),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:00 -0000"}, 0.0),
        ({"retry-after": f"Mon, 01 Jan {'9' * 20} 00:00:00 GMT"}, None),
        ({"retry-after": f"Mon, 01 Jan 2026 {'9' * 20}:00:00 GMT"}, None),
        ({"retry-after": f"Mon, 01 Jan 2026 00:00:00 +{'9' * 20}"}, None),
    ],
)
def test_retry_after(headers, seconds):
    assert retry_after_seconds(httpx.Headers(headers)) == seconds


def test_retry_after_as_a_date():
    moment = datetime.now(timezone.utc) + timedelta(hours=1)
    seconds = retry_after_seconds({"retry-after": format_datetime(moment, usegmt=True)})
    assert seconds is not None
    assert 3000 < seconds <= 3600


async def test_certificate_that_is_not_trusted_is_not_retried(tls_server, face, ask, waits):
    with pytest.raises(
        APIConnectionError, match=r"certificate of 127\.0\.0\.1.* is not trusted.*SSL_CERT_FILE"
    ) as caught:
        await face.send(ask(url=tls_server.url, max_retries=2))
    assert not caught.value.is_retryable
    assert waits == []


async def test_certificate_named_in_ssl_cert_file(tls_server, tls_certificate, face, ask, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(tls_certificate / "cert.pem"))
    tls_server.always(*event_stream(b"one"))
    request = ask(url=tls_server.url, stall_timeout=PATIENCE)
    for _ in range(2):
        assert await face.stream(request) == [b"one", b"[DONE]"]
    assert tls_server.connections == 1
