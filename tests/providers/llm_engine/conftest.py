"""LLM Engine's codecs behind endpoints on a scripted loopback server, sync and async behind one set of words."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import pytest
from pydantic import SecretStr

from linkspan.assembler import Assembler
from linkspan.conversation import ChatRequest, Message, PromptRequest, Text
from linkspan.endpoint import connect
from linkspan.providers.llm_engine import LLM_ENGINE, LLMEngineChatCodec, LLMEnginePromptCodec
from tests.support.loopback import END, LoopbackServer, chunk, head, http
from tests.support.streams import astream_deltas, stream_deltas

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from linkspan.conversation import Completion, Delta
    from linkspan.endpoint import Endpoint
    from linkspan.providers.codec import Codec

KEY = "scale-key-0123456789"
RequestT = TypeVar("RequestT")


def prompt(text: str = "Once upon a time", /, **fields: Any) -> PromptRequest:
    return PromptRequest(fields.pop("model", "llama-2-7b"), text, **fields)


def chat(text: str = "Hi", /, **fields: Any) -> ChatRequest:
    return ChatRequest("llama-3-8b-instruct", [Message("user", [Text(text)])], **fields)


def said(text: str, *, finished: bool = False, made: int | None = None, **output: Any) -> bytes:
    """An event of a v1 stream."""
    whole = {
        "text": text,
        "finished": finished,
        "num_prompt_tokens": None,
        "num_completion_tokens": made,
        "token": None,
    }
    body = {"request_id": "req-1", "output": {**whole, **output}, "error": None}
    return json.dumps(body, ensure_ascii=False).encode()


def failed(message: str, status: int = 500, **top: Any) -> bytes:
    """An error event, of a v1 stream unless told otherwise."""
    content = {"error": message, "timestamp": "2026-11-21 06:00:00 PST"}
    top = top or {"request_id": "req-1", "output": None}
    return json.dumps({**top, "error": {"status_code": status, "content": content}}).encode()


class Caller(Generic[RequestT]):
    """Calls an endpoint in one of its two ways."""

    def __init__(self, face: str, codec: Codec[RequestT], server: LoopbackServer, path: str = "") -> None:
        self.face = face
        self.server = server
        self.endpoint: Endpoint[RequestT] = connect(
            codec,
            LLM_ENGINE,
            api_key=SecretStr(KEY),
            base_url=f"{server.url}{path}",
            max_retries=0,
            timeout=60.0,
        )

    async def complete(self, request: RequestT) -> Completion:
        if self.face == "sync":
            return self.endpoint.complete(request)
        return await self.endpoint.acomplete(request)

    async def stream(self, request: RequestT) -> list[Delta]:
        if self.face == "sync":
            return list(stream_deltas(self.endpoint, request))
        return [delta async for delta in astream_deltas(self.endpoint, request)]

    async def streamed(self, request: RequestT, *events: bytes, end: bool = True) -> Completion:
        """Answer with these events as the gateway frames them; return the answer put together."""
        frames = [chunk(b": ping - 2026-11-21\r\n\r\n"), *(chunk(b"data: " + one + b"\r\n\r\n") for one in events)]
        self.server.answer(head(), *frames, *([END] if end else []))
        assembler = Assembler()
        for delta in await self.stream(request):
            assembler.add(delta)
        return assembler.completion()

    async def answered(self, request: RequestT, body: Any, status: int = 200, **headers: str) -> Completion:
        """Answer with this body (JSON, or bytes as they are); return the answer."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.server.answer(http(status, content, headers=headers))
        return await self.complete(request)

    async def sent(self, request: RequestT) -> dict[str, Any]:
        """Return the body that a request becomes on the wire."""
        self.server.answer(http(500, b"{}"))
        with pytest.raises(Exception, match="llm_engine"):
            await self.complete(request)
        body: dict[str, Any] = self.server.requests[-1].json()
        return body

    async def aclose(self) -> None:
        self.endpoint.close()
        await self.endpoint.aclose()


@pytest.fixture
def server() -> Iterator[LoopbackServer]:
    with LoopbackServer() as running:
        yield running


@pytest.fixture(params=["sync", "async"])
def face(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def prompts(face: str, server: LoopbackServer) -> AsyncIterator[Caller[PromptRequest]]:
    caller: Caller[PromptRequest] = Caller(face, LLMEnginePromptCodec(guided_decoding=True), server)
    yield caller
    await caller.aclose()


@pytest.fixture
async def chats(face: str, server: LoopbackServer) -> AsyncIterator[Caller[ChatRequest]]:
    caller: Caller[ChatRequest] = Caller(face, LLMEngineChatCodec(guided_decoding=True), server)
    yield caller
    await caller.aclose()
