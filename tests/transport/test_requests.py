"""Requests as they arrive: what is put together once must be as right in every later request as in the first."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING

import httpx
import pytest

from linkspan.errors import ConfigurationError
from linkspan.transport import HttpClient
from tests.support.loopback import LoopbackServer, event_stream, http
from tests.transport.conftest import Face

if TYPE_CHECKING:
    from collections.abc import Callable

    from linkspan.transport import HttpRequest

STREAM = event_stream(b"one")


async def both_ways(face: Face, request: HttpRequest) -> None:
    await face.send(request)
    await face.stream(request, drain=True)


@pytest.mark.parametrize("headers", [{}, {"accept": "text/plain"}, {"User-Agent": "mine/1", "x-project": "p"}])
async def test_own_clients_send_what_a_client_of_the_user_would(
    server: LoopbackServer, face: Face, ask: Callable[..., HttpRequest], headers: dict[str, str]
) -> None:
    for script in [[http()], STREAM] * 2:
        server.answer(*script)
    request = ask(headers={"authorization": "Bearer k", **headers})
    await both_ways(face, request)
    async with httpx.AsyncClient() as their_async_client:
        with httpx.Client() as their_client:
            theirs = HttpClient(http_client=their_client, http_async_client=their_async_client)
            await both_ways(Face(face.name, theirs), request)
    own_call, own_stream, their_call, their_stream = [received.headers for received in server.requests]
    assert own_call == their_call
    assert own_stream == their_stream
    assert own_call["accept"] == headers.get("accept", "*/*")
    assert own_stream["accept"] == headers.get("accept", "text/event-stream")
    assert own_call["user-agent"].startswith("mine/" if "User-Agent" in headers else "linkspan/")


async def test_each_request_has_its_own_headers_address_and_times(
    server: LoopbackServer, face: Face, ask: Callable[..., HttpRequest]
) -> None:
    server.always(http())
    tokens, paths = ("one", "two"), ("/a", "/b?q=%C3%A9")
    asked = list(itertools.product(tokens, paths)) * 2
    for token, path in asked:
        await face.send(ask(path, headers={"x-token": token}, content=(token + path).encode()))
    got = [(received.headers["x-token"], received.target) for received in server.requests]
    assert got == asked
    assert [received.body.decode() for received in server.requests] == [token + path for token, path in asked]


async def test_a_header_that_becomes_unsendable_is_refused(
    server: LoopbackServer, face: Face, ask: Callable[..., HttpRequest]
) -> None:
    server.always(http())
    headers = {"x-token": "good"}
    request = ask(headers=headers)
    await face.send(request)
    headers["x-token"] = "bad\n"
    with pytest.raises(ConfigurationError, match="'x-token' cannot be sent"):
        await face.send(request)
    headers["x-token"] = "better"
    await face.send(request)
    assert [received.headers["x-token"] for received in server.requests] == ["good", "better"]


async def test_cookies_of_an_answer_go_back(
    server: LoopbackServer, face: Face, ask: Callable[..., HttpRequest]
) -> None:
    server.answer(http(headers={"set-cookie": "berth=7; Path=/"}))
    server.answer(http())
    await face.send(ask())
    await face.send(ask())
    first, second = server.requests
    assert "cookie" not in first.headers
    assert second.headers["cookie"] == "berth=7"


async def test_changes_of_the_users_client_count_at_once(
    server: LoopbackServer, ask: Callable[..., HttpRequest]
) -> None:
    server.always(http())
    with httpx.Client(params={"tenant": "a"}) as theirs:
        client = HttpClient(http_client=theirs)
        client.send(ask())
        theirs.headers["x-later"] = "1"
        theirs.headers["user-agent"] = "theirs/2"
        client.send(ask())
    first, second = server.requests
    assert "x-later" not in first.headers
    assert first.headers["user-agent"].startswith("linkspan/")
    assert second.headers["x-later"] == "1"
    assert second.headers["user-agent"] == "theirs/2"
    assert first.target.endswith("?tenant=a")


@pytest.mark.parametrize("seconds", [math.inf, 1e300, 2**63, 3_000_000])
async def test_more_time_than_a_socket_can_wait_is_no_limit(
    server: LoopbackServer, face: Face, ask: Callable[..., HttpRequest], seconds: float
) -> None:
    server.always(*STREAM)
    for limits in ({"timeout": seconds, "connect_timeout": seconds}, {"stall_timeout": seconds}):
        assert (await face.send(ask(**limits))).status_code == 200
        assert await face.stream(ask(**limits)) == [b"one", b"[DONE]"]
