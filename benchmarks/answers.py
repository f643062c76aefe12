"""The replay server's answers, in the APIs' formats: built once, as bytes."""

from __future__ import annotations

import json
from typing import Any

__all__ = ["EVENTS_PER_BURST", "body_frames", "call_body", "long_text", "text_pieces"]

#: Events per HTTP chunk in a burst, as from a buffering proxy.
EVENTS_PER_BURST = 16

_WORDS = (
    "A",
    " linkspan",
    " is",
    " a",
    " type",
    " of",
    " draw",
    "bridge",
    " at",
    " a",
    " ferry",
    " berth",
    ".",
    " Été",
)
_ID = "chatcmpl-0f1e2d3c4b5a69788796a5b4c3d2e1f0"
_MODEL = "llama-3.3-70b-instruct"


def text_pieces(count: int) -> list[str]:
    """Return the text of each of ``count`` chunks."""
    return [_WORDS[number % len(_WORDS)] for number in range(count)]


def long_text(size: int) -> str:
    """Return a text of about ``size`` characters."""
    sentence = "".join(_WORDS)
    return sentence * max(1, size // len(sentence))


def body_frames(count: int, *, burst: bool, dialect: str = "chat") -> list[bytes]:
    """Return the HTTP chunks of an answer of ``count`` pieces.

    Args:
        count: Pieces of text. Role, finish reason, usage and end marker are in further events.
        burst: Whether :data:`EVENTS_PER_BURST` events share an HTTP chunk; else each has its own.
        dialect: ``"chat"`` (as vLLM writes Chat Completions), ``"engine"`` (LLM Engine v1), ``"tgi"``.
    """
    events = {"chat": _chat_events, "engine": _engine_events, "tgi": _tgi_events}[dialect](count)
    size = EVENTS_PER_BURST if burst else 1
    groups = [b"".join(events[start : start + size]) for start in range(0, len(events), size)]
    return [b"%x\r\n%b\r\n" % (len(group), group) for group in groups] + [b"0\r\n\r\n"]


def call_body(size: int) -> bytes:
    """Return a whole Chat Completions answer whose text has about ``size`` characters."""
    message: dict[str, Any] = {"role": "assistant", "content": long_text(size), "refusal": None, "tool_calls": []}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop", "stop_reason": None}
    usage = {"prompt_tokens": 17, "completion_tokens": size // 4, "total_tokens": 17 + size // 4}
    body = {**_head(), "object": "chat.completion", "choices": [choice], "usage": usage}
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()


def _chat_events(count: int) -> list[bytes]:
    events = [_choice({"role": "assistant", "content": ""})]
    events += [_choice({"content": piece}) for piece in text_pieces(count)]
    events.append(_choice({}, "stop"))
    usage = {"prompt_tokens": 17, "completion_tokens": count, "total_tokens": 17 + count, "prompt_tokens_details": None}
    events.append(_event({**_head(), "choices": [], "usage": usage}))
    events.append(b"data: [DONE]\n\n")
    return events


def _engine_events(count: int) -> list[bytes]:
    events = []
    for made, piece in enumerate(text_pieces(count), 1):
        ended = made == count
        output = {"text": piece, "finished": ended, "num_prompt_tokens": 17 if ended else None}
        output |= {"num_completion_tokens": made, "token": None}
        event = _event({"request_id": "0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0", "output": output})
        events.append(event.replace(b"\n\n", b"\r\n\r\n"))  # as sse-starlette ends its lines
    return events


def _tgi_events(count: int) -> list[bytes]:
    events = []
    for number, piece in enumerate(text_pieces(count), 1):
        token = {"id": 1000 + number, "text": piece, "logprob": -0.0625, "special": False}
        ended = number == count
        details = {"finish_reason": "length", "generated_tokens": count, "seed": None, "input_length": 17}
        event: dict[str, Any] = {"index": number, "token": token}
        event["generated_text"] = "".join(text_pieces(count)) if ended else None
        event["details"] = details if ended else None
        events.append(b"data:" + _event(event)[6:])  # TGI writes no space
    return events


def _head() -> dict[str, object]:
    return {"id": _ID, "object": "chat.completion.chunk", "created": 1760000000, "model": _MODEL}


def _choice(delta: dict[str, str], finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
    return _event({**_head(), "choices": [choice], "usage": None})


def _event(body: dict[str, object]) -> bytes:
    return b"data: " + json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode() + b"\n\n"
