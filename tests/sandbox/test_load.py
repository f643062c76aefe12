"""Two hundred streams at once through each API, and both engines behind every dialect."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import httpx
import pytest

from linkspan_sandbox import Call, DataCrunchOptions, Rule, Sandbox, ScriptedEngine, run

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator

    from linkspan_sandbox import Piece

STREAMS = 200
CHAT: dict[str, Any] = {"messages": [{"role": "user", "content": "Hello"}], "stream": True, "max_tokens": 7}
PROMPT: dict[str, Any] = {"inputs": "Hello", "parameters": {"max_new_tokens": 7}}
#: A streamed call of each API, and what only the last event of a whole stream holds.
CALLS: dict[str, tuple[str, dict[str, Any], str]] = {
    "scaleway": ("/scaleway/v1/chat/completions", {"model": "glm-5.2", **CHAT}, "data: [DONE]\n\n"),
    "gray_swan": ("/gray-swan/chat/completion", {"model": "cygnet", **CHAT}, "data: [DONE]\n\n"),
    "llm_engine v1": (
        "/llm-engine/v1/llm/completions-stream?model_endpoint_name=llama-3-8b-instruct",
        {"prompt": "Hello", "max_new_tokens": 7, "temperature": 0.2},
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


async def post(url: str, path: str, body: dict[str, Any]) -> str:
    """Send a request on a connection of its own and return the whole answer. A pool's work grows with its square."""
    content = json.dumps(body).encode()
    lines = [
        f"POST {path} HTTP/1.1",
        "host: sandbox",
        "authorization: Bearer any",
        "content-type: application/json",
        f"content-length: {len(content)}",
        "connection: close",
    ]
    address = urlsplit(url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    writer.write("\r\n".join([*lines, "", ""]).encode() + content)
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer.decode()


@pytest.mark.parametrize("name", CALLS)
async def test_two_hundred_streams_at_once(many_files: None, name: str) -> None:
    path, body, last = CALLS[name]
    # TGI's own limit is 128.
    options = DataCrunchOptions(max_concurrent_requests=STREAMS)
    async with run(AllAtOnce(STREAMS), datacrunch_options=options) as sandbox:
        answers = await asyncio.gather(*(post(sandbox.url, path, body) for _ in range(STREAMS)))
        ports = {request.client_port for request in sandbox.requests}
    assert {answer.partition("\r\n")[0] for answer in answers} == {"HTTP/1.1 200 OK"}
    assert all("\r\ncontent-type: text/event-stream" in answer for answer in answers)
    assert all(last in answer and "six" in answer for answer in answers)
    assert len(ports) == len(answers) == STREAMS


@pytest.fixture(params=["scripted", "local"])
def either(request: pytest.FixtureRequest) -> Sandbox:
    found: Sandbox = request.getfixturevalue("sandbox" if request.param == "scripted" else "local")
    return found


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
