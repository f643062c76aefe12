"""Many streams at once through each API, and both engines behind every dialect."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from linkspan_sandbox import Call, DataCrunchOptions, Rule, Sandbox, ScriptedEngine, run
from linkspan_sandbox.local_model import find_weights

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterator

    from linkspan_sandbox import Piece

#: So many through one API, whose server all share, and through the one that has a limit; fewer through the others.
STREAMS = {"scaleway": 200, "tgi": 200}
OTHER_STREAMS = 50
CHAT: dict[str, Any] = {"messages": [{"role": "user", "content": "Hello"}], "stream": True, "max_tokens": 8}
PROMPT: dict[str, Any] = {"inputs": "Hello", "parameters": {"max_new_tokens": 8}}
#: A streamed call of each API, and what only the last event of a whole stream holds.
CALLS: dict[str, tuple[str, dict[str, Any], str]] = {
    "scaleway": ("/scaleway/v1/chat/completions", {"model": "glm-5.2", **CHAT}, "data: [DONE]\n\n"),
    "gray_swan": ("/gray-swan/chat/completion", {"model": "cygnet", **CHAT}, "data: [DONE]\n\n"),
    "llm_engine v1": (
        "/llm-engine/v1/llm/completions-stream?model_endpoint_name=llama-3-8b-instruct",
        {"prompt": "Hello", "max_new_tokens": 8, "temperature": 0.2},
        '"finished":true',
    ),
    "llm_engine v2": ("/llm-engine/v2/chat/completions", {"model": "llama-3-8b-instruct", **CHAT}, '"finish_reason":"'),
    "datacrunch": ("/datacrunch/v1/completions/generate_stream", {"model": "any", **PROMPT}, '"generated_text":"'),
    "tgi": ("/datacrunch/container/generate_stream", PROMPT, '"generated_text":"'),
    "tgi chat": ("/datacrunch/container/v1/chat/completions", {"model": "tgi", **CHAT}, "data: [DONE]\n\n"),
}


class AllAtOnce(ScriptedEngine):
    """The scripted engine, which begins to answer when as many calls wait as there are to be."""

    def __init__(self, count: int) -> None:
        super().__init__([Rule("one two three four five six")])
        self._missing = count
        self._complete = asyncio.Event()

    async def start(self) -> None:
        self._complete = asyncio.Event()

    def answer(self, call: Call) -> AsyncGenerator[Piece, None]:
        return self._answer(call)

    async def _answer(self, call: Call) -> AsyncGenerator[Piece, None]:
        self._missing -= 1
        if self._missing == 0:
            self._complete.set()
        await self._complete.wait()
        async with contextlib.aclosing(super().answer(call)) as pieces:
            async for piece in pieces:
                yield piece


@pytest.fixture
def many_files() -> Iterator[None]:
    """Both ends of each connection are open files of this process."""
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 1024:
        pytest.skip("needs 1024 file descriptors")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 1024), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize("name", CALLS)
async def test_many_streams_at_once(many_files: None, name: str) -> None:
    path, body, last = CALLS[name]
    count = STREAMS.get(name, OTHER_STREAMS)
    # TGI's own limit is 128.
    options = DataCrunchOptions(max_concurrent_requests=count)
    async with run(AllAtOnce(count), datacrunch_options=options) as sandbox:
        client = httpx.AsyncClient(
            base_url=sandbox.url,
            headers={"authorization": "Bearer any"},
            limits=httpx.Limits(max_connections=count),
            timeout=60,
            trust_env=False,
        )
        async with client:
            answers = await asyncio.gather(*(client.post(path, json=body) for _ in range(count)))
        ports = {request.client_port for request in sandbox.requests}
    assert {answer.status_code for answer in answers} == {200}
    assert all(answer.headers["content-type"].startswith("text/event-stream") for answer in answers)
    assert all(last in answer.text and "six" in answer.text for answer in answers)
    assert len(ports) == len(answers) == count


@pytest.fixture(params=["scripted", "local"])
def either(request: pytest.FixtureRequest, sandboxes: Callable[..., Sandbox]) -> Sandbox:
    if request.param == "local" and find_weights() is None:
        pytest.skip("the local model's weights are not on this machine")
    return sandboxes(request.param)


@pytest.mark.parametrize("name", CALLS)
async def test_both_engines_answer_through_every_dialect(either: Sandbox, name: str) -> None:
    path, body, last = CALLS[name]
    async with httpx.AsyncClient(
        base_url=either.url, headers={"authorization": "Bearer any"}, timeout=60, trust_env=False
    ) as client:
        streamed = await client.post(path, json=body)
        whole = await client.post(
            path.replace("-stream", "-sync").replace("generate_stream", "generate"),
            json={key: value for key, value in body.items() if key != "stream"},
        )
    assert streamed.status_code == whole.status_code == 200, whole.text
    assert last in streamed.text
    assert whole.headers["content-type"] == "application/json"
    assert any(field in whole.json() for field in ("choices", "output", "generated_text"))
