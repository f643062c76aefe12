"""The recorded answer that the replay server sends: its text and its bytes, built once."""

from __future__ import annotations

import json

__all__ = ["EVENTS_PER_BURST", "body_frames", "text_pieces"]

#: Events that a burst brings in one HTTP chunk, as from a proxy that gathers what it forwards.
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


def body_frames(count: int, *, burst: bool) -> list[bytes]:
    """Return the HTTP chunks of an answer of ``count`` pieces, in the shape of vLLM's streams.

    Args:
        count: Pieces of text. A role, a finish reason, the usage and the end mark come as further events.
        burst: Whether :data:`EVENTS_PER_BURST` events share an HTTP chunk; else each has its own.
    """
    events = [_choice({"role": "assistant", "content": ""})]
    events += [_choice({"content": piece}) for piece in text_pieces(count)]
    events.append(_choice({}, "stop"))
    usage = {"prompt_tokens": 17, "completion_tokens": count, "total_tokens": 17 + count, "prompt_tokens_details": None}
    events.append(_event({**_head(), "choices": [], "usage": usage}))
    events.append(b"data: [DONE]\n\n")
    size = EVENTS_PER_BURST if burst else 1
    groups = [b"".join(events[start : start + size]) for start in range(0, len(events), size)]
    return [b"%x\r\n%b\r\n" % (len(group), group) for group in groups] + [b"0\r\n\r\n"]


def _head() -> dict[str, object]:
    return {"id": _ID, "object": "chat.completion.chunk", "created": 1760000000, "model": _MODEL}


def _choice(delta: dict[str, str], finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
    return _event({**_head(), "choices": [choice], "usage": None})


def _event(body: dict[str, object]) -> bytes:
    return b"data: " + json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode() + b"\n\n"
