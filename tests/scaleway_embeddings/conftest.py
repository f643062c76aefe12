"""A loopback server that embeds, and a clean environment."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.support.loopback import LoopbackServer
from tests.support.vectors import serve

if TYPE_CHECKING:
    from collections.abc import Iterator

KEY = "scw-very-secret-key-0123456789"
MODEL = "qwen3-embedding-8b"


@pytest.fixture
def server() -> Iterator[LoopbackServer]:
    with LoopbackServer(serve) as running:
        yield running


@pytest.fixture
def settings(server: LoopbackServer) -> dict[str, Any]:
    return {"model": MODEL, "api_key": KEY, "base_url": f"{server.url}/v1", "max_retries": 0, "timeout": 60}
