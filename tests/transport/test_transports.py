"""The seams to httpx and httpcore: they break loudly if a later version works otherwise."""

from __future__ import annotations

import anyio
import httpcore
import httpx
import pytest

from linkspan.transport import HttpClient
from linkspan.transport.bodies import END_OF_CONNECTION
from linkspan.transport.pooled_connection import PooledConnection
from tests.support.loopback import http


async def test_own_async_clients_do_without_anyios_connections(server, ask, monkeypatch):
    monkeypatch.setattr(anyio, "connect_tcp", None)
    server.answer(http(200, b"fine"))
    client = HttpClient()
    assert (await client.asend(ask())).content == b"fine"
    await client.aclose()


@pytest.mark.parametrize("proxied", [False, True])
async def test_answers_come_over_connections_that_take_a_deadline(server, face, ask, monkeypatch, proxied):
    if proxied:
        monkeypatch.setenv("HTTP_PROXY", server.url)
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)
    server.answer(http(200, b"fine"))
    seen: list[dict] = []
    monkeypatch.setattr(httpx.Response, "__init__", _noting(httpx.Response.__init__, seen))
    await face.send(ask(url="http://model.internal/v1") if proxied else ask())
    assert all(hasattr(extensions["network_stream"], "deadline") for extensions in seen)
    assert seen
    # httpcore has put its pool's async connections into linkspan's, which free their slots.
    assert all((END_OF_CONNECTION in extensions) == (face.name == "async") for extensions in seen)


def _noting(init, seen):
    def noted(self, *args, **kwargs):
        init(self, *args, **kwargs)
        if "network_stream" in self.extensions:
            seen.append(self.extensions)

    return noted


def test_httpcore_has_what_the_transports_are_made_of():
    for pool in (httpcore.ConnectionPool, httpcore.HTTPProxy, httpcore.AsyncConnectionPool, httpcore.AsyncHTTPProxy):
        assert isinstance(pool.connections, property)


def test_a_pooled_connection_passes_on_all_that_httpcore_asks_of_one():
    asked = {name for name in vars(httpcore.AsyncConnectionInterface) if not name.startswith("_")}
    assert asked
    assert asked <= set(vars(PooledConnection))
    for pool in (httpcore.AsyncConnectionPool, httpcore.AsyncHTTPProxy):
        assert "create_connection" in vars(pool)
