"""Answers as ASGI applications: JSON, and streams of events."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any

from starlette.responses import Response

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping

    from starlette.types import Receive, Scope, Send

__all__ = ["EventStream", "compact_json", "json_response", "raw_response"]


def compact_json(value: Any) -> str:
    """Compact JSON; non-ASCII characters are not escaped."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def json_response(body: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """An answer of JSON."""
    return Response(compact_json(body), status, dict(headers or {}), "application/json")


def raw_response(body: Any, status: int, headers: Mapping[str, str]) -> Response:
    """Return a test's answer: bytes and texts unchanged, everything else as JSON."""
    if isinstance(body, (bytes, str)):
        return Response(body, status, dict(headers))
    return json_response(body, status, headers)


class EventStream:
    """A streamed answer.

    Args:
        chunks: The bytes to send; always closed.
        headers: Headers in addition to the content type.
    """

    def __init__(self, chunks: AsyncGenerator[bytes, None], headers: Mapping[str, str]) -> None:
        self._chunks = chunks
        self._headers = {"content-type": "text/event-stream; charset=utf-8", "cache-control": "no-cache", **headers}

    async def __call__(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        """Send the answer, as an ASGI application."""
        headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in self._headers.items()]
        async with contextlib.aclosing(self._chunks):
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            async for chunk in self._chunks:
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})
