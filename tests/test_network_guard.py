"""The guard of ``tests/conftest.py``: every way out is refused, and does not go unseen."""

from __future__ import annotations

import asyncio
import socket
import threading
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.conftest import NetworkUsedError

if TYPE_CHECKING:
    from collections.abc import Callable

# An address for documentation, RFC 5737: nobody is there, should the guard fail.
ELSEWHERE = ("192.0.2.1", 9)


def _datagram() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
        made.sendto(b"x", ELSEWHERE)


def _connect_ex() -> None:
    with socket.socket() as made:
        made.setblocking(False)
        made.connect_ex(ELSEWHERE)


@pytest.mark.parametrize(
    "reach",
    [
        lambda: socket.create_connection(ELSEWHERE, timeout=0.01),
        _connect_ex,
        _datagram,
        lambda: socket.getaddrinfo("example.invalid", 443),
        lambda: socket.gethostbyname("example.invalid"),
        lambda: asyncio.run(asyncio.wait_for(asyncio.open_connection(*ELSEWHERE), 0.01)),
        lambda: httpx.get("https://example.invalid/", trust_env=False, verify=False),
    ],
    ids=["connect", "connect_ex", "sendto", "getaddrinfo", "gethostbyname", "asyncio", "httpx"],
)
def test_the_network_is_out_of_reach(reach: Callable[[], object], refused_network: list[str]) -> None:
    with pytest.raises(NetworkUsedError, match="loopback only"):
        reach()
    assert len(refused_network) == 1
    refused_network.clear()


def test_an_attempt_that_the_code_got_over_is_still_seen(refused_network: list[str]) -> None:
    def reach() -> None:
        with pytest.raises(NetworkUsedError):
            socket.create_connection(ELSEWHERE, timeout=0.01)

    thread = threading.Thread(target=reach)
    thread.start()
    thread.join()
    assert refused_network == [f"socket.connect {ELSEWHERE[0]}"]
    refused_network.clear()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_loopback_is_open(host: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as made:
        assert made.getpeername() == server.getsockname()
    assert socket.getaddrinfo(host, 80)
