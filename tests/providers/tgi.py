"""What a TGI server sends, and requests for it: words shared by the tests of its codec."""

from __future__ import annotations

import json
from typing import Any

from linkspan.conversation import PromptRequest
from tests.support.loopback import END, Step, chunk, head

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
