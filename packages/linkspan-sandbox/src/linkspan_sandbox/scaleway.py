"""The Scaleway dialect: Chat Completions by vLLM behind a gateway with flat errors of its own.

Follows docs/apis/scaleway.md. Model names, context windows and output limits are those of the catalogue; the engine
answers under any model name. ``scaleway_responses_requests`` decodes the Responses API and ``scaleway_responses``
encodes it.

Where the service's behaviour is unknown, the sandbox is strict: ``n`` above 1 is refused, an unknown model is 422.
"""

from __future__ import annotations

import contextlib
import time
import uuid
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from starlette.routing import BaseRoute, Route

from linkspan.conversation import Delta
from linkspan_sandbox import chat_completions as wire
from linkspan_sandbox import scaleway_documents as documents
from linkspan_sandbox import scaleway_responses as responses
from linkspan_sandbox import scaleway_vectors as vectors
from linkspan_sandbox.engine import Call, Engine, EngineError, HTTPAnswer, Interceptor, Piece
from linkspan_sandbox.json_bodies import parse_json
from linkspan_sandbox.responses import EventStream, json_response, raw_response
from linkspan_sandbox.scaleway_gateway import GatewayError, RateLimiter
from linkspan_sandbox.scaleway_models import MODELS, Model
from linkspan_sandbox.scaleway_responses_requests import chat_body
from linkspan_sandbox.vllm_chat import ChunkWriter, model_error_body

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Mapping

    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.types import ASGIApp

    from linkspan_sandbox.keys import KeyCheck

__all__ = ["MODELS", "Model", "Options", "routes"]


_ROLES = ("system", "user", "assistant", "tool")
_RANGES: Mapping[str, tuple[float, float]] = {
    "temperature": (0, 2),
    "top_p": (0, 1),
    "presence_penalty": (-2, 2),
    "frequency_penalty": (-2, 2),
}
#: Context window for engines that do not know their model's.
_UNKNOWN_WINDOW = 128_000


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
        self._limiter = RateLimiter(options.requests_per_minute, options.tokens_per_minute)
        self._created = int(time.time())

    # ------------------------------------------------------------------ routes

    async def unknown_route(self, _: Request) -> Response:
        return GatewayError(404).response(_request_id())

    async def list_models(self, request: Request) -> Response:
        headers = _request_id()
        try:
            self._check_key(request)
        except GatewayError as error:
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
        except GatewayError as error:
            return error.response(headers)
        except vectors.VectorError as error:
            return GatewayError(error.status, error.message).response(headers)
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
        except GatewayError as error:
            return error.response(headers)
        except documents.DocumentError as error:
            return GatewayError(error.status, error.message).response(headers)
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
        except GatewayError as error:
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
            raise GatewayError(401, "missing 'Authorization' header")
        scheme, _, key = header.partition(" ")
        if scheme.lower() != "bearer" or not self._keys.accepts(key):
            raise GatewayError(403)

    def _read_call(self, body: Any) -> Call:
        call = wire.read_call(body, "scaleway", _ROLES)
        for name, (low, high) in _RANGES.items():
            value = body.get(name)
            if value is not None and not (isinstance(value, (int, float)) and low <= value <= high):
                raise GatewayError(400, f"payload validation: {name} must be a number between {low} and {high}")
        if (body.get("n") or 1) != 1:
            raise GatewayError(400, "payload validation: n is limited to 1")
        model = self._models.get(call.model)
        if model is None:
            raise GatewayError(422, f"model '{call.model}' not found")
        if call.max_tokens is not None and call.max_tokens > model.max_output:
            # The gateway's error names max_completion_tokens, whatever the request's name.
            raise GatewayError(
                400, f"payload validation: max_completion_tokens is limited to {model.max_output} for {call.model}"
            )
        effort = body.get("reasoning_effort")
        if effort is not None and model.efforts is not None and effort not in model.efforts:
            raise GatewayError(400, f"payload validation: reasoning_effort: supported values: {list(model.efforts)}")
        call.context_window = model.context_window
        return call

    def _read_responses_call(self, body: Any) -> Call:
        call = self._read_call(chat_body(body))
        if not self._models[call.model].responses:
            raise GatewayError(422, f"endpoint '/v1/responses' is not supported by model '{call.model}'")
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
        raise GatewayError(400, f"payload validation: the body is not valid JSON: {error}") from error


def _whole(answer: HTTPAnswer, headers: Mapping[str, str]) -> Response:
    merged = {**headers, **answer.headers}
    if answer.body is None:
        return GatewayError(answer.status, answer.message).response(merged)
    return raw_response(answer.body, answer.status, merged)
