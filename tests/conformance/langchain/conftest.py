"""The suites' tape and what stands for the internet: pictures and sounds that the suites fetch are served here."""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.cassettes.conftest import network_blocked, pytest_configure
from tests.cassettes.recording import tape_of
from tests.conformance.langchain.chat_suite import ChatModelSuite, is_needed, source_of_test

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.cassettes.tape import Tape

__all__ = ["network_blocked", "pytest_configure"]


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave out the tests of what an API does not have, and say what records the others."""
    kept = []
    for item in items:
        suite = getattr(item, "cls", None)
        if suite is not None and issubclass(suite, ChatModelSuite):
            test = item.name.partition("[")[0]
            if not is_needed(suite, test):
                continue
            item.add_marker(pytest.mark.recorded_from(source_of_test(suite, test)))
        kept.append(item)
    items[:] = kept


@pytest.fixture
def tape(request: pytest.FixtureRequest) -> Iterator[Tape]:
    """The test's own cassette; some tests send nothing and have none."""
    with tape_of(request, may_be_empty=True) as made:
        yield made


@pytest.fixture(autouse=True)
def _fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    """Serve what the suites fetch from the internet with ``httpx.get``: a picture, a sound."""
    monkeypatch.setenv("LANGCHAIN_TESTS_USER_AGENT", "linkspan")
    files = {".png": _picture(), ".wav": _sound()}

    def get(url: str, **_: Any) -> httpx.Response:
        return httpx.Response(200, content=files[url[-4:]], request=httpx.Request("GET", url))

    monkeypatch.setattr(httpx, "get", get)


def _picture() -> bytes:
    """A grey PNG of 32 times 32."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 32, 32, 8, 0, 0, 0, 0)
    pixels = zlib.compress((b"\0" + b"\x80" * 32) * 32)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def _sound() -> bytes:
    """Ten milliseconds of silence."""
    data = b"\0\0" * 80
    return (
        struct.pack(
            "<4sI4s4sIHHIIHH4sI",
            b"RIFF",
            36 + len(data),
            b"WAVE",
            b"fmt ",
            16,
            1,
            1,
            8000,
            16000,
            2,
            16,
            b"data",
            len(data),
        )
        + data
    )
