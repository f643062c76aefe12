"""Scaleway's codec behind an endpoint on a scripted loopback server, sync and async behind one set of words."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import SecretStr

from linkspan.assembler import Assembler
from linkspan.conversation import ChatRequest, Message, Text
from linkspan.endpoint import connect
from linkspan.providers.scaleway import SCALEWAY, ScalewayChatCodec
from tests.providers.tgi import Caller as TGICaller
from tests.support.loopback import LoopbackServer, event_stream, http
from tests.support.streams import astream_deltas, stream_deltas

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from linkspan.conversation import Completion, Delta
    from linkspan.endpoint import Endpoint

KEY = "scw-secret-0123456789"


def ask(text: str = "Hi", **fields: Any) -> ChatRequest:
    return ChatRequest("mistral-small-3.2-24b-instruct-2506", [Message("user", [Text(text)])], **fields)


def chunk(delta: dict[str, Any] | None = None, *, finish: str | None = None, **top: Any) -> bytes:
    body = {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "served-model",
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
    }
    return json.dumps({**body, **top}).encode()


class Caller:
    """Calls an endpoint in one of its two ways."""

    def __init__(self, face: str, endpoint: Endpoint[ChatRequest], server: LoopbackServer) -> None:
        self.face = face
        self.endpoint = endpoint
        self.server = server

    async def complete(self, request: ChatRequest | None = None) -> Completion:
        if self.face == "sync":
            return self.endpoint.complete(request or ask())
        return await self.endpoint.acomplete(request or ask())

    async def stream(self, request: ChatRequest | None = None, *, taken: list[str] | None = None) -> list[Delta]:
        """Read a stream; ``taken`` gets the texts as they come, for one that breaks."""
        deltas: list[Delta] = []
        texts = [] if taken is None else taken
        if self.face == "sync":
            for delta in stream_deltas(self.endpoint, request or ask()):
                deltas.append(delta)
                texts.append(delta.text)
        else:
            async for delta in astream_deltas(self.endpoint, request or ask()):
                deltas.append(delta)
                texts.append(delta.text)
        return deltas

    async def streamed(self, *events: bytes) -> Completion:
        """Answer with these events and the end mark; return the answer put together."""
        self.server.answer(*event_stream(*events))
        assembler = Assembler()
        for delta in await self.stream():
            assembler.add(delta)
        return assembler.completion()

    async def answered(self, body: Any, status: int = 200) -> Completion:
        """Answer with this JSON body; return the answer."""
        self.server.answer(http(status, json.dumps(body).encode()))
        return await self.complete()


@pytest.fixture
def server() -> Iterator[LoopbackServer]:
    with LoopbackServer() as running:
        yield running


@pytest.fixture(params=["sync", "async"])
async def caller(request: pytest.FixtureRequest, server: LoopbackServer) -> AsyncIterator[Caller]:
    endpoint = connect(
        ScalewayChatCodec(),
        SCALEWAY,
        api_key=SecretStr(KEY),
        base_url=f"http://127.0.0.1:{server.port}/v1",
        max_retries=0,
        timeout=60.0,
    )
    yield Caller(request.param, endpoint, server)
    endpoint.close()
    await endpoint.aclose()


@pytest.fixture(params=["sync", "async"])
async def tgi(request: pytest.FixtureRequest, server: LoopbackServer) -> AsyncIterator[TGICaller]:
    caller = TGICaller(request.param, server)
    yield caller
    for endpoint in caller.endpoints:
        endpoint.close()
        await endpoint.aclose()
