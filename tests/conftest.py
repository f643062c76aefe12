"""For all tests: none touches the network, loopback apart; and the stand-in for the APIs.

The guard is an audit hook of the interpreter, so it sees every library, thread and event loop of this process, and name
lookups as well as connections. Whatever it refuses makes the test fail, also where the code under test got over it.
"""

from __future__ import annotations

import gc
import importlib.util
import ipaddress
import os
import socket
import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings

from linkspan.providers.cygnal import CYGNAL
from linkspan.providers.datacrunch import DATACRUNCH
from linkspan.providers.gray_swan import GRAY_SWAN
from linkspan.providers.llm_engine import LLM_ENGINE
from linkspan.providers.scaleway import SCALEWAY
from tests.cassettes.recording import Recording
from tests.conformance.langchain.counts import SuiteCounts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from linkspan_sandbox import Sandbox
    from linkspan_sandbox.llama_server import LlamaServer

#: Audit event to the place of the host, or of the address, in its arguments.
_EVENTS = {
    "socket.connect": 1,
    "socket.sendto": 1,
    "socket.sendmsg": 1,
    "socket.getaddrinfo": 0,
    "socket.gethostbyname": 0,
}
_VARIABLES = (
    *(
        name
        for provider in (SCALEWAY, GRAY_SWAN, CYGNAL, LLM_ENGINE, DATACRUNCH)
        for name in (*provider.api_key_env, *provider.base_url_env)
    ),
    *("GRAYSWAN_POLICY_ID", "OPENAI_API_KEY", "LANGSMITH_TRACING", "LANGCHAIN_TRACING_V2"),
)
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

# The same examples each time, however slow the machine is.
settings.register_profile("linkspan", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("linkspan")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--branches", action="store_true", help="measure the branches of transport, codecs and assembler")


def pytest_xdist_auto_num_workers() -> int:
    """Return the processes for ``-n auto``: one more than there are cores, as tests wait for sockets and programs."""
    return (os.cpu_count() or 1) + 1


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    # Recording cassettes may mean asking the real services.
    _GUARD.on = not any(isinstance(plugin, Recording) for plugin in config.pluginmanager.get_plugins())
    # Where several processes share the tests, the one that hears of all outcomes counts them.
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(SuiteCounts(config), "linkspan-suite-counts")
    if config.getoption("branches"):
        from tests.support.branches import Branches

        config.pluginmanager.register(Branches(config), "linkspan-branches")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Leave the frameworks and the thousands of tests, none of which is garbage, to no garbage collection."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.fixture(autouse=True)
def _loopback_only(request: pytest.FixtureRequest) -> Iterator[list[str]]:
    """Fail a test that was refused the network; ``refused_network`` is the list."""
    _GUARD.refused.clear()
    yield _GUARD.refused
    refused = list(_GUARD.refused)
    _GUARD.refused.clear()
    assert not refused, f"the test reached for the network: {refused}"


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Start each test without the variables that lead to a service, or to a tracer."""
    for name in _VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session")
def sandboxes() -> Iterator[Callable[..., Sandbox]]:
    """Start the stand-in for the APIs: one for each engine and settings, emptied whenever it is asked for.

    Tests that say what it is started with take this; most take ``sandbox``.
    """
    from linkspan_sandbox import run

    started: dict[str, Sandbox] = {}
    with ExitStack() as stack:

        def of(engine: str = "scripted", **settings: Any) -> Sandbox:
            name = repr((engine, sorted(settings.items())))
            if name not in started:
                started[name] = stack.enter_context(run(engine, **settings))
            started[name].reset()
            return started[name]

        yield of


@pytest.fixture
def sandbox_settings() -> dict[str, Any]:
    """What ``sandbox`` is started with, as :func:`linkspan_sandbox.run` takes it. Folders and modules override it."""
    return {}


@pytest.fixture
def sandbox(sandboxes: Callable[..., Sandbox], sandbox_settings: dict[str, Any]) -> Sandbox:
    """A scripted stand-in for the four APIs, without rules and requests of earlier tests."""
    return sandboxes(**sandbox_settings)


@pytest.fixture(scope="session")
def llama_cpp() -> Iterator[LlamaServer]:
    """llama.cpp's own server, with the local model."""
    from linkspan_sandbox.llama_server import LlamaServer
    from linkspan_sandbox.local_model import find_weights

    weights = find_weights()
    if weights is None or importlib.util.find_spec("xllamacpp") is None:
        pytest.skip("needs xllamacpp and the local model's weights")
    server = LlamaServer(weights)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def refused_network(_loopback_only: list[str]) -> list[str]:
    """What the guard refused in this test; to be emptied by a test that means to try it."""
    return _loopback_only
