"""The ``tape`` fixture: replays by default, records when the recording script runs these tests."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

import pytest

from tests.cassettes.recording import tape_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.cassettes.tape import Tape


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "recorded_from(source): what the cassette is recorded against")
    config.addinivalue_line("markers", "never_live(reason): the cassette is not recorded against the real service")


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
def tape(request: pytest.FixtureRequest) -> Iterator[Tape]:
    """The test's own cassette."""
    with tape_of(request) as made:
        yield made
