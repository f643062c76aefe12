"""The DataCrunch dialect: the legacy route with ``model`` in the body, and a container with a full TGI server.

Follows docs/apis/datacrunch.md; see ``tgi_request``, ``tgi_tokens``, ``tgi_generate`` and ``tgi_chat``.

Where the service's behaviour is unknown, the sandbox behaves like TGI: gateway errors are TGI's, and a missing
``model`` on the legacy route is a type error. A wrong key gets 401 without a body on every route.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Union

from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from linkspan_sandbox.engine import Call, ConnectionCut, Engine, EngineError, Guide, HTTPAnswer, RawEvent
from linkspan_sandbox.pings import with_pings
from linkspan_sandbox.places import Places
from linkspan_sandbox.responses import EventStream, json_response, raw_response
from linkspan_sandbox.tgi_chat import ChatRoute
from linkspan_sandbox.tgi_generate import (
    Era,
    engine_failure,
    error_response,
    http_answer,
    stream_events,
    stream_headers,
    whole_answer,
)
from linkspan_sandbox.tgi_request import (
    GenerateRequest,
    Limits,
    PlainError,
    TGIError,
    check,
    grammar_schema,
    read_json,
    read_request,
)
from linkspan_sandbox.tgi_tokens import Generation, Step, run

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from starlette.requests import Request
    from starlette.types import ASGIApp

    from linkspan_sandbox.keys import KeyCheck

__all__ = ["Options", "routes"]

#: The model of TGI calls that name none.
_MODEL = "tgi"
_SAMPLING = ("temperature", "top_k", "top_p", "typical_p", "frequency_penalty", "repetition_penalty", "seed")
_CONTAINER = "/datacrunch/container"
_LEGACY = "/datacrunch/v1/completions"

if TYPE_CHECKING:
    Steps = AsyncGenerator[Union[Step, RawEvent, HTTPAnswer], None]


@dataclass(frozen=True)
class Options:
    """Options of the dialect where servers differ.

    Args:
        version: The TGI version to imitate in framing, fields and defaults. The legacy route is believed to be
            ``"1.1.0"``.
        keep_alive: Send an empty comment after this many seconds of silence in a stream.
        max_concurrent_requests: Concurrent calls; further ones get 429.
        max_total_tokens: Limit of prompt and answer together, in tokens.
        limits: Further limits from TGI's command line.
    """

    version: str = "3.3.7"
    keep_alive: float = 15.0
    max_concurrent_requests: int = 128
    max_total_tokens: int = 4096
    limits: Limits = field(default_factory=Limits)


def routes(engine: Engine, keys: KeyCheck, options: Options) -> list[BaseRoute]:
    """Return the routes under ``/datacrunch``."""
    tgi = _TGI(engine, keys, options)
    made: list[BaseRoute] = [
        Route(f"{_LEGACY}/generate", tgi.legacy_generate, methods=["POST"]),
        Route(f"{_LEGACY}/generate_stream", tgi.legacy_generate_stream, methods=["POST"]),
        Route(f"{_CONTAINER}/generate", tgi.generate, methods=["POST"]),
        Route(f"{_CONTAINER}/generate_stream", tgi.generate_stream, methods=["POST"]),
        Route(_CONTAINER, tgi.compat, methods=["POST"]),
        Route(f"{_CONTAINER}/", tgi.compat, methods=["POST"]),
        Route(f"{_CONTAINER}/health", tgi.health, methods=["GET"]),
        Route(f"{_CONTAINER}/info", tgi.info, methods=["GET"]),
        Route(f"{_CONTAINER}/v1/chat/completions", tgi.chat, methods=["POST"]),
    ]
    if tgi.era.has_models:
        made.append(Route(f"{_CONTAINER}/v1/models", tgi.models, methods=["GET"]))
    return made


class _TGI:
    def __init__(self, engine: Engine, keys: KeyCheck, options: Options) -> None:
        self._engine = engine
        self._keys = keys
        self._options = options
        self._places = Places(options.max_concurrent_requests)
        self.era = Era(options.version)
        self._window = min(options.max_total_tokens, engine.context_window or options.max_total_tokens)
        # From 3.0 on, a server without the option computes its limit, so it always has one.
        longest = options.limits.max_input_tokens or self._window - 1
        self._limits = replace(options.limits, max_input_tokens=longest)
        self._chat = ChatRoute(engine, self.era, self._window)

    # ------------------------------------------------------------------ routes

    async def legacy_generate(self, request: Request) -> ASGIApp:
        return await self._answer(request, stream=False, needs_model=True)

    async def legacy_generate_stream(self, request: Request) -> ASGIApp:
        return await self._answer(request, stream=True, needs_model=True)

    async def generate(self, request: Request) -> ASGIApp:
        return await self._answer(request, stream=False)

    async def generate_stream(self, request: Request) -> ASGIApp:
        return await self._answer(request, stream=True)

    async def compat(self, request: Request) -> ASGIApp:
        """``POST /``: the route of Hugging Face's clients, with ``stream`` in the body."""
        return await self._answer(request, stream=None)

    async def health(self, request: Request) -> Response:
        return Response(b"") if self._keys.accepts_bearer(request) else _UNAUTHORIZED

    async def info(self, request: Request) -> Response:
        if not self._keys.accepts_bearer(request):
            return _UNAUTHORIZED
        limits = self._limits
        return json_response(
            {
                "model_id": self._model,
                "model_sha": None,
                "model_pipeline_tag": "text-generation",
                "max_concurrent_requests": self._options.max_concurrent_requests,
                "max_best_of": limits.max_best_of,
                "max_stop_sequences": limits.max_stop_sequences,
                "max_input_tokens" if self.era.has_models else "max_input_length": limits.max_input_tokens,
                "max_total_tokens": self._window,
                "validation_workers": 2,
                "max_client_batch_size": 4,
                "router": "text-generation-router",
                "version": self.era.version,
                "sha": None,
                "docker_label": None,
            }
        )

    async def models(self, request: Request) -> Response:
        if not self._keys.accepts_bearer(request):
            return _UNAUTHORIZED
        model = {"id": self._model, "object": "model", "created": 0, "owned_by": self._model}
        return json_response({"object": "list", "data": [model]})

    async def chat(self, request: Request) -> ASGIApp:
        if not self._keys.accepts_bearer(request):
            return _UNAUTHORIZED
        content = await request.body()
        try:
            body = read_json(content, request.headers.get("content-type", ""))
        except PlainError as error:
            return _plain(error)
        if self._places.all_taken:
            return error_response(_overloaded())
        return await self._places.occupied_by(self._chat.answer(body, self._options.keep_alive))

    @property
    def _model(self) -> str:
        return self._engine.served_model or "sandbox"

    # ------------------------------------------------------------------ generate

    async def _answer(self, request: Request, *, stream: bool | None, needs_model: bool = False) -> ASGIApp:
        if not self._keys.accepts_bearer(request):
            return _UNAUTHORIZED
        content = await request.body()
        try:
            parsed = read_request(content, request.headers.get("content-type", ""), needs_model=needs_model)
        except PlainError as error:
            return _plain(error)
        compat = stream is None
        streamed = parsed.stream if stream is None else stream
        parsed = self._with_defaults(parsed)
        try:
            self._check(parsed, streamed=streamed)
        except TGIError as error:
            return self._failed(error, parsed, streamed=streamed)
        full_text = bool(parsed.get("return_full_text", compat))
        if streamed:
            return await self._places.occupied_by(self._stream(parsed, full_text=full_text))
        return await self._places.occupied_by(self._whole(parsed, as_list=compat, full_text=full_text))

    def _check(self, parsed: GenerateRequest, *, streamed: bool) -> None:
        if self._places.all_taken:
            raise _overloaded()
        check(parsed, self._limits, stream=streamed)

    def _with_defaults(self, parsed: GenerateRequest) -> GenerateRequest:
        if parsed.get("max_new_tokens") is None and self.era.default_max_new_tokens is not None:
            parsed.parameters = {**parsed.parameters, "max_new_tokens": self.era.default_max_new_tokens}
        return parsed

    def _failed(self, error: TGIError, parsed: GenerateRequest, *, streamed: bool) -> ASGIApp:
        """Return an error before the first token: in a stream, an event with status 200."""
        if not streamed:
            return error_response(error)

        async def only_event() -> AsyncGenerator[bytes, None]:
            yield self.era.event_of(error.body)

        return EventStream(only_event(), self._stream_headers(parsed))

    async def _whole(self, parsed: GenerateRequest, *, as_list: bool, full_text: bool) -> Response:
        started = time.perf_counter()
        generations: list[Generation] = []
        try:
            for _ in range(max(1, parsed.get("best_of", 1))):
                generation = await self._generation(parsed)
                if isinstance(generation, HTTPAnswer):
                    return http_answer(generation)
                generations.append(generation)
        except EngineError as error:
            return error_response(engine_failure(error, parsed, self._window))
        except TGIError as error:
            return error_response(error)
        best = max(generations, key=lambda generation: generation.score)
        others = [generation for generation in generations if generation is not best]
        return whole_answer(best, others, self.era, as_list=as_list, full_text=full_text, started=started)

    async def _generation(self, parsed: GenerateRequest) -> Generation | HTTPAnswer:
        generation = Generation(parsed)
        async with contextlib.aclosing(run(self._engine, self._call(parsed, stream=False), generation)) as steps:
            async for step in steps:
                if isinstance(step, HTTPAnswer):
                    return step
                if isinstance(step, RawEvent):
                    raise EngineError("the rule's reply has `events` of a stream, but the request is not streamed")
        if generation.finish_reason is None:
            raise TGIError("Incomplete generation", "incomplete_generation")
        return generation

    async def _stream(self, parsed: GenerateRequest, *, full_text: bool) -> ASGIApp:
        generation = Generation(parsed)
        steps = run(self._engine, self._call(parsed, stream=True), generation)
        first = asyncio.ensure_future(anext(steps, None))
        # Long enough for a rule's answer that replaces the stream; comments start afterwards.
        answer = await _answer_in_place(first, self._options.keep_alive)
        if answer is not None:
            await steps.aclose()
            return http_answer(answer)
        events = stream_events(_resumed(first, steps), generation, self.era, full_text=full_text, window=self._window)
        kept_alive = with_pings(events, _comment, self._options.keep_alive, only_in_silence=True)
        return EventStream(kept_alive, self._stream_headers(parsed))

    @staticmethod
    def _stream_headers(parsed: GenerateRequest) -> dict[str, str]:
        return {"content-type": "text/event-stream", **stream_headers(parsed)}

    def _call(self, parsed: GenerateRequest, *, stream: bool) -> Call:
        parameters = {name: parsed.get(name) for name in _SAMPLING if parsed.get(name) is not None}
        if not parsed.sampling:
            parameters["temperature"] = 0
        limit = parsed.get("max_new_tokens")
        window = self._window
        if self.era.counts_only_1024 and limit is not None:
            window += max(0, limit - 1024)
        return Call(
            api="datacrunch",
            model=parsed.model or _MODEL,
            prompt=parsed.inputs,
            stream=stream,
            max_tokens=limit,
            parameters=parameters,
            guide=_guide(parsed.get("grammar")),
            logprobs=parsed.get("top_n_tokens", 0),
            tokens=True,
            prompt_tokens=bool(parsed.get("decoder_input_details")),
            truncate=parsed.get("truncate"),
            context_window=window,
        )


async def _answer_in_place(first: asyncio.Future[Any], seconds: float) -> HTTPAnswer | None:
    """Wait up to the limit for the first step; return it if it is a whole answer that replaces the stream."""
    try:
        await asyncio.wait({first}, timeout=seconds)
    except BaseException:
        first.cancel()
        raise
    failure = first.exception() if first.done() else None
    if isinstance(failure, ConnectionCut):
        raise failure
    answer = first.result() if first.done() and failure is None else None
    return answer if isinstance(answer, HTTPAnswer) else None


def _comment() -> bytes:
    return b":\n\n"


async def _resumed(first: asyncio.Future[Any], steps: Steps) -> Steps:
    """Yield the steps; the first one is already awaited."""
    try:
        step = await first
        while step is not None:
            yield step
            step = await anext(steps, None)
    finally:
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        await steps.aclose()


def _guide(grammar: dict[str, Any] | None) -> Guide | None:
    if grammar is None:
        return None
    schema = grammar_schema(grammar)
    return Guide("regex", grammar["value"]) if schema is None else Guide("json", schema)


def _plain(error: PlainError) -> Response:
    return raw_response(error.message, error.status, {"content-type": "text/plain; charset=utf-8"})


_UNAUTHORIZED = Response(b"", 401)


def _overloaded() -> TGIError:
    return TGIError("Model is overloaded", "overloaded")
