"""A TGI endpoint on a scripted loopback server, sync and async behind one set of words, and what TGI sends."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import SecretStr

from linkspan.conversation import PromptRequest
from linkspan.endpoint import Endpoint, connect
from linkspan.errors import LinkspanError
from linkspan.providers.datacrunch import DATACRUNCH, TGICodec
from tests.support.loopback import END, LoopbackServer, Step, chunk, head, http
from tests.support.streams import assemble, astream_deltas, stream_deltas

if TYPE_CHECKING:
    from linkspan.assembler import Assembler
    from linkspan.conversation import Completion, Delta
    from linkspan.providers.codec import Codec

KEY = "dc_secret_0123456789"
HEADERS = {"x-request-id": "req-7"}


def ask(prompt: str = "Hi", /, *, stop: list[str] | None = None, **parameters: Any) -> PromptRequest:
    return PromptRequest(None, prompt, parameters, stop or [])


def token(text: str, *, number: int = 7, logprob: float | None = -0.5, special: bool = False) -> dict[str, Any]:
    return {"id": number, "text": text, "logprob": logprob, "special": special}


def step(text: str, **fields: Any) -> bytes:
    """An event before the last one."""
    return event({"token": token(text, **fields), "generated_text": None, "details": None})


def last(text: str, generated: str, *, special: bool = False, details: Any = "some", **fields: Any) -> bytes:
    """The last event: it carries a token as well."""
    if details == "some":
        details = {"finish_reason": "length", "generated_tokens": 2, "seed": None, "input_length": 4}
    return event({"token": token(text, special=special), "generated_text": generated, "details": details, **fields})


def event(body: Any) -> bytes:
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()


def stream(*events: bytes, prefix: bytes = b"data: ") -> list[Step]:
    """The steps of a stream as TGI frames it: no end mark."""
    return [head(headers=HEADERS), *(chunk(prefix + item + b"\n\n") for item in events), END]


def whole(generated: str, *, finish: str = "length", tokens: list[dict[str, Any]] | None = None, **details: Any) -> Any:
    shown = [token(generated)] if tokens is None else tokens
    return {
        "generated_text": generated,
        "details": {
            "finish_reason": finish,
            "generated_tokens": len(shown),
            "seed": None,
            "prefill": [],
            "tokens": shown,
            **details,
        },
    }


class Caller:
    """Calls a TGI endpoint in one of its two ways."""

    def __init__(self, face: str, server: LoopbackServer) -> None:
        self.face = face
        self.server = server
        self.endpoints: list[Endpoint[Any]] = []
        self.generate = self.connect(TGICodec())

    def connect(self, codec: Codec[Any], max_retries: int = 0) -> Endpoint[Any]:
        endpoint = connect(
            codec,
            DATACRUNCH,
            api_key=SecretStr(KEY),
            base_url=f"{self.server.url}/mine",
            max_retries=max_retries,
            timeout=60.0,
        )
        self.endpoints.append(endpoint)
        return endpoint

    async def complete(self, request: Any, endpoint: Endpoint[Any] | None = None) -> Completion:
        chosen = endpoint or self.generate
        return chosen.complete(request) if self.face == "sync" else await chosen.acomplete(request)

    async def stream(
        self, request: Any, endpoint: Endpoint[Any] | None = None, assembler: Assembler | None = None
    ) -> list[Delta]:
        chosen = endpoint or self.generate
        if self.face == "sync":
            return list(stream_deltas(chosen, request, assembler=assembler))
        return [delta async for delta in astream_deltas(chosen, request, assembler=assembler)]

    async def answered(self, body: Any, request: PromptRequest | None = None, **headers: str) -> Completion:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.server.answer(http(200, event(body), headers={**HEADERS, **named}))
        return await self.complete(request or ask())

    async def streamed(self, *events: bytes, request: PromptRequest | None = None) -> Completion:
        self.server.answer(*stream(*events))
        return assemble(await self.stream(request or ask()))

    async def refused(self, *steps: Step, streaming: bool = False) -> LinkspanError:
        self.server.answer(*steps)
        with pytest.raises(LinkspanError) as caught:
            await (self.stream(ask()) if streaming else self.complete(ask()))
        return caught.value
