"""No environment, and a server for each test."""

from __future__ import annotations

import pytest

from linkspan.providers.datacrunch import DATACRUNCH
from linkspan.providers.gray_swan import GRAY_SWAN
from linkspan.providers.llm_engine import LLM_ENGINE
from linkspan.providers.scaleway import SCALEWAY
from tests.both.subjects import Server


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for provider in (DATACRUNCH, GRAY_SWAN, LLM_ENGINE, SCALEWAY):
        for name in (*provider.api_key_env, *provider.base_url_env):
            monkeypatch.delenv(name, raising=False)


@pytest.fixture
def server() -> Server:
    return Server()
