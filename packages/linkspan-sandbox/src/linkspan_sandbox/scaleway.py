"""The Scaleway dialect: Chat Completions by vLLM behind a gateway with flat errors of its own.

Follows docs/apis/scaleway.md. Model names, context windows and output limits are those of the catalogue; the engine
answers under any model name. ``scaleway_responses_requests`` decodes the Responses API and ``scaleway_responses``
encodes it.

Where the service's behaviour is unknown, the sandbox is strict: ``n`` above 1 is refused, an unknown model is 422.
"""

from __future__ import annotations

import contextlib
import threading
import time
import uuid
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from starlette.routing import BaseRoute, Route

from linkspan.conversation import Delta
from linkspan_sandbox import chat_completions as wire
from linkspan_sandbox import scaleway_documents as documents
from linkspan_sandbox import scaleway_responses as responses
from linkspan_sandbox import scaleway_vectors as vectors
from linkspan_sandbox.engine import Call, Engine, EngineError, HTTPAnswer, Interceptor, Piece, RawEvent
from linkspan_sandbox.json_bodies import parse_json
from linkspan_sandbox.responses import EventStream, compact_json, json_response, raw_response
from linkspan_sandbox.scaleway_models import MODELS, Model
from linkspan_sandbox.scaleway_responses_requests import chat_body

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.types import ASGIApp

    from linkspan_sandbox.keys import KeyCheck

__all__ = ["MODELS", "ChunkWriter", "Model", "Options", "model_error_body", "routes"]


_ROLES = ("system", "user", "assistant", "tool")
_RANGES: Mapping[str, tuple[float, float]] = {
    "temperature": (0, 2),
    "top_p": (0, 1),
    "presence_penalty": (-2, 2),
    "frequency_penalty": (-2, 2),
}
#: The gateway's messages that differ from the status's standard phrase.
_GATEWAY_WORDS = {422: "UNPROCESSABLE ENTITY", 429: "INSUFFICIENT QUOTA"}
_GATEWAY_MESSAGES = {
    403: "insufficient permissions to access the resource",
    404: "route not found",
    429: "You exceeded your current quota of requests per minute",
    504: "the request took too long to process",
}
_MODEL_ERROR_TYPES = {400: "BadRequestError", 404: "NotFoundError", 500: "InternalServerError"}
#: Context window for engines that do not know their model's.
_UNKNOWN_WINDOW = 128_000
_DONE = b"data: [DONE]\n\n"


@dataclass(frozen=True)
class Options:
    """Options of the dialect where the service varies by model or over time.

    Args:
        reasoning_field: The field of reasoning text: ``reasoning`` on current models, ``reasoning_content`` on older
            ones.
        usage_on_every_chunk: Running totals on each chunk, as dedicated deployments send them.
        model_errors: Format of errors by the model's server: ``nested`` (current) or ``legacy``.
        requests_per_minute: Requests per minute and model, enforced with 429 and sent in headers. 0 simulates an
            account without a payment method.
        tokens_per_minute: Tokens per minute and model, prompts and answers together, likewise. An answer's tokens count
            when it is complete.
        models: Models in addition to the catalogue's and the engine's.
    """

    reasoning_field: Literal["reasoning", "reasoning_content"] = "reasoning"
    usage_on_every_chunk: bool = False
    model_errors: Literal["nested", "legacy"] = "nested"
    requests_per_minute: int = 100_000
    tokens_per_minute: int = 100_000_000
    models: Mapping[str, Model] = field(default_factory=dict)


class _GatewayError(Exception):
    """Raised if the gateway refuses the request, before any model."""

    def __init__(self, status: int, message: str | None = None, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.headers = dict(headers or {})

    def response(self, headers: Mapping[str, str]) -> Response:
        return json_response(_flat_body(self.status, self.message), self.status, {**headers, **self.headers})


def _flat_body(status: int, message: str | None) -> dict[str, Any]:
    phrase = HTTPStatus(status).phrase
    return {
        "status": status,
        "error": _GATEWAY_WORDS.get(status, phrase.upper()),
        "message": message or _GATEWAY_MESSAGES.get(status, phrase.lower()),
    }


def routes(engine: Engine, keys: KeyCheck, options: Options) -> list[BaseRoute]:
    """Return the routes under ``/scaleway``, with and without a project id in the path."""
    dialect = _Scaleway(engine, keys, options)
    made: list[BaseRoute] = []
    for base in ("/scaleway/v1", "/scaleway/{project_id}/v1"):
        made.append(Route(f"{base}/chat/completions", dialect.chat, methods=["POST"]))
        made.append(Route(f"{base}/responses", dialect.respond, methods=["POST"]))
        made.append(Route(f"{base}/models", dialect.list_models, methods=["GET"]))
        made.append(Route(f"{base}/embeddings", dialect.embeddings, methods=["POST"]))
        made.append(Route(f"{base}/rerank", dialect.rerank, methods=["POST"]))
        made.append(Route(f"{base}/audio/transcriptions", dialect.transcriptions, methods=["POST"]))
        made.append(Route(f"{base}/ocr", dialect.ocr, methods=["POST"]))
    methods = ["GET", "POST", "PUT", "PATCH", "DELETE"]
    made.append(Route("/scaleway/{rest:path}", dialect.unknown_route, methods=methods))
    return made


class _Scaleway:
    def __init__(self, engine: Engine, keys: KeyCheck, options: Options) -> None:
        self._engine = engine
        self._keys = keys
        self._options = options
        self._models = {**MODELS, **options.models}
        if engine.served_model is not None:
            window = engine.context_window or _UNKNOWN_WINDOW
            self._models.setdefault(engine.served_model, Model(window, window))
        self._limiter = _RateLimiter(options.requests_per_minute, options.tokens_per_minute)
        self._created = int(time.time())

    # ------------------------------------------------------------------ routes

    async def unknown_route(self, _: Request) -> Response:
        return _GatewayError(404).response(_request_id())

    async def list_models(self, request: Request) -> Response:
        headers = _request_id()
        try:
            self._check_key(request)
        except _GatewayError as error:
            return error.response(headers)
        data = [
            {"id": name, "object": "model", "created": self._created, "owned_by": "sandbox"}
            for name, model in self._models.items()
            if model.redirects_to is None
        ]
        return json_response({"object": "list", "data": data}, headers=headers)

    async def embeddings(self, request: Request) -> Response:
        return await self._vectors(request, vectors.embed, "embeddings")

    async def rerank(self, request: Request) -> Response:
        return await self._vectors(request, vectors.rerank, "rerank")

    async def _vectors(self, request: Request, answer: Callable[[Any], dict[str, Any]], route: str) -> Response:
        headers = _request_id()
        try:
            self._check_key(request)
            body = _read_json(await request.body())
            answered = answer(body)
            headers.update(self._limiter.take(answered["model"]))
        except _GatewayError as error:
            return error.response(headers)
        except vectors.VectorError as error:
            return _GatewayError(error.status, error.message).response(headers)
        try:
            instead = await self._interception(
                Call("scaleway", body["model"], prompt=vectors.text_of(body), route=route)
            )
        except EngineError as error:
            return self._model_error(error.status, error.message, headers)
        if isinstance(instead, HTTPAnswer):
            return _whole(instead, headers)
        self._limiter.spend(answered["model"], answered["usage"]["total_tokens"])
        return json_response(answered, headers=headers)

    async def transcriptions(self, request: Request) -> Response:
        return await self._document(request, documents.read_transcription, "transcriptions")

    async def ocr(self, request: Request) -> Response:
        return await self._document(request, documents.read_ocr, "ocr")

    async def _document(self, request: Request, read: Callable[[bytes, str], Any], route: str) -> Response:
        headers = _request_id()
        try:
            self._check_key(request)
            parsed = read(await request.body(), request.headers.get("content-type", ""))
            headers.update(self._limiter.take(parsed.model))
            content = await self._interception(Call("scaleway", parsed.model, prompt=parsed.name, route=route))
        except _GatewayError as error:
            return error.response(headers)
        except documents.DocumentError as error:
            return _GatewayError(error.status, error.message).response(headers)
        except EngineError as error:
            return self._model_error(error.status, error.message, headers)
        response: Response = (
            _whole(content, headers) if isinstance(content, HTTPAnswer) else parsed.answer(content, headers)
        )
        return response

    async def _interception(self, call: Call) -> HTTPAnswer | str | None:
        return await self._engine.intercept(call) if isinstance(self._engine, Interceptor) else None

    async def chat(self, request: Request) -> ASGIApp:
        return await self._generate(request, self._read_call, partial(ChunkWriter, self._options))

    async def respond(self, request: Request) -> ASGIApp:
        writer = partial(responses.ResponseWriter, error_body=partial(model_error_body, self._options))
        return await self._generate(request, self._read_responses_call, writer)

    async def _generate(
        self,
        request: Request,
        read_call: Callable[[Any], Call],
        new_writer: Callable[[Any, str], ChunkWriter | responses.ResponseWriter],
    ) -> ASGIApp:
        headers = _request_id()
        try:
            self._check_key(request)
            body = _read_json(await request.body())
            call = read_call(body)
            headers.update(self._limiter.take(call.model))
        except _GatewayError as error:
            return error.response(headers)
        except wire.RequestError as error:
            return self._model_error(400, error.message, headers)
        try:
            return await self._answer(call, new_writer(body, self._served_model(call.model)), headers)
        except EngineError as error:
            return self._model_error(error.status, error.message, headers)

    async def _answer(
        self, call: Call, writer: ChunkWriter | responses.ResponseWriter, headers: Mapping[str, str]
    ) -> ASGIApp:
        first, pieces = await wire.first_piece(self._metered(call))
        if call.stream and not isinstance(first, HTTPAnswer):
            return EventStream(writer.events(pieces), headers)
        answer = await wire.gather(pieces)
        return _whole(answer, headers) if isinstance(answer, HTTPAnswer) else writer.completion(answer, headers)

    async def _metered(self, call: Call) -> AsyncGenerator[Piece, None]:
        tokens = 0
        async with contextlib.aclosing(self._engine.answer(call)) as pieces:
            try:
                async for piece in pieces:
                    if isinstance(piece, Delta) and piece.usage is not None:
                        tokens = piece.usage.total_tokens or tokens
                    yield piece
            finally:
                self._limiter.spend(call.model, tokens)

    # ------------------------------------------------------------------ checks

    def _check_key(self, request: Request) -> None:
        header = request.headers.get("authorization")
        if header is None:
            raise _GatewayError(401, "missing 'Authorization' header")
        scheme, _, key = header.partition(" ")
        if scheme.lower() != "bearer" or not self._keys.accepts(key):
            raise _GatewayError(403)

    def _read_call(self, body: Any) -> Call:
        call = wire.read_call(body, "scaleway", _ROLES)
        for name, (low, high) in _RANGES.items():
            value = body.get(name)
            if value is not None and not (isinstance(value, (int, float)) and low <= value <= high):
                raise _GatewayError(400, f"payload validation: {name} must be a number between {low} and {high}")
        if (body.get("n") or 1) != 1:
            raise _GatewayError(400, "payload validation: n is limited to 1")
        model = self._models.get(call.model)
        if model is None:
            raise _GatewayError(422, f"model '{call.model}' not found")
        if call.max_tokens is not None and call.max_tokens > model.max_output:
            # The gateway's error names max_completion_tokens, whatever the request's name.
            raise _GatewayError(
                400, f"payload validation: max_completion_tokens is limited to {model.max_output} for {call.model}"
            )
        effort = body.get("reasoning_effort")
        if effort is not None and model.efforts is not None and effort not in model.efforts:
            raise _GatewayError(400, f"payload validation: reasoning_effort: supported values: {list(model.efforts)}")
        call.context_window = model.context_window
        return call

    def _read_responses_call(self, body: Any) -> Call:
        call = self._read_call(chat_body(body))
        if not self._models[call.model].responses:
            raise _GatewayError(422, f"endpoint '/v1/responses' is not supported by model '{call.model}'")
        return call

    def _served_model(self, model: str) -> str:
        return self._engine.served_model or self._models[model].redirects_to or model

    def _model_error(self, status: int, message: str, headers: Mapping[str, str]) -> Response:
        return json_response(model_error_body(self._options, status, message), status, headers)


def _request_id() -> dict[str, str]:
    return {"x-request-id": str(uuid.uuid4())}


def _read_json(content: bytes) -> Any:
    try:
        return parse_json(content)
    except ValueError as error:
        raise _GatewayError(400, f"payload validation: the body is not valid JSON: {error}") from error


def _whole(answer: HTTPAnswer, headers: Mapping[str, str]) -> Response:
    merged = {**headers, **answer.headers}
    if answer.body is None:
        return _GatewayError(answer.status, answer.message).response(merged)
    return raw_response(answer.body, answer.status, merged)


def model_error_body(options: Options, status: int, message: str) -> dict[str, Any]:
    """Return the body of an error by the model's server."""
    error = {"message": message, "type": _MODEL_ERROR_TYPES.get(status, "APIError"), "param": None, "code": status}
    return {"object": "error", **error} if options.model_errors == "legacy" else {"error": error}


class ChunkWriter:
    """Encodes one answer as vLLM does: whole, or as chunks."""

    def __init__(self, options: Options, body: Mapping[str, Any], model: str) -> None:
        self._options = options
        self._model = model
        self._id = wire.new_id("chatcmpl")
        self._created = int(time.time())
        self._with_usage = bool((body.get("stream_options") or {}).get("include_usage"))
        # vLLM ends a call forced by name with "stop".
        self._named_tool = isinstance(body.get("tool_choice"), Mapping)

    def completion(self, answer: wire.Answer, headers: Mapping[str, str]) -> Response:
        """The whole answer."""
        return self.completions([answer], headers)

    def completions(self, answers: Sequence[wire.Answer], headers: Mapping[str, str]) -> Response:
        """Return several answers to one call (``n``), with the total tokens."""
        body = {
            "id": self._id,
            "object": "chat.completion",
            "created": self._created,
            "model": answers[0].model or self._model,
            "choices": [self._choice(index, answer) for index, answer in enumerate(answers)],
            "service_tier": None,
            "system_fingerprint": None,
            "usage": wire.usage_of_all(answers),
            "prompt_logprobs": None,
            "prompt_token_ids": None,
            "kv_transfer_params": None,
        }
        return json_response(body, headers=headers)

    def _choice(self, index: int, answer: wire.Answer) -> dict[str, Any]:
        message = {
            "role": "assistant",
            "content": answer.text or (None if answer.tool_calls or answer.reasoning else ""),
            "refusal": None,
            "annotations": None,
            "audio": None,
            "function_call": None,
            "tool_calls": answer.tool_calls,
            self._options.reasoning_field: answer.reasoning or None,
        }
        return {
            "index": index,
            "message": message,
            "logprobs": wire.logprobs_json(answer.logprobs) if answer.logprobs else None,
            "finish_reason": self._finish_reason(answer.finish_reason),
            "stop_reason": None,
            "token_ids": None,
        }

    async def events(self, pieces: AsyncGenerator[Piece, None]) -> AsyncGenerator[bytes, None]:
        """Yield the events of a stream."""
        usage = None
        opened = finished = False
        try:
            async for piece in pieces:
                if isinstance(piece, RawEvent):
                    yield _event(piece.data)
                elif isinstance(piece, Delta):
                    if not opened:
                        opened = True
                        yield self._chunk(piece, {"role": "assistant", "content": ""})
                    usage = piece.usage or usage
                    finished = finished or piece.finish_reason is not None
                    for delta in self._deltas(piece):
                        yield self._chunk(piece, delta)
        except EngineError as error:
            yield _event(compact_json(model_error_body(self._options, error.status, error.message)))
            yield _DONE
            return
        finally:
            await pieces.aclose()
        if not finished:
            return
        if self._with_usage and usage is not None:
            yield _event(compact_json({**self._head(None), "choices": [], "usage": wire.usage_json(usage)}))
        yield _DONE

    def _deltas(self, piece: Delta) -> list[dict[str, Any]]:
        """Split a delta into one kind per chunk, as vLLM does."""
        deltas: list[dict[str, Any]] = []
        if piece.reasoning:
            deltas.append({self._options.reasoning_field: piece.reasoning})
        if piece.text:
            deltas.append({"content": piece.text})
        if piece.tool_calls:
            deltas.append({"tool_calls": [wire.tool_call_delta_json(call) for call in piece.tool_calls]})
        if piece.finish_reason is not None and not deltas:
            deltas.append({"content": ""})
        return deltas

    def _chunk(self, piece: Delta, delta: Mapping[str, Any]) -> bytes:
        opening = "role" in delta
        choice: dict[str, Any] = {
            "index": 0,
            "delta": delta,
            "logprobs": wire.logprobs_json(piece.logprobs)
            if piece.logprobs and "content" in delta and not opening
            else None,
            "finish_reason": None if opening else self._finish_reason(piece.finish_reason),
        }
        if choice["finish_reason"] is not None:
            choice["stop_reason"] = None
        choice["token_ids"] = None
        chunk = {**self._head(piece), "choices": [choice]}
        if self._options.usage_on_every_chunk and piece.usage is not None:
            chunk["usage"] = wire.usage_json(piece.usage)
        return _event(compact_json(chunk))

    def _head(self, piece: Delta | None) -> dict[str, Any]:
        model = (piece.model if piece is not None else None) or self._model
        return {"id": self._id, "object": "chat.completion.chunk", "created": self._created, "model": model}

    def _finish_reason(self, reason: str | None) -> str | None:
        return "stop" if reason == "tool_calls" and self._named_tool else reason


def _event(data: str) -> bytes:
    return f"data: {data}\n\n".encode()


class _RateLimiter:
    """Counts requests and tokens per model in windows of a minute."""

    def __init__(self, requests: int, tokens: int) -> None:
        self._limits = {"requests": requests, "tokens": tokens}
        self._windows: dict[str, _Window] = {}
        self._lock = threading.Lock()

    def take(self, model: str) -> dict[str, str]:
        """Count a request and return the rate-limit headers."""
        with self._lock:
            window = self._window_of(model)
            exceeded = [name for name, limit in self._limits.items() if window.used[name] >= limit]
            window.used["requests"] += 1
            headers = self._headers(window)
        if exceeded:
            raise _GatewayError(429, f"You exceeded your current quota of {exceeded[0]} per minute", headers)
        return headers

    def spend(self, model: str, tokens: int) -> None:
        """Add an answer's tokens."""
        with self._lock:
            self._window_of(model).used["tokens"] += tokens

    def _window_of(self, model: str) -> _Window:
        window = self._windows.get(model)
        if window is None or time.monotonic() - window.start >= _Window.seconds:
            window = self._windows[model] = _Window()
        return window

    def _headers(self, window: _Window) -> dict[str, str]:
        milliseconds = int((window.start + window.seconds - time.monotonic()) * 1000)
        headers = {}
        for name, limit in self._limits.items():
            headers[f"x-ratelimit-limit-{name}"] = str(limit)
            headers[f"x-ratelimit-remaining-{name}"] = str(max(0, limit - window.used[name]))
            headers[f"x-ratelimit-reset-{name}"] = f"{milliseconds}ms"
        return headers


@dataclass
class _Window:
    """Usage since the start of a window."""

    seconds: ClassVar[float] = 60

    start: float = field(default_factory=time.monotonic)
    used: dict[str, int] = field(default_factory=lambda: {"requests": 0, "tokens": 0})
