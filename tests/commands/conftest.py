"""A scripted sandbox behind all four APIs, with the environment that points there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from linkspan.sandbox import Sandbox, run

if TYPE_CHECKING:
    from collections.abc import Iterator

KEY = "a-key-that-nobody-may-see"


@pytest.fixture(scope="package")
def running() -> Iterator[Sandbox]:
    with run(api_key=KEY) as sandbox:
        yield sandbox


@pytest.fixture
def no_apis(monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment in which no API is set up."""
    for name in (
        *("SCW_SECRET_KEY", "SCALEWAY_API_KEY", "SCALEWAY_BASE_URL", "GRAYSWAN_API_KEY", "GRAY_SWAN_BASE_URL"),
        *("SCALE_API_KEY", "LLM_ENGINE_BASE_PATH", "DATACRUNCH_API_KEY", "VERDA_INFERENCE_KEY"),
        *("DATACRUNCH_BASE_URL", "VERDA_BASE_URL"),
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COLUMNS", "200")


@pytest.fixture
def sandbox(running: Sandbox, no_apis: None, monkeypatch: pytest.MonkeyPatch) -> Sandbox:
    """The sandbox, and an environment in which every API is set up there."""
    running.reset()
    for name, value in {
        "SCW_SECRET_KEY": KEY,
        "SCALEWAY_BASE_URL": running.scaleway_url,
        "GRAYSWAN_API_KEY": KEY,
        "GRAY_SWAN_BASE_URL": running.gray_swan_url,
        "SCALE_API_KEY": KEY,
        "LLM_ENGINE_BASE_PATH": running.llm_engine_url,
        "DATACRUNCH_API_KEY": KEY,
        "DATACRUNCH_BASE_URL": running.tgi_url,
    }.items():
        monkeypatch.setenv(name, value)
    return running
