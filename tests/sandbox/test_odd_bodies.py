"""Odd bodies get the API's own error, never a traceback; what was seen is kept within bounds."""

from __future__ import annotations

import contextlib
import json
import socket
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

import linkspan_sandbox
from linkspan_sandbox import recording
from linkspan_sandbox.addresses import is_loopback

DEEP = "[" * 3000 + "]" * 3000
CHAT: dict[str, Any] = {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 5}
PROMPT: dict[str, Any] = {"prompt": "Hi", "max_new_tokens": 5, "temperature": 0.2}
ROUTES: dict[str, dict[str, Any]] = {
    "/scaleway/v1/chat/completions": {"model": "llama-3.3-70b-instruct", **CHAT},
    "/scaleway/v1/embeddings": {"model": "bge-multilingual-gemma2", "input": "Hi"},
    "/gray-swan/chat/completion": {"model": "cygnet", **CHAT},
    "/llm-engine/v1/llm/completions-sync?model_endpoint_name=llama-2-7b": PROMPT,
    "/llm-engine/v1/llm/completions-stream?model_endpoint_name=llama-2-7b": PROMPT,
    "/llm-engine/v2/chat/completions": {"model": "llama-2-7b", **CHAT},
    "/datacrunch/container/generate": {"inputs": "Hi", "parameters": {"max_new_tokens": 5}},
    "/datacrunch/v1/completions/generate": {"model": "m", "inputs": "Hi"},
    "/datacrunch/container/v1/chat/completions": {"model": "m", **CHAT},
    "/datacrunch/vllm/v1/chat/completions": {"model": "m", **CHAT},
    "/datacrunch/vllm/v1/completions": {"model": "m", "prompt": "Hi", "max_tokens": 5},
    "/scaleway/v1/rerank": {"model": "qwen3-embedding-8b", "query": "Hi", "documents": ["Hi"]},
    "/scaleway/v1/ocr": {"model": "mistral-ocr-2512", "document": {"type": "image_url"}, "pages": [0]},
    "/scaleway/v1/responses": {
        "model": "llama-3.3-70b-instruct",
        "input": [{"role": "user", "content": "Hi"}],
        "include": [],
        "reasoning": {},
        "text": {"format": {"type": "text"}},
        "tools": [{"type": "function", "name": "f", "parameters": {}}],
    },
    "/gray-swan/cygnal/monitor": {
        "messages": [{"role": "user", "content": "Hi"}],
        "metadata": {},
        "rules": {"a": "b"},
        "text": None,
        "tools": [],
    },
}
TOOL = {"type": "function", "function": {"name": "f"}}
#: Schemas that are invalid, or ask for more than a memory holds.
SCHEMAS: list[dict[str, Any]] = [
    {"type": []},
    {"enum": 5},
    {"anyOf": {"a": 1}},
    {"allOf": [5]},
    {"type": "object", "required": 5},
    {"type": "integer", "exclusiveMinimum": []},
    {"type": "string", "maxLength": "x"},
    {"type": "string", "minLength": 10**12},
    {"type": "array", "minItems": 10**12},
    {"type": "array", "minItems": 9_000, "items": {"type": "array", "minItems": 9_000}},
]
#: Fields that are odd further inside.
INSIDE: dict[str, list[dict[str, Any]]] = {
    "/scaleway/v1/chat/completions": [
        {"tools": [TOOL], "tool_choice": {"type": "function", "function": [5]}},
        *({"response_format": {"type": "json_schema", "json_schema": {"schema": schema}}} for schema in SCHEMAS),
        *(
            {"tools": [{"type": "function", "function": {"name": "f", "parameters": schema}}], "tool_choice": TOOL}
            for schema in SCHEMAS
        ),
    ],
    "/datacrunch/vllm/v1/chat/completions": [{"structured_outputs": odd} for odd in (5, "x", [5], True)],
    "/scaleway/v1/ocr": [
        {"document": {"type": "image_url", "image_url": {}}},
        {"document": {"type": "image_url", "image_url": "https://[x"}},
    ],
    "/scaleway/v1/responses": [
        {"input": [{"type": []}]},
        {"input": [{"type": "reasoning", "id": "r", "summary": [], "content": 5}]},
        {"input": [{"type": "reasoning", "id": "r", "summary": [], "content": [{}]}]},
    ],
    "/gray-swan/cygnal/monitor": [
        {"rules": [5]},
        {"rules": {"a": 5}},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": 5}]}]},
        {"messages": [{"role": "assistant", "tool_calls": 5}]},
        {"messages": [{"role": "assistant", "tool_calls": [{"id": "c", "type": "function", "function": 5}]}]},
        {"messages": [{"role": "assistant", "tool_calls": [{"id": "c", "type": "", "function": {"arguments": 5}}]}]},
    ],
}


def bodies(good: dict[str, Any]) -> list[bytes]:
    odd: list[Any] = [
        None,
        5,
        -1,
        10**400,
        True,
        "x\ud800",
        [],
        {},
        [None],
        [5],
        [{"role": "user", "content": "\udc00"}],
    ]
    whole = ["", "null", "[]", "5", "{", DEEP, '{"messages":' + DEEP + "}", '{"a":NaN}']
    whole += [json.dumps({**good, name: value}) for name in (*good, "stop") for value in odd]
    whole += [json.dumps({**good, name: "DEEP"}).replace('"DEEP"', DEEP) for name in (*good, "stop", "seed")]
    return [*(text.encode() for text in whole), b"\xff\xfe"]


def address_of(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    return str(parts.hostname), int(parts.port or 0)


@pytest.mark.parametrize("route", ROUTES)
def test_an_odd_body_is_answered_by_the_api(route: str) -> None:
    with linkspan_sandbox.run() as sandbox, httpx.Client(base_url=sandbox.url, trust_env=False, verify=False) as client:
        inside = [json.dumps({**ROUTES[route], **odd}).encode() for odd in INSIDE.get(route, ())]
        for body in [*bodies(ROUTES[route]), *inside]:
            headers = {"Authorization": "Bearer any", "Content-Type": "application/json"}
            answer = client.post(route, content=body, headers=headers)
            assert answer.status_code < 500 or "json" in answer.headers["content-type"], body[:200]
            assert "Internal Server Error" not in answer.text, body[:200]


def test_bodies_and_requests_are_kept_within_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "MOST_BYTES", 1000)
    with linkspan_sandbox.run(most_requests=4) as sandbox, httpx.Client(trust_env=False, verify=False) as client:
        for number in range(8):
            client.post(f"{sandbox.url}/x", content=json.dumps({"n": number, "pad": "x" * 300}))
        assert len(sandbox.requests) == 4
        assert [request.forgotten for request in sandbox.requests] == [True, False, False, False]
        assert [request.json["n"] for request in list(sandbox.requests)[1:]] == [5, 6, 7]
        with pytest.raises(ValueError, match="the body was dropped"):
            _ = sandbox.requests[0].json
        client.post(f"{sandbox.url}/x", content=b"x" * 2000)
        assert [len(request.content) for request in sandbox.requests] == [0, 0, 0, 2000]
        sandbox.reset()
        client.post(f"{sandbox.url}/x", content=b"{}")
        assert sandbox.last_request.json == {}


def test_a_body_that_is_too_large_is_not_read_to_its_end() -> None:
    with linkspan_sandbox.run() as sandbox, socket.create_connection(address_of(sandbox.url), timeout=60) as client:
        client.sendall(b"POST /scaleway/v1/embeddings HTTP/1.1\r\nHost: x\r\nContent-Length: 900000000000\r\n\r\n")
        with contextlib.suppress(ConnectionError):  # the sandbox has answered and does not listen any more
            for _ in range(200):
                client.sendall(b"x" * 1_000_000)
            pytest.fail("all of the body was read")
        assert sandbox.requests[-1].status == 413
        assert sandbox.requests[-1].content == b""
        assert httpx.get(f"{sandbox.url}/healthz", trust_env=False, verify=False).status_code == 200


@pytest.mark.parametrize(
    ("host", "loopback"),
    [("127.0.0.1", True), ("127.8.8.8", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("::", False)],
)
def test_what_listens_beyond_loopback_is_known(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback
