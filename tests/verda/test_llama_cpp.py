"""``api="openai"`` against a real llama.cpp with a real model: its list, answers, streams, objects and prompts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from linkspan.langchain import ChatDataCrunch
from tests.verda.conftest import Asker, every
from tests.verda.test_openai_api import Person

if TYPE_CHECKING:
    from linkspan_sandbox.llama_server import LlamaServer


@every
async def test_whole_and_streamed(asker: Asker, llama_cpp: LlamaServer) -> None:
    model = asker.cls(
        api="openai", base_url=f"{llama_cpp.url}/v1", api_key=llama_cpp.api_key, temperature=0, max_tokens=4, seed=1
    )
    whole = asker.ask(model)
    assert whole
    assert "".join(asker.pieces(model)) == whole
    assert await asker.aask(model) == whole
    assert model.list_models()[0].context_window == 4096
    await model.aclose()


def test_an_object(llama_cpp: LlamaServer) -> None:
    with ChatDataCrunch(api="openai", base_url=llama_cpp.url, api_key=llama_cpp.api_key, temperature=0) as chat:
        assert chat.with_structured_output(Person).invoke("Ann is 5 years old.").name
