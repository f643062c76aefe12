"""The dialect of Scale LLM Engine: a gateway in front of models on vLLM and other frameworks.

Follows docs/apis/llm_engine.md. ``llm_engine_endpoints`` has an endpoint for every framework and kind; the engine
answers for all of them.

A response format with a schema has no effect, because the gateway garbles it. ``guided_json`` and similar fields have
none either, because vLLM ignores them since 0.12, unless the options select older pods. Forcing a tool works.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import functools
import uuid
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from linkspan_sandbox import chat_completions as wire
from linkspan_sandbox import llm_engine_requests as requests
from linkspan_sandbox.engine import Call, Engine, EngineError, Guide, HTTPAnswer, Piece
from linkspan_sandbox.llm_engine_endpoints import ENDPOINTS, ModelEndpoint, endpoint_entry
from linkspan_sandbox.llm_engine_failures import RefusedError, failure, pod_failed, replacing_answer
from linkspan_sandbox.llm_engine_writers import ChatWriter, PromptWriter, ping
from linkspan_sandbox.pings import with_pings
from linkspan_sandbox.places import Places
from linkspan_sandbox.responses import EventStream, json_response

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Mapping
    from typing import TypeAlias

    from starlette.requests import Request
    from starlette.types import ASGIApp

    from linkspan_sandbox.keys import KeyCheck

    Handler: TypeAlias = Callable[["_LLMEngine", Request], Awaitable[ASGIApp]]

__all__ = ["Options", "routes"]

_BASE = "/llm-engine"
_ROLES = ("developer", "system", "user", "assistant", "tool", "function")
_GUIDE_KINDS: Mapping[str, Any] = {
    "guided_json": "json",
    "guided_regex": "regex",
    "guided_choice": "choice",
    "guided_grammar": "grammar",
}


@dataclass(frozen=True)
class Options:
    """Options of the dialect where deployments vary.

    Args:
        endpoints: Endpoints in addition to :data:`ENDPOINTS` and the engine's model.
        stream_counts: Whether v1 stream events carry token counts, as with older vLLM; otherwise counts are 0.
        obeys_guides: Whether ``guided_*`` fields have an effect, as on images with vLLM before 0.12; current images
            ignore them silently.
        ping_seconds: Seconds between two keep-alive comments.
        max_concurrent_requests: Concurrent model calls; further ones get 429.
    """

    endpoints: Mapping[str, ModelEndpoint] = field(default_factory=dict)
    stream_counts: bool = False
    obeys_guides: bool = False
    ping_seconds: float = 15.0
    max_concurrent_requests: int = 500


def _answers_refusals(handler: Handler) -> Handler:
    """Turn refusals raised by a handler into answers."""

    @functools.wraps(handler)
    async def answer(dialect: _LLMEngine, request: Request) -> ASGIApp:
        try:
            return await handler(dialect, request)
        except RefusedError as refused:
            return refused.response
        except requests.InvalidBodyError as error:
            return json_response({"detail": error.detail}, 422)
        except requests.RuleError as error:
            return json_response({"detail": str(error)}, 400)

    return answer


def routes(engine: Engine, keys: KeyCheck, options: Options) -> list[BaseRoute]:
    """Return the routes under ``/llm-engine``."""
    dialect = _LLMEngine(engine, keys, options)
    made: list[BaseRoute] = [
        Route(f"{_BASE}/{name}", dialect.health, methods=["GET"]) for name in ("healthcheck", "healthz", "readyz")
    ]
    made += [
        Route(f"{_BASE}/v1/llm/completions-sync", dialect.prompt_whole, methods=["POST"]),
        Route(f"{_BASE}/v1/llm/completions-stream", dialect.prompt_streamed, methods=["POST"]),
        Route(f"{_BASE}/v1/llm/model-endpoints", dialect.list_endpoints, methods=["GET"]),
        Route(f"{_BASE}/v1/llm/model-endpoints/{{name}}", dialect.one_endpoint, methods=["GET"]),
        Route(f"{_BASE}/v2/chat/completions", dialect.chat, methods=["POST"]),
    ]
    known = list(made)
    methods = ["GET", "POST", "PUT", "PATCH", "DELETE"]

    async def unknown(request: Request) -> Response:
        # If a route has this path, only the method was wrong.
        found = any(isinstance(route, Route) and route.path_regex.match(request.url.path) for route in known)
        status = HTTPStatus.METHOD_NOT_ALLOWED if found else HTTPStatus.NOT_FOUND
        return json_response({"detail": status.phrase}, status)

    return [*made, Route(f"{_BASE}/{{rest:path}}", unknown, methods=methods)]


class _LLMEngine:
    def __init__(self, engine: Engine, keys: KeyCheck, options: Options) -> None:
        self._engine = engine
        self._keys = keys
        self._options = options
        self._endpoints = {**ENDPOINTS, **options.endpoints}
        self._places = Places(options.max_concurrent_requests)
        if engine.served_model is not None:
            self._endpoints.setdefault(engine.served_model, ModelEndpoint())

    # ------------------------------------------------------------------ routes

    async def health(self, _: Request) -> Response:
        return Response()

    @_answers_refusals
    async def list_endpoints(self, request: Request) -> ASGIApp:
        self._check_key(request)
        wanted = request.query_params.get("name")
        rows = [endpoint_entry(name, facts) for name, facts in self._endpoints.items() if wanted in (None, name)]
        return json_response({"model_endpoints": rows})

    @_answers_refusals
    async def one_endpoint(self, request: Request) -> ASGIApp:
        name = request.path_params["name"]
        self._check_key(request)
        if name not in self._endpoints:
            raise RefusedError(404, f"Model Endpoint {name}  was not found.")
        return json_response(endpoint_entry(name, self._endpoints[name]))

    @_answers_refusals
    async def prompt_whole(self, request: Request) -> ASGIApp:
        return await self._limited(self._prompt(request, stream=False))

    @_answers_refusals
    async def prompt_streamed(self, request: Request) -> ASGIApp:
        return await self._limited(self._prompt(request, stream=True))

    async def _limited(self, answering: Coroutine[Any, Any, ASGIApp]) -> ASGIApp:
        """Apply the limit first, even before the key check."""
        if self._places.all_taken:
            answering.close()
            return failure(429, None, "", {})
        return await self._places.occupied_by(answering)

    async def _prompt(self, request: Request, *, stream: bool) -> ASGIApp:
        request_id = str(uuid.uuid4())
        name = request.query_params.get("model_endpoint_name")
        missing = None if name is not None else "model_endpoint_name"
        parsed = await self._read(request, requests.CompletionV1Request, missing)
        facts = self._endpoint(str(name))
        _check_kind(str(name), facts, stream=stream)
        requests.check_rules(parsed, facts.framework)
        call = self._prompt_call(str(name), facts, parsed, stream=stream)
        writer = PromptWriter(
            request_id,
            facts.framework,
            with_tokens=bool(parsed.return_token_log_probs),
            counts=self._options.stream_counts,
        )
        if stream:
            return await self._stream_prompt(call, writer, request_id)
        try:
            answer = await wire.gather(self._engine.answer(call))
        except EngineError as error:
            if error.status == 400:
                return json_response({"detail": error.message}, 400)
            return json_response({"detail": f"Upstream service error for request_id {request_id}"}, 500)
        return (
            replacing_answer(answer, request_id)
            if isinstance(answer, HTTPAnswer)
            else json_response(writer.whole(answer))
        )

    async def _stream_prompt(self, call: Call, writer: PromptWriter, request_id: str) -> ASGIApp:
        """Answer 200 at once if the model is slow; later failures become events."""
        pieces = self._engine.answer(call)
        first = asyncio.ensure_future(anext(pieces, None))
        try:
            await asyncio.wait({first}, timeout=self._options.ping_seconds)
        except asyncio.CancelledError:
            first.cancel()
            raise
        if first.done() and first.exception() is None:
            piece = first.result()
            if isinstance(piece, HTTPAnswer):
                await pieces.aclose()
                return replacing_answer(piece, request_id)
        elif first.done() and not isinstance(first.exception(), EngineError):
            first.result()
        return self._events(writer.events(_after(first, pieces)))

    @_answers_refusals
    async def chat(self, request: Request) -> ASGIApp:
        return await self._limited(self._chat(request))

    async def _chat(self, request: Request) -> ASGIApp:
        request_id = str(uuid.uuid4())
        parsed = await self._read(request, requests.ChatV2Request)
        facts = self._endpoint(parsed.model, "The specified endpoint could not be found.")
        if facts.retired:
            raise RefusedError(410, f"The endpoint {parsed.model} is deprecated. max_workers is 0.")
        if not facts.chat or facts.framework not in ("vllm", "sglang"):
            raise RefusedError(400, f"The endpoint {parsed.model} does not support chat completion.")
        body = requests.read_json(await request.body(), "json")
        writer = ChatWriter(parsed.model, body)
        try:
            call = self._chat_call(body, facts)
            first, pieces = await wire.first_piece(self._engine.answer(call))
            if call.stream and not isinstance(first, HTTPAnswer):
                return self._events(writer.events(pieces))
            answer = await wire.gather(pieces)
        except wire.RequestError as error:
            return pod_failed(EngineError(error.message, status=400), request_id, stream=bool(parsed.stream))
        except EngineError as error:
            return pod_failed(error, request_id, stream=bool(parsed.stream))
        return (
            replacing_answer(answer, request_id)
            if isinstance(answer, HTTPAnswer)
            else json_response(writer.whole(answer))
        )

    def _events(self, events: AsyncGenerator[bytes, None]) -> EventStream:
        return EventStream(with_pings(events, ping, self._options.ping_seconds), {"x-accel-buffering": "no"})

    # ------------------------------------------------------------------ checks

    async def _read(
        self, request: Request, kind: type[requests.ModelT], missing_query: str | None = None
    ) -> requests.ModelT:
        """Parse and validate a body; check the key after the body's syntax and before its content."""
        body = requests.read_json(await request.body(), request.headers.get("content-type", ""))
        self._check_key(request)
        return requests.parse(body, kind, missing_query)

    def _check_key(self, request: Request) -> None:
        header = request.headers.get("authorization")
        if header is None:
            raise RefusedError(401, "No authentication was passed in", {"www-authenticate": "Bearer"})
        scheme, _, value = header.partition(" ")
        key = value.strip() if scheme.lower() == "bearer" else _basic_user(scheme, value)
        if not self._keys.accepts(key):
            raise RefusedError(401, "Could not authenticate user")

    def _endpoint(self, name: str, unknown: str | None = None) -> ModelEndpoint:
        facts = self._endpoints.get(name)
        if facts is None:
            raise RefusedError(404, unknown or f"Model endpoint {name} not found.")
        return facts

    # ------------------------------------------------------------------ calls

    def _prompt_call(
        self, name: str, facts: ModelEndpoint, parsed: requests.CompletionV1Request, *, stream: bool
    ) -> Call:
        stops = parsed.stop_sequences or []
        if facts.framework == "lightllm":
            stops = []
        elif facts.framework == "deepspeed":
            stops = stops[:1]
        parameters = {
            key: value
            for key in ("temperature", "top_p", "top_k", "presence_penalty", "frequency_penalty")
            if (value := getattr(parsed, key)) is not None and not (key == "top_k" and value == -1)
        }
        return Call(
            api="llm_engine",
            model=name,
            prompt=parsed.prompt,
            stream=stream,
            max_tokens=parsed.max_new_tokens,
            stop=stops,
            # TGI always keeps it.
            keep_stop=bool(parsed.include_stop_str_in_output) or facts.framework == "text_generation_inference",
            parameters=parameters,
            guide=self._guide(parsed),
            logprobs=0 if parsed.return_token_log_probs else None,
            context_window=facts.context_window,
        )

    def _chat_call(self, body: Mapping[str, Any], facts: ModelEndpoint) -> Call:
        guided = [name for name in _GUIDE_KINDS if body.get(name) is not None]
        if len(guided) > 1:
            raise EngineError(f"You can only use one kind of guided decoding, not {' and '.join(guided)}.", status=400)
        format_sent = body.get("response_format") or {}
        if format_sent.get("type") == "json_schema":
            # The gateway sends the pod "schema_" instead of "schema".
            body = {name: value for name, value in body.items() if name != "response_format"}
        call = wire.read_call(body, "llm_engine", _ROLES)
        call.keep_stop = bool(body.get("include_stop_str_in_output"))
        call.guide = self._guide(requests.ChatV2Request.model_validate(body))
        call.context_window = facts.context_window
        return call

    def _guide(self, parsed: requests.CompletionV1Request | requests.ChatV2Request) -> Guide | None:
        if not self._options.obeys_guides:
            return None
        found = ((kind, getattr(parsed, name)) for name, kind in _GUIDE_KINDS.items())
        return next((Guide(kind, value) for kind, value in found if value is not None), None)


def _basic_user(scheme: str, value: str) -> str:
    if scheme.lower() == "basic":
        with contextlib.suppress(binascii.Error, UnicodeDecodeError):
            user, colon, _ = base64.b64decode(value, validate=True).decode().partition(":")
            if colon:
                return user
    raise RefusedError(401, "Not authenticated")


def _check_kind(name: str, facts: ModelEndpoint, *, stream: bool) -> None:
    if stream and facts.kind != "streaming":
        raise RefusedError(400, f"Endpoint {name} is not a streaming endpoint.")
    if facts.kind == "async":
        raise RefusedError(400, f"Endpoint {name} does not serve sync requests.")


async def _after(first: asyncio.Future[Piece | None], rest: AsyncGenerator[Piece, None]) -> AsyncGenerator[Piece, None]:
    try:
        piece = await first
        if piece is not None:
            yield piece
            async for piece in rest:
                yield piece
    finally:
        first.cancel()
        await rest.aclose()
