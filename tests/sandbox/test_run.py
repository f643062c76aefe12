"""``run()``: the sandbox's life, in sync and async code."""

from __future__ import annotations

import asyncio
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import httpx
import pytest

from linkspan.errors import ConfigurationError
from linkspan_sandbox import Call, EngineError, Rule, run
from tests.sandbox.conftest import Client, text_of

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from linkspan_sandbox import Piece


def sandbox_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("linkspan-sandbox")]


def test_serves_inside_the_block_and_is_gone_after_it() -> None:
    before = len(sandbox_threads())
    with run() as sandbox:
        client = Client(sandbox.scaleway_url)
        assert text_of(client.events("Hello")) == "Hello"
    with pytest.raises(httpx.ConnectError):
        client.post()
    assert len(sandbox_threads()) == before


def test_an_answer_does_not_wait_for_the_acknowledgement_of_its_head() -> None:
    # Where it did, each call over a kept connection took 40 ms.
    with run() as sandbox:
        client = Client(sandbox.scaleway_url)
        client.post()
        (transport,) = sandbox._connections.values()
        assert transport.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        client.http.close()


async def test_serves_async_code_without_blocking_its_loop() -> None:
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            ticks += 1
            await asyncio.sleep(0)

    ticking = asyncio.create_task(tick())
    async with run() as sandbox:
        assert ticks > 1
        async with httpx.AsyncClient(headers={"authorization": "Bearer any"}, trust_env=False, verify=False) as http:
            body = {"model": "glm-5.2", "messages": [{"role": "user", "content": "Hello"}]}
            answers = await asyncio.gather(
                *[http.post(f"{sandbox.scaleway_url}/chat/completions", json=body) for _ in range(20)]
            )
        assert {answer.json()["choices"][0]["message"]["content"] for answer in answers} == {"Hello"}
        assert len(sandbox.requests) == 20
    ticking.cancel()


def test_serves_many_threads_at_once() -> None:
    with run() as sandbox, ThreadPoolExecutor(16) as pool:
        texts = [f"word{number} and more" for number in range(64)]
        answers = pool.map(lambda text: text_of(Client(sandbox.scaleway_url).events(text)), texts)
        assert list(answers) == texts


def test_stops_at_once_while_a_client_still_reads() -> None:
    from linkspan_sandbox import Reply, Stall

    with run() as sandbox:
        sandbox.add_rule(Reply("one two", fault=Stall(after=1)))
        body = {"model": "glm-5.2", "messages": [{"role": "user", "content": "x"}], "stream": True}
        with Client(sandbox.scaleway_url).http.stream("POST", "/chat/completions", json=body) as response:
            lines = response.iter_lines()
            next(lines)
            sandbox.stop()
            with pytest.raises(httpx.RemoteProtocolError):
                list(lines)


def test_takes_the_port_that_it_is_given_and_says_when_it_is_taken() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ConfigurationError, match=f"cannot listen on 127.0.0.1:{port}"):
            run(port=port).start()
    with run(port=port) as sandbox:
        assert sandbox.url == f"http://127.0.0.1:{port}"


def test_refuses_what_makes_no_sense() -> None:
    with pytest.raises(ConfigurationError, match="'magic'"):
        run("magic")
    with pytest.raises(ConfigurationError, match="rules need the scripted engine"):
        run("local", rules=[Rule("x")])
    with run() as sandbox, pytest.raises(ConfigurationError, match="has already started"):
        sandbox.start()


class OwnEngine:
    """An engine as a user may write one."""

    name = "own"
    served_model: str | None = "own-model"
    context_window: int | None = 100

    def __init__(self, *, fails: bool = False) -> None:
        self.fails = fails
        self.events: list[str] = []

    async def start(self) -> None:
        self.events.append("start")
        if self.fails:
            raise ConfigurationError("the engine has no fuel")

    async def stop(self) -> None:
        self.events.append("stop")

    async def answer(self, call: Call) -> AsyncGenerator[Piece, None]:
        raise EngineError(f"no answer to {call.last_user_text}", status=418)
        yield


def test_takes_an_engine_of_ones_own() -> None:
    engine = OwnEngine()
    with run(engine) as sandbox:
        response = Client(sandbox.scaleway_url).post("tea", model="own-model")
        with pytest.raises(ConfigurationError, match='this sandbox has "own"'):
            sandbox.add_rule("x")
    assert (response.status_code, response.json()["error"]["message"]) == (418, "no answer to tea")
    assert engine.events == ["start", "stop"]


def test_engine_that_cannot_start_is_told_to_the_caller() -> None:
    with pytest.raises(ConfigurationError, match="no fuel"):
        run(OwnEngine(fails=True)).start()


def test_without_a_request_there_is_no_last_one() -> None:
    with run() as sandbox, pytest.raises(IndexError, match="no request has arrived"):
        _ = sandbox.last_request
