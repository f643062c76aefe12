"""One scripted sandbox for all tests here, emptied before each, and a model that talks to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from linkspan.langchain import ChatScaleway

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from linkspan_sandbox import Sandbox

MODEL = "llama-3.3-70b-instruct"
KEY = "scw-very-secret-key-0123456789"


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
