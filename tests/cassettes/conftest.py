"""The ``tape`` fixture: replays by default, records when the recording script runs these tests."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

import pytest

from tests.cassettes.tape import CASSETTES, Recording, Tape, recording, replaying

if TYPE_CHECKING:
    from collections.abc import Iterator

_SETTINGS = ("SCW_SECRET_KEY", "SCALEWAY_API_KEY", "SCALEWAY_BASE_URL", "LANGSMITH_TRACING", "LANGCHAIN_TRACING_V2")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "recorded_from(source): what the cassette is recorded against, if not the model")


@pytest.fixture
def network_blocked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every attempt to reach anything fail loudly, loopback included."""

    def refuse(*args: Any, **_: Any) -> Any:
        raise AssertionError(f"a test that replays tried to use the network: {args[1:] or args}")

    # Not socket.socket itself: an event loop makes a pair of them to wake itself up.
    for name in ("connect", "connect_ex", "sendto"):
        monkeypatch.setattr(socket.socket, name, refuse)
    for name in ("create_connection", "getaddrinfo"):
        monkeypatch.setattr(socket, name, refuse)


@pytest.fixture
def tape(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Tape]:
    """The test's own cassette."""
    for name in _SETTINGS:
        monkeypatch.delenv(name, raising=False)
    provider = request.node.path.stem.removeprefix("test_")
    name = f"{provider}/{request.node.name.removeprefix('test_')}.yaml"
    to = request.config.pluginmanager.get_plugin("linkspan-recording")
    if isinstance(to, Recording):
        mark = request.node.get_closest_marker("recorded_from")
        base_url = to.base_urls[provider]
        with recording(to.directory / name, base_url, to.sources[mark.args[0] if mark else "model"]) as cassette:
            made = Tape(cassette, base_url)
            yield made
        to.recorded.append(name)
    else:
        request.getfixturevalue("network_blocked")
        with replaying(CASSETTES / name) as cassette:
            made = Tape(cassette, None)
            yield made
    assert made.complete, "a test must fill its cassette, or play it to the end"
