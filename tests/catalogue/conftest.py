"""A scripted loopback server, a clean environment, and each class with what it is made of."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from linkspan import langchain, llama_index
from tests.support.loopback import LoopbackServer, http

if TYPE_CHECKING:
    from collections.abc import Iterator

KEY = "scw-very-secret-key-0123456789"

#: All classes for Scaleway that name a model.
CLASSES = [
    langchain.ChatScaleway,
    langchain.ScalewayEmbeddings,
    langchain.ScalewayRerank,
    llama_index.Scaleway,
    llama_index.ScalewayEmbedding,
    llama_index.ScalewayRerank,
]


def name_of(cls: type) -> str:
    return f"{cls.__module__.split('.')[1]}-{cls.__name__}"


def answer(server: LoopbackServer, body: Any, status: int = 200, headers: dict[str, str] | None = None) -> None:
    server.answer(http(status, json.dumps(body).encode(), headers=headers))


def listed(model: Any, face: str) -> list[Any]:
    """Call ``list_models`` in one of its two ways."""

    async def in_a_loop() -> list[Any]:
        try:
            return await model.alist_models()
        finally:
            await model.aclose()

    if face == "async":
        return asyncio.run(in_a_loop())
    try:
        return model.list_models()
    finally:
        model.close()


@pytest.fixture
def server() -> Iterator[LoopbackServer]:
    with LoopbackServer() as running:
        yield running


@pytest.fixture(params=["sync", "async"])
def face(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(params=CLASSES, ids=name_of)
def cls(request: pytest.FixtureRequest) -> Any:
    return request.param
