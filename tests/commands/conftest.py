"""A scripted sandbox behind all four APIs, with the environment that points there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from linkspan_sandbox import Sandbox
KEY = "a-key-that-nobody-may-see"


@pytest.fixture
def sandbox_settings() -> dict[str, Any]:
    return {"api_key": KEY}


@pytest.fixture
def no_apis(monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment in which no API is set up."""
    monkeypatch.setenv("COLUMNS", "200")


@pytest.fixture
def sandbox(sandbox: Sandbox, no_apis: None, monkeypatch: pytest.MonkeyPatch) -> Sandbox:
    """The sandbox, and an environment in which every API is set up there."""
    for name, value in sandbox.environment.items():
        monkeypatch.setenv(name, value)
    return sandbox
