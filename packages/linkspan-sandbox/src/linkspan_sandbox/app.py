"""The ASGI application: the routes of all dialects behind one recorder."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Route, Router
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from linkspan_sandbox.engine import ConnectionCut, Engine
from linkspan_sandbox.recording import MOST_BYTES, RecordedRequest, Recorder, masked_headers

if TYPE_CHECKING:
    from starlette.requests import Request

__all__ = ["build_app"]

#: The answer to a larger body, whose rest is not read; gateways in front of APIs answer like this.
_TOO_LARGE = PlainTextResponse("413 Request Entity Too Large\n", 413, {"connection": "close"})
#: Closes the TCP connection of a scope.
CutConnection = Callable[[Scope], None]


def build_app(engine: Engine, routes: Sequence[BaseRoute], recorder: Recorder, cut: CutConnection) -> ASGIApp:
    """Combine the dialects' routes, a health check and the recorder."""

    async def health(_: Request) -> Response:
        return JSONResponse({"status": "ok", "engine": engine.name, "model": engine.served_model})

    # A bare router: Starlette's error middleware would answer 500 where a connection must be cut.
    return _Recorded(Router(routes=[Route("/healthz", health), *routes]), recorder, cut)


class _Recorded:
    """Records each request and its end, stops the work when the client leaves, and cuts connections on request."""

    def __init__(self, app: ASGIApp, recorder: Recorder, cut: CutConnection) -> None:
        self._app = app
        self._recorder = recorder
        self._cut = cut

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        content = await _read_body(receive)
        recorded = _record(scope, content or b"")
        self._recorder.add(recorded)
        if content is None:
            recorded.forgotten = True
            recorded.status = _TOO_LARGE.status_code
            await _TOO_LARGE(scope, receive, send)
            recorded.finish()
            return
        complete = False

        async def watched_send(message: Message) -> None:
            nonlocal complete
            if message["type"] == "http.response.start":
                recorded.status = message["status"]
            else:
                complete = not message.get("more_body", False)
            await send(message)

        answering = asyncio.ensure_future(self._app(scope, _replay(content), watched_send))
        leaving = asyncio.ensure_future(_client_leaves(receive))
        try:
            await asyncio.wait({answering, leaving}, return_when=asyncio.FIRST_COMPLETED)
            recorded.client_left = not complete and not answering.done()
            answering.cancel()
            outcome = (await asyncio.gather(answering, return_exceptions=True))[0]
            if isinstance(outcome, ConnectionCut):
                self._cut(scope)
                # Returning earlier would let the server complete the answer.
                await leaving
            elif isinstance(outcome, Exception):
                raise outcome
        finally:
            answering.cancel()
            leaving.cancel()
            recorded.finish()


def _record(scope: Scope, content: bytes) -> RecordedRequest:
    return RecordedRequest(
        method=scope["method"],
        path=scope["path"],
        query=scope["query_string"].decode("latin-1"),
        headers=masked_headers(scope["headers"]),
        content=content,
        client_port=(scope.get("client") or ("", 0))[1],
    )


async def _read_body(receive: Receive) -> bytes | None:
    """Return the body, or ``None`` if it is too large to keep."""
    chunks: list[bytes] = []
    left = MOST_BYTES
    while left >= 0:
        message = await receive()
        chunks.append(message.get("body", b""))
        left -= len(chunks[-1])
        if left >= 0 and not message.get("more_body", False):
            return b"".join(chunks)
    return None


async def _client_leaves(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _replay(content: bytes) -> Receive:
    """Replay a body that was already read."""
    messages: list[Message] = [{"type": "http.request", "body": content, "more_body": False}]

    async def replay() -> Message:
        if not messages:
            await asyncio.Event().wait()
        return messages.pop()

    return replay
