"""The sandbox for other people's clients: every test that asks for ``served`` runs against both engines.

Where they take an httpx client, it verifies no certificates: reading the machine's takes 30 ms each time.

An async client sends and reads what its sync twin does, so only the twin is tried against the real model.

The clients are those of the services themselves (``openai``, ``huggingface_hub``, ``text-generation``,
``scale-llm-engine``, ``grayswan-api``), so they do not share this project's ideas of the APIs. They are part of the dev
group; where one is missing, the import fails and so do its tests.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from linkspan_sandbox import LLMEngineOptions, Sandbox, local_model

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

# Before its import: it asks the public package index for its latest version otherwise.
os.environ["LLM_ENGINE_DISABLE_VERSION_CHECK"] = "true"

KEY = "a-key-of-this-test"
WRONG_KEY = "another-key"
#: Of LLM Engine: images with vLLM before 0.12, on which its client's guided fields have an effect.
OLD_PODS = LLMEngineOptions(obeys_guides=True)
#: Small enough for the small model to come to its end.
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"city": {"type": "string", "maxLength": 2}},
    "required": ["city"],
    "additionalProperties": False,
}


@dataclass(frozen=True)
class Served:
    """A sandbox and what may be expected of it: words from the scripted engine, any from the real model."""

    sandbox: Sandbox
    exact: bool

    def expect(self, text: str | None, wanted: str) -> None:
        """Check an answer's text: exactly where the engine is scripted, else that there is any."""
        assert text is not None
        if self.exact:
            assert text == wanted
        else:
            assert text.strip()

    def expect_pieces(self, pieces: Sequence[str | None], wanted: Sequence[str]) -> None:
        """Check a stream's texts likewise; empty ones do not count."""
        texts = [piece for piece in pieces if piece]
        if self.exact:
            assert texts == list(wanted)
        else:
            assert len(texts) > 1
            assert "".join(texts).strip()

    def expect_model(self, model: str, asked: str) -> None:
        """Check which model an answer names."""
        assert model == (asked if self.exact else local_model.MODEL_NAME)


def read_until(kind: type[Exception], stream: Iterator[Any]) -> tuple[list[Any], Exception]:
    """Read a stream that has to fail in this way; return what came before, and the failure."""
    read: list[Any] = []
    try:
        while True:
            read.append(next(stream))
    except kind as error:
        return read, error


@pytest.fixture
def scripted(sandboxes: Callable[..., Sandbox]) -> Sandbox:
    """The sandbox that answers by rules, with none."""
    return sandboxes(api_key=KEY)


@pytest.fixture
def by_rules(sandboxes: Callable[..., Sandbox]) -> Served:
    """The first of those that ``served`` is."""
    return Served(sandboxes("scripted", api_key=KEY, llm_engine_options=OLD_PODS), exact=True)


@pytest.fixture(params=["scripted", "local"])
def served(request: pytest.FixtureRequest, sandboxes: Callable[..., Sandbox]) -> Served:
    """Both sandboxes, one after the other."""
    assert local_model.find_weights() is not None, (
        "the local engine's weights are missing: make pytest fetches them, as linkspan sandbox --download does"
    )
    return Served(sandboxes(request.param, api_key=KEY, llm_engine_options=OLD_PODS), exact=request.param == "scripted")
