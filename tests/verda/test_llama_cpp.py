"""``api="openai"`` against a real llama.cpp with a real model: its list, answers, streams, objects and prompts."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING

import pytest

from linkspan.langchain import ChatDataCrunch
from linkspan_sandbox.local_model import find_weights
from tests.verda.conftest import Asker, every
from tests.verda.test_openai_api import Person

if TYPE_CHECKING:
    from collections.abc import Iterator

    from linkspan_sandbox.llama_server import LlamaServer

if importlib.util.find_spec("xllamacpp") is None or find_weights() is None:
    pytest.skip("needs xllamacpp and the local model's weights", allow_module_level=True)


@pytest.fixture(scope="module")
def server() -> Iterator[LlamaServer]:
    from linkspan_sandbox.llama_server import LlamaServer

    weights = find_weights()
    assert weights is not None
    started = LlamaServer(weights)
    started.start()
    yield started
    started.stop()


@every
async def test_whole_and_streamed(asker: Asker, server: LlamaServer) -> None:
    model = asker.cls(
        api="openai", base_url=f"{server.url}/v1", api_key=server.api_key, temperature=0, max_tokens=4, seed=1
    )
    whole = asker.ask(model)
    assert whole
    assert "".join(asker.pieces(model)) == whole
    assert await asker.aask(model) == whole
    assert model.list_models()[0].context_window == 4096
    await model.aclose()


def test_an_object(server: LlamaServer) -> None:
    with ChatDataCrunch(api="openai", base_url=server.url, api_key=server.api_key, temperature=0) as chat:
        assert chat.with_structured_output(Person).invoke("Ann is 5 years old.").name
