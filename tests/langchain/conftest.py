"""One scripted sandbox for all tests here, emptied before each, and a model that talks to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from linkspan.langchain import ChatScaleway
from linkspan.sandbox import Sandbox, run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MODEL = "llama-3.3-70b-instruct"
KEY = "scw-very-secret-key-0123456789"


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SCW_SECRET_KEY", "SCALEWAY_API_KEY", "SCALEWAY_BASE_URL"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="package")
def running() -> Iterator[Sandbox]:
    with run() as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(running: Sandbox) -> Sandbox:
    running.reset()
    return running


@pytest.fixture
def make(sandbox: Sandbox) -> Iterator[Callable[..., ChatScaleway]]:
    made: list[ChatScaleway] = []

    def build(**fields: Any) -> ChatScaleway:
        defaults = {"model": MODEL, "api_key": KEY, "base_url": sandbox.scaleway_url, "max_retries": 0, "timeout": 60}
        made.append(ChatScaleway(**{**defaults, **fields}))
        return made[-1]

    yield build
    for model in made:
        model.close()


@pytest.fixture
def model(make: Callable[..., ChatScaleway]) -> ChatScaleway:
    return make()
