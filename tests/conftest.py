"""For all tests: none touches the network, loopback apart.

The guard is an audit hook of the interpreter, so it sees every library, thread and event loop of this process, and name
lookups as well as connections. Whatever it refuses makes the test fail, also where the code under test got over it.
"""

from __future__ import annotations

import ipaddress
import socket
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest

from tests.cassettes.recording import Recording
from tests.conformance.langchain.counts import SuiteCounts

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Audit event to the place of the host, or of the address, in its arguments.
_EVENTS = {
    "socket.connect": 1,
    "socket.sendto": 1,
    "socket.sendmsg": 1,
    "socket.getaddrinfo": 0,
    "socket.gethostbyname": 0,
}
_LOCAL_NAMES = (None, "", "localhost", b"localhost")


class NetworkUsedError(AssertionError):
    """A test reached for the network."""


class _Guard:
    def __init__(self) -> None:
        self.on = False
        self.refused: list[str] = []

    def hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        place = _EVENTS.get(event)
        if place is None or not self.on:
            return
        target = arguments[place]
        if place == 1 and (target is None or arguments[0].family not in (socket.AF_INET, socket.AF_INET6)):
            return
        host = target[0] if place == 1 else target
        if not _stays_here(host, connects=place == 1):
            self.refused.append(f"{event} {host}")
            raise NetworkUsedError(f"tests may use loopback only, and this one wanted {host} ({event})")


def _stays_here(host: Any, *, connects: bool) -> bool:
    if host in _LOCAL_NAMES:
        return True
    try:
        address = ipaddress.ip_address(host.decode() if isinstance(host, bytes) else host)
    except ValueError:
        return False
    # Reading an address that is written in digits asks nobody.
    return not connects or address.is_loopback


_GUARD = _Guard()
sys.addaudithook(_GUARD.hear)


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    # Recording cassettes may mean asking the real services.
    _GUARD.on = not any(isinstance(plugin, Recording) for plugin in config.pluginmanager.get_plugins())
    # Where several processes share the tests, the one that hears of all outcomes counts them.
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(SuiteCounts(config), "linkspan-suite-counts")


@pytest.fixture(scope="session", autouse=True)
def _threads_unmeasured() -> None:
    """Let coverage measure the main thread alone.

    In CPython 3.11 a thread that begins to be traced in the same instant as another one dies of it before its work
    begins ("Cannot install a trace function while another trace function is being installed").
    """
    threading.settrace(None)


@pytest.fixture(autouse=True)
def _loopback_only(request: pytest.FixtureRequest) -> Iterator[list[str]]:
    """Fail a test that was refused the network; ``refused_network`` is the list."""
    _GUARD.refused.clear()
    yield _GUARD.refused
    refused = list(_GUARD.refused)
    _GUARD.refused.clear()
    assert not refused, f"the test reached for the network: {refused}"


@pytest.fixture
def refused_network(_loopback_only: list[str]) -> list[str]:
    """What the guard refused in this test; to be emptied by a test that means to try it."""
    return _loopback_only
