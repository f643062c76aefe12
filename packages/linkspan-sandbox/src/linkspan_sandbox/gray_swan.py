"""The Gray Swan dialect: Cygnet's chat completion, with the role ``data``, and Cygnal's monitor.

Follows docs/apis/gray_swan.md. Errors are those of the same host's later API, and FastAPI's for a body of the wrong
shape. Undocumented fields are ignored, as that page assumes: ``stop`` has no effect. Streams carry no token counts,
answers no request id. The engine answers under any model name.
"""

from __future__ import annotations

import time
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from starlette.routing import BaseRoute, Route

from linkspan.conversation import Delta
from linkspan_sandbox import chat_completions as wire
from linkspan_sandbox import cygnal
from linkspan_sandbox.engine import Call, Engine, EngineError, HTTPAnswer, Interceptor, Piece, RawEvent
from linkspan_sandbox.json_bodies import parse_json
from linkspan_sandbox.responses import EventStream, compact_json, json_response, raw_response

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping

    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.types import ASGIApp

    from linkspan_sandbox.keys import KeyCheck

__all__ = ["CONTEXT_WINDOW", "routes"]

#: Tokens of prompt and answer together (a guess: docs/apis/gray_swan.md#models).
CONTEXT_WINDOW = 8192

_ROLES = ("system", "user", "assistant", "tool", "data")
_FIELDS = frozenset(
    {"messages", "model", "frequency_penalty", "max_tokens", "moderate_before", "n", "stream", "temperature"}
    | {"tool_choice", "tools", "top_p"}
)
_MOST_ANSWERS = 16
_METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]
_DONE = b"data: [DONE]\n\n"


def routes(engine: Engine, keys: KeyCheck) -> list[BaseRoute]:
    """Return the routes under ``/gray-swan``."""
    dialect = _GraySwan(engine, keys)
    path = "/gray-swan/chat/completion"
    return [
        Route(path, dialect.chat, methods=["POST"]),
        Route(path, _no_such_method, methods=[method for method in _METHODS if method != "POST"]),
        Route("/gray-swan/cygnal/monitor", dialect.monitor, methods=["POST"]),
        Route("/gray-swan/{rest:path}", _no_such_route, methods=_METHODS),
    ]


async def _no_such_route(_: Request) -> Response:
    return json_response({"detail": "Not Found"}, 404)


async def _no_such_method(_: Request) -> Response:
    return json_response({"detail": "Method Not Allowed"}, 405, {"allow": "POST"})


class _GraySwan:
    def __init__(self, engine: Engine, keys: KeyCheck) -> None:
        self._engine = engine
        self._keys = keys

    async def chat(self, request: Request) -> ASGIApp:
        scheme, _, key = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not self._keys.accepts(key):
            return _error(401, "Invalid or missing API key")
        try:
            body = _read_json(await request.body())
            call = _read_call(body)
        except wire.RequestError as error:
            return _invalid(error.message, ["body"] if error.field is None else ["body", error.field])
        window = self._engine.context_window
        call.context_window = CONTEXT_WINDOW if window is None else min(window, CONTEXT_WINDOW)
        try:
            return await self._answer(call, body.get("n") or 1)
        except EngineError as error:
            return _error(error.status, error.message)

    async def monitor(self, request: Request) -> ASGIApp:
        key = request.headers.get("grayswan-api-key")
        if not (self._keys.accepts_bearer(request) if key is None else self._keys.accepts(key)):
            return _error(401, "Invalid or missing API key")
        try:
            body = cygnal.read_body(await request.body())
            call = cygnal.monitor_call(body)
            instead = await self._engine.intercept(call) if isinstance(self._engine, Interceptor) else None
        except cygnal.MonitorError as error:
            return _invalid(error.message, error.place) if error.status == 422 else _error(400, error.message)
        except EngineError as error:
            return _error(error.status, error.message)
        return _whole(instead) if isinstance(instead, HTTPAnswer) else json_response(cygnal.judge(body))

    async def _answer(self, call: Call, count: int) -> ASGIApp:
        writer = _Writer(self._engine.served_model or call.model)
        first, pieces = await wire.first_piece(self._engine.answer(call))
        if call.stream and not isinstance(first, HTTPAnswer):
            return EventStream(writer.events(self._one_after_the_other(pieces, call, count)), {})
        answers = [await wire.gather(pieces)]
        answers += [await wire.gather(self._engine.answer(call)) for _ in range(count - 1)]
        for answer in answers:
            if isinstance(answer, HTTPAnswer):
                return _whole(answer)
        return writer.completion([answer for answer in answers if isinstance(answer, wire.Answer)])

    async def _one_after_the_other(
        self, first: AsyncGenerator[Piece, None], call: Call, count: int
    ) -> AsyncGenerator[tuple[int, Piece], None]:
        for index in range(count):
            pieces = first if index == 0 else self._engine.answer(call)
            try:
                async for piece in pieces:
                    yield index, piece
            finally:
                await pieces.aclose()


def _read_json(content: bytes) -> dict[str, Any]:
    try:
        body = parse_json(content)
    except ValueError as error:
        raise wire.RequestError(f"JSON decode error: {error}") from error
    if not isinstance(body, dict):
        raise wire.RequestError("Input should be a valid dictionary")
    return {name: value for name, value in body.items() if name in _FIELDS}


def _read_call(body: Mapping[str, Any]) -> Call:
    call = wire.read_call(body, "gray_swan", _ROLES)
    for index, message in enumerate(call.messages):
        if not isinstance(message.get("content"), (str, type(None))):
            raise wire.RequestError(f"messages[{index}].content should be a valid string", field="messages")
    if call.tool_choice == "required":
        raise wire.RequestError("tool_choice should be 'none', 'auto' or a function", field="tool_choice")
    for index, tool in enumerate(call.tools):
        if not isinstance(tool["function"].get("description"), str):
            raise wire.RequestError(f"tools[{index}].function.description: field required", field="tools")
    count = body.get("n")
    if count is not None and not (type(count) is int and 1 <= count <= _MOST_ANSWERS):
        raise wire.RequestError(f"n should be an integer from 1 to {_MOST_ANSWERS}", field="n")
    if not isinstance(body.get("moderate_before", False), bool):
        raise wire.RequestError("moderate_before should be a valid boolean", field="moderate_before")
    return call


def _invalid(message: str, place: list[str | int]) -> Response:
    return json_response({"detail": [{"type": "value_error", "loc": place, "msg": message}]}, 422)


def _error(status: int, message: str | None = None) -> Response:
    return json_response(_error_body(status, message), status)


def _error_body(status: int, message: str | None) -> dict[str, Any]:
    phrase = HTTPStatus(status).phrase
    code = phrase.upper().replace(" ", "_")
    return {"error": True, "message": message or phrase, "detail": phrase, "error_code": code, "details": None}


def _whole(answer: HTTPAnswer) -> Response:
    body = _error_body(answer.status, answer.message) if answer.body is None else answer.body
    return raw_response(body, answer.status, answer.headers)


class _Writer:
    """Encodes answers in Cygnet's format: whole, or as chunks."""

    def __init__(self, model: str) -> None:
        self._model = model
        self._id = wire.new_id("chat")
        self._created = int(time.time())

    def completion(self, answers: list[wire.Answer]) -> Response:
        choices = [self._choice(index, answer) for index, answer in enumerate(answers)]
        body = {
            **self._head("chat.completion", answers[0].model),
            "choices": choices,
            "system_fingerprint": None,
            "usage": _usage(answers),
        }
        return json_response(body)

    def _choice(self, index: int, answer: wire.Answer) -> dict[str, Any]:
        message = {
            "role": "assistant",
            "content": answer.text or (None if answer.tool_calls else ""),
            "tool_calls": answer.tool_calls or None,
        }
        return {"index": index, "finish_reason": answer.finish_reason, "message": message, "logprobs": None}

    async def events(self, pieces: AsyncGenerator[tuple[int, Piece], None]) -> AsyncGenerator[bytes, None]:
        opened = -1
        finished = False
        try:
            async for index, piece in pieces:
                if isinstance(piece, RawEvent):
                    yield _event(piece.data)
                elif isinstance(piece, Delta):
                    if index > opened:
                        opened, finished = index, False
                        yield self._chunk(index, piece, {"role": "assistant", "content": ""}, None)
                    # An engine may send token counts after the end.
                    finished = finished or piece.finish_reason is not None
                    delta = _delta(piece)
                    if delta or piece.finish_reason is not None:
                        yield self._chunk(index, piece, delta, piece.finish_reason)
        except EngineError as error:
            yield _event(compact_json(_error_body(error.status, error.message)))
            return
        finally:
            await pieces.aclose()
        if finished:
            yield _DONE

    def _chunk(self, index: int, piece: Delta, delta: Mapping[str, Any], finish_reason: str | None) -> bytes:
        choice = {"index": index, "delta": delta, "finish_reason": finish_reason}
        chunk = {**self._head("chat.completion.chunk", piece.model), "choices": [choice], "system_fingerprint": None}
        return _event(compact_json(chunk))

    def _head(self, kind: str, model: str | None) -> dict[str, Any]:
        return {"id": self._id, "object": kind, "created": self._created, "model": model or self._model}


def _delta(piece: Delta) -> dict[str, Any]:
    delta: dict[str, Any] = {"content": piece.text} if piece.text else {}
    if piece.tool_calls:
        delta["tool_calls"] = [wire.tool_call_delta_json(call) for call in piece.tool_calls]
    return delta


def _usage(answers: list[wire.Answer]) -> dict[str, int | None] | None:
    """Return the prompt's tokens once and the answers' in total; ``None`` if the engine does not count."""
    counts = [answer.usage for answer in answers if answer.usage is not None]
    if len(counts) < len(answers):
        return None
    made = sum(usage.output_tokens or 0 for usage in counts)
    given = counts[0].input_tokens or 0
    return {"prompt_tokens": given, "completion_tokens": made, "total_tokens": given + made}


def _event(data: str) -> bytes:
    return f"data: {data}\n\n".encode()
