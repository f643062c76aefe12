"""Good answers of each API, the classes that read them, and ways to send bytes to a class without a socket."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx

from linkspan import langchain, llama_index
from tests.support import responses

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

KEY = "lsk-0f8fad5b/d9cb+469f=A165"

_LOGPROBS = {
    "content": [
        {
            "token": "Hi",
            "logprob": -0.5,
            "bytes": [72, 105],
            "top_logprobs": [{"token": "Ho", "logprob": -1.5, "bytes": [72, 111]}],
        }
    ]
}
_CALLS = [{"id": "call_1", "type": "function", "function": {"name": "look", "arguments": '{"at": "sea"}'}}]
_USAGE = {
    "prompt_tokens": 5,
    "completion_tokens": 7,
    "total_tokens": 12,
    "prompt_tokens_details": {"cached_tokens": 1},
    "completion_tokens_details": {"reasoning_tokens": 2},
}


def _choice(**fields: Any) -> dict[str, Any]:
    return {"index": 0, "finish_reason": None, "logprobs": None, **fields}


CHAT = {
    "id": "chat-1",
    "object": "chat.completion",
    "created": 1,
    "model": "served",
    "choices": [
        _choice(
            message={"role": "assistant", "content": "Hello", "reasoning": "Hm", "tool_calls": _CALLS, "refusal": None},
            finish_reason="stop",
            logprobs=_LOGPROBS,
        )
    ],
    "usage": _USAGE,
    "service_tier": "a",
}


def _chunk(*choices: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"id": "chat-1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": choices, **fields}


_PIECE = {"index": 0, "id": "call_1", "function": {"name": "look", "arguments": '{"at"'}}
CHAT_EVENTS = [
    _chunk(_choice(delta={"role": "assistant", "content": "", "reasoning": "Hm"})),
    _chunk(_choice(delta={"content": "Hello "}, logprobs=_LOGPROBS)),
    _chunk(_choice(delta={"content": "wörld 🙂, "})),
    _chunk(_choice(delta={"content": "a linkspan is a bridge."})),
    _chunk(_choice(delta={"content": [{"type": "text", "text": "!"}]})),
    _chunk(_choice(delta={"tool_calls": [_PIECE]})),
    _chunk(_choice(delta={"tool_calls": [{"index": 0, "function": {"arguments": ': "sea"}'}}]})),
    _chunk(_choice(delta={}, finish_reason="tool_calls")),
    _chunk(usage=_USAGE),
]
_SCORES = [{"token": "Hello ", "logprob": -0.5, "top_logprobs": [{"token": "Ho", "logprob": -1.5}]}]
_SPOKEN = "Hello wörld 🙂, a linkspan is a bridge."
_OUTPUT = [
    responses.reasoning("Hm", encrypted_content="c2VjcmV0"),
    responses.message(_SPOKEN, logprobs=_SCORES),
    responses.call('{"at": "sea"}', "look", "call_1"),
]
RESPONSE = responses.response(*_OUTPUT, service_tier="a")
RESPONSE_EVENTS = [
    responses.created(),
    *responses.said(_OUTPUT[0], "Hm"),
    *responses.said(_OUTPUT[1], "Hello ", "wörld 🙂, ", "a linkspan is a bridge.", place=1),
    *responses.said(_OUTPUT[2], '{"at"', ': "sea"}', place=2),
    responses.ended(*_OUTPUT),
]
PROMPT_V1 = {
    "request_id": "req-1",
    "output": {
        "text": "Hello",
        "num_prompt_tokens": 5,
        "num_completion_tokens": 7,
        "tokens": [{"token": "Hello", "log_prob": -0.5}],
    },
}


def _v1(text: str, made: int, *, finished: bool = False) -> dict[str, Any]:
    output = {"text": text, "finished": finished, "num_prompt_tokens": 5, "num_completion_tokens": made}
    return {"request_id": "req-1", "output": {**output, "token": {"token": text, "log_prob": -0.5}}}


V1_EVENTS = [_v1("Hello ", 1), _v1("wörld 🙂, ", 2), _v1("a linkspan is a bridge.", 3, finished=True)]
_TOKEN = {"id": 5, "text": "Hello", "logprob": -0.5, "special": False}
TGI = {
    "generated_text": "Hello",
    "details": {
        "finish_reason": "eos_token",
        "generated_tokens": 7,
        "seed": 1,
        "input_length": 5,
        "prefill": [{"id": 1, "text": "x", "logprob": None}],
        "tokens": [_TOKEN],
        "top_tokens": [[_TOKEN]],
    },
}


def _tgi(text: str, **fields: Any) -> dict[str, Any]:
    return {"index": 1, "token": {**_TOKEN, "text": text}, "generated_text": None, "details": None, **fields}


TGI_EVENTS = [
    _tgi("Hello ", top_tokens=[_TOKEN]),
    _tgi("wörld 🙂, "),
    _tgi(
        "a linkspan is a bridge.",
        generated_text="Hello wörld 🙂, a linkspan is a bridge.",
        details={"finish_reason": "eos_token", "generated_tokens": 3, "seed": 1, "input_length": 5},
    ),
]
ERRORS: list[Any] = [
    {"error": {"message": "no", "type": "invalid", "code": 400, "param": "x"}, "message": "outer"},
    {"error": "heading", "message": "what", "error_type": "validation", "status": 422},
    {"detail": [{"loc": ["body", "messages", 0], "msg": "wrong", "type": "literal_error", "input": "x"}]},
    {"detail": {"error": {"message": "no"}}},
    {"status_code": 400, "content": {"error": "{'object': 'error', 'message': 'no', 'code': 400}"}},
    {"error": "generation", "error_type": "generation"},
    [{"error": {"message": "no"}}],
]


@dataclass(frozen=True)
class Api:
    """One API as one class of a framework speaks it. After ``opening`` of its events the first words are said."""

    name: str
    make: Callable[..., Any]
    whole: Any
    events: list[Any]
    end: bytes = b""
    opening: int = 2

    def body(self, events: Iterable[Any]) -> bytes:
        """Return a stream of events."""
        return b"".join(b"data: " + raw(event) + b"\n\n" for event in events) + self.end


def raw(value: Any) -> bytes:
    """Return a value as JSON; bytes as they are."""
    return value if isinstance(value, bytes) else json.dumps(value).encode()


def _apis(module: Any, scaleway: str, gray_swan: str) -> Iterator[Api]:
    done = b"data: [DONE]\n\n"
    base = {"api_key": KEY, "model": "llama-3-8b", "max_retries": 0}
    llm_engine = {**base, "base_url": "http://127.0.0.1:1/llm-engine"}
    tgi = {**base, "base_url": "http://127.0.0.1:1"}

    def making(name: str, **fields: Any) -> Callable[..., Any]:
        return lambda **more: getattr(module, name)(**{**fields, **more})

    yield Api("scaleway", making(scaleway, **base), CHAT, CHAT_EVENTS, done)
    yield Api("scaleway_responses", making(scaleway, api="responses", **base), RESPONSE, RESPONSE_EVENTS, opening=7)
    yield Api("gray_swan", making(gray_swan, **base), CHAT, CHAT_EVENTS, done)
    yield Api("llm_engine_chat", making("ChatLLMEngine", **llm_engine), CHAT, CHAT_EVENTS, done)
    messages = {"api": "messages"} if module is langchain else {}
    yield Api("tgi_chat", making("ChatDataCrunch", **messages, **tgi), CHAT, CHAT_EVENTS, done)
    yield Api("llm_engine", making("LLMEngine", **llm_engine), PROMPT_V1, V1_EVENTS)
    yield Api("tgi", making("DataCrunch", **tgi), TGI, TGI_EVENTS)
    if module is langchain:
        template = {"chat_template": "chatml"}
        yield Api("llm_engine_v1", making("ChatLLMEngine", api="v1", **template, **llm_engine), PROMPT_V1, V1_EVENTS)
        yield Api("tgi_generate", making("ChatDataCrunch", api="generate", **template, **tgi), TGI, TGI_EVENTS)


LANGCHAIN = list(_apis(langchain, "ChatScaleway", "ChatGraySwan"))
LLAMA_INDEX = list(_apis(llama_index, "Scaleway", "GraySwan"))


class Wire(httpx.MockTransport):
    """Answers each request with what ``respond`` returns, sync and async."""

    def __init__(self) -> None:
        self.respond: Callable[[], httpx.Response] = lambda: httpx.Response(200)
        super().__init__(lambda _: self.respond())

    def clients(self) -> dict[str, Any]:
        """Return the arguments by which a class uses this."""
        return {
            "http_client": httpx.Client(transport=self),
            "http_async_client": httpx.AsyncClient(transport=self),
        }


class Body(httpx.SyncByteStream, httpx.AsyncByteStream):
    """A body that ends in order, or breaks, after its bytes."""

    def __init__(self, data: bytes, *, breaks: bool = False) -> None:
        self._data = data
        self._breaks = breaks

    def __iter__(self) -> Iterator[bytes]:
        yield self._data
        if self._breaks:
            raise httpx.ReadError("Connection reset by peer")

    async def __aiter__(self) -> Any:
        for data in self:
            yield data
