"""Contestants outside frameworks."""

from __future__ import annotations

import json
from functools import cache
from typing import TYPE_CHECKING, Any

import httpx

from benchmarks.contestants import KEY, MODEL, PROMPT, Contestant, Work

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Callable, Iterator

__all__ = ["endpoint", "openai_client", "raw"]


def _chat_text(event: dict[str, Any]) -> str:
    choices = event["choices"]
    return choices[0]["delta"].get("content") or "" if choices else ""


#: The route of each dialect, and the place of an event's text.
_DIALECTS: dict[str, tuple[str, Callable[[dict[str, Any]], str]]] = {
    "chat": ("v1/chat/completions", _chat_text),
    "engine": ("v1/llms/completions-stream", lambda event: str(event["output"]["text"])),
    "tgi": ("generate_stream", lambda event: str(event["token"]["text"])),
}


def _body(work: Work) -> dict[str, Any]:
    body: dict[str, Any] = {"model": MODEL, "messages": [{"role": r, "content": t} for r, t in work.messages()]}
    return {**body, "tools": work.tool_dicts()} if work.tools else body


@cache
def _certificates() -> ssl.SSLContext:
    """Read the machine's certificates once, as they are the same for all clients."""
    return httpx.create_ssl_context()


def raw(work: Work, dialect: str = "chat") -> Contestant:
    """The limit: httpx and the standard library's JSON, with unprocessed results."""
    client = httpx.Client(trust_env=False, verify=_certificates())
    limits = httpx.Limits(max_connections=1000, max_keepalive_connections=20)
    async_client = httpx.AsyncClient(trust_env=False, limits=limits, verify=_certificates())
    route, text_of = _DIALECTS[dialect]
    body = _body(work) if dialect == "chat" else {"model": MODEL, "prompt": PROMPT}
    url = f"{work.url}/{route}"
    timeout = httpx.Timeout(60)

    def stream() -> Iterator[str]:
        with client.stream("POST", url, json={**body, "stream": True}, timeout=timeout) as response:
            for line in response.iter_lines():
                if line.startswith("data:") and line != "data: [DONE]":
                    yield text_of(json.loads(line[5:]))

    async def astream() -> AsyncIterator[str]:
        async with async_client.stream("POST", url, json={**body, "stream": True}, timeout=timeout) as response:
            async for line in response.aiter_lines():
                if line.startswith("data:") and line != "data: [DONE]":
                    yield text_of(json.loads(line[5:]))

    def call() -> str:
        return str(client.post(url, json=body, timeout=timeout).json()["choices"][0]["message"]["content"])

    async def acall() -> str:
        response = await async_client.post(url, json=body, timeout=timeout)
        return str(response.json()["choices"][0]["message"]["content"])

    return Contestant(stream, astream, call, acall)


def endpoint(work: Work) -> Contestant:
    """Call linkspan without a framework."""
    from pydantic import SecretStr  # noqa: PLC0415  # raw reading is measured without it

    from linkspan.assembler import Assembler  # noqa: PLC0415
    from linkspan.conversation import ChatRequest, Message, Text, Tool  # noqa: PLC0415
    from linkspan.endpoint import connect  # noqa: PLC0415
    from linkspan.providers.scaleway import SCALEWAY, ScalewayChatCodec  # noqa: PLC0415

    connected = connect(ScalewayChatCodec(), SCALEWAY, api_key=SecretStr(KEY), base_url=f"{work.url}/v1")
    functions = [tool["function"] for tool in work.tool_dicts()]
    request = ChatRequest(
        model=MODEL,
        messages=[Message("user" if role == "user" else "assistant", [Text(text)]) for role, text in work.messages()],
        tools=[Tool(one["name"], one["description"], one["parameters"]) for one in functions],
    )

    def stream() -> Iterator[str]:
        return (delta.text for deltas in connected.batches(request, Assembler()) for delta in deltas)

    async def acall() -> str:
        return (await connected.acomplete(request)).text

    return Contestant(
        stream,
        lambda: (delta.text async for deltas in connected.abatches(request, Assembler()) for delta in deltas),
        lambda: connected.complete(request).text,
        acall,
    )


def openai_client(work: Work) -> Contestant:
    """The client under most wrappers."""
    from openai import AsyncOpenAI, OpenAI  # noqa: PLC0415  # only if installed

    client, async_client = (make(api_key=KEY, base_url=f"{work.url}/v1") for make in (OpenAI, AsyncOpenAI))
    body = _body(work)

    def stream() -> Iterator[str]:
        for chunk in client.chat.completions.create(**body, stream=True):
            if chunk.choices and chunk.choices[0].delta.content:
                yield chunk.choices[0].delta.content

    async def astream() -> AsyncIterator[str]:
        async for chunk in await async_client.chat.completions.create(**body, stream=True):
            if chunk.choices and chunk.choices[0].delta.content:
                yield chunk.choices[0].delta.content

    async def acall() -> str:
        return (await async_client.chat.completions.create(**body)).choices[0].message.content or ""

    return Contestant(
        stream, astream, lambda: client.chat.completions.create(**body).choices[0].message.content or "", acall
    )
