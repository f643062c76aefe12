"""A container with vLLM on DataCrunch (Verda): Chat Completions, ``/v1/completions`` and the list of models.

It serves one model, under the engine's name or as ``sandbox``, and ``mixtral``, a LoRA adapter of it. Errors are
vLLM's: another model gets 404, a wrong key 401 with a text as ``error``, TGI's ``/generate`` 404 with a ``detail``.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncGenerator, Mapping
from typing import TYPE_CHECKING, Any

from starlette.routing import BaseRoute, Route

from linkspan.conversation import Delta
from linkspan_sandbox import chat_completions as wire
from linkspan_sandbox.engine import Call, Engine, EngineError, Guide, HTTPAnswer, Piece, RawEvent
from linkspan_sandbox.json_bodies import parse_json
from linkspan_sandbox.responses import EventStream, compact_json, json_response, raw_response
from linkspan_sandbox.scaleway import Options
from linkspan_sandbox.vllm_chat import ChunkWriter, model_error_body

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.types import ASGIApp

    from linkspan.conversation import TokenLogprob
    from linkspan_sandbox.keys import KeyCheck

__all__ = ["routes"]

_ROOT = "/datacrunch/vllm"
_ROLES = ("system", "developer", "user", "assistant", "tool")
_ADAPTER = "mixtral"
#: Context window for engines that do not know their model's.
_WINDOW = 32_768
#: vLLM's default for prompts.
_DEFAULT_MAX_TOKENS = 16
_OPTIONS = Options()
_DONE = b"data: [DONE]\n\n"


def routes(engine: Engine, keys: KeyCheck) -> list[BaseRoute]:
    """Return the routes under ``/datacrunch/vllm``."""
    server = _VLLM(engine, keys)
    return [
        Route(f"{_ROOT}/v1/chat/completions", server.chat, methods=["POST"]),
        Route(f"{_ROOT}/v1/completions", server.complete, methods=["POST"]),
        Route(f"{_ROOT}/v1/models", server.models, methods=["GET"]),
        Route(f"{_ROOT}/health", server.health, methods=["GET"]),
        Route(f"{_ROOT}/{{rest:path}}", server.unknown_route, methods=["GET", "POST"]),
    ]


class _VLLM:
    def __init__(self, engine: Engine, keys: KeyCheck) -> None:
        self._engine = engine
        self._keys = keys
        self._window = engine.context_window or _WINDOW
        self._created = int(time.time())

    @property
    def _model(self) -> str:
        return self._engine.served_model or "sandbox"

    # ------------------------------------------------------------------ routes

    async def unknown_route(self, _: Request) -> Response:
        return json_response({"detail": "Not Found"}, 404)

    async def health(self, _: Request) -> Response:
        return raw_response(b"", 200, {})

    async def models(self, request: Request) -> Response:
        if not self._keys.accepts_bearer(request):
            return _unauthorized()
        shared = {"object": "model", "created": self._created, "owned_by": "vllm", "max_model_len": self._window}
        served = {"id": self._model, **shared, "root": self._model, "parent": None}
        adapter = {"id": _ADAPTER, **shared, "max_model_len": None, "root": _ADAPTER, "parent": self._model}
        return json_response({"object": "list", "data": [served, adapter]})

    async def chat(self, request: Request) -> ASGIApp:
        return await self._answer(request, chat=True)

    async def complete(self, request: Request) -> ASGIApp:
        return await self._answer(request, chat=False)

    # ------------------------------------------------------------------ answers

    async def _answer(self, request: Request, *, chat: bool) -> ASGIApp:
        if not self._keys.accepts_bearer(request):
            return _unauthorized()
        try:
            body = parse_json(await request.body())
            call = _read_chat(body) if chat else _read_prompt(body)
        except wire.RequestError as error:
            return _error(400, error.message)
        except ValueError as error:
            return _error(400, f"JSON decode error: {error}")
        if call.model not in {self._model, _ADAPTER}:
            return _error(404, f"The model `{call.model}` does not exist.")
        call.context_window = self._window
        writer: ChunkWriter | _PromptWriter = (ChunkWriter if chat else _PromptWriter)(_OPTIONS, body, call.model)
        try:
            return await self._written(call, int(body.get("n") or 1), writer)
        except EngineError as error:
            return _error(error.status, error.message)

    async def _written(self, call: Call, count: int, writer: ChunkWriter | _PromptWriter) -> ASGIApp:
        if call.stream:
            first, pieces = await wire.first_piece(self._engine.answer(call))
            if not isinstance(first, HTTPAnswer):
                return EventStream(writer.events(pieces), {})
            await pieces.aclose()
            return _instead(first)
        answers = []
        for _ in range(count):
            async with contextlib.aclosing(self._engine.answer(call)) as pieces:
                answer = await wire.gather(pieces)
            if isinstance(answer, HTTPAnswer):
                return _instead(answer)
            answers.append(answer)
        return writer.completions(answers, {})


def _read_chat(body: Any) -> Call:
    call = wire.read_call(body, "datacrunch", _ROLES)
    call.guide = _guide(body)
    return call


def _read_prompt(body: Any) -> Call:
    """Parse a prompt's request by way of an equivalent chat request."""
    prompt = body.get("prompt") if isinstance(body, Mapping) else None
    if not isinstance(prompt, str) or not prompt:
        raise wire.RequestError("Either prompt or prompt_embeds must be provided and non-empty.", field="prompt")
    as_chat = {**body, "messages": [{"role": "user", "content": prompt}]}
    logprobs = as_chat.pop("logprobs", None)
    if logprobs is not None and (not isinstance(logprobs, int) or logprobs < 0):
        raise wire.RequestError("`logprobs` must be a positive value.", field="logprobs")
    call = wire.read_call({"max_tokens": _DEFAULT_MAX_TOKENS, **as_chat}, "datacrunch", _ROLES)
    call.messages, call.prompt, call.logprobs = (), prompt, logprobs
    wanted = call.response_format
    if wanted is not None and wanted["type"] == "json_schema":
        call.guide = Guide("json", wanted["json_schema"]["schema"])
    else:
        call.guide = _guide(body)
    return call


def _guide(body: Mapping[str, Any]) -> Guide | None:
    """Parse ``structured_outputs``."""
    wanted = body.get("structured_outputs") or {}
    if not isinstance(wanted, Mapping):
        raise wire.RequestError("Input should be a valid dictionary", field="structured_outputs")
    for kind in ("json", "choice", "regex", "grammar"):
        if wanted.get(kind) is not None:
            return Guide(kind, wanted[kind])
    return None


class _PromptWriter:
    """Encodes answers to a prompt as vLLM does: whole, or as chunks."""

    def __init__(self, _: Options, body: Mapping[str, Any], model: str) -> None:
        self._model = model
        self._head = {"id": wire.new_id("cmpl"), "object": "text_completion", "created": int(time.time())}
        self._with_usage = bool((body.get("stream_options") or {}).get("include_usage"))
        self._echo = body["prompt"] if body.get("echo") else ""

    def completions(self, answers: Sequence[wire.Answer], headers: Mapping[str, str]) -> Response:
        """Return one answer or several (``n``)."""
        choices = [
            {
                **_choice(self._echo + answer.text, answer.logprobs, answer.finish_reason),
                "index": index,
                "prompt_logprobs": None,
            }
            for index, answer in enumerate(answers)
        ]
        body = {**self._head, "model": answers[0].model or self._model, "choices": choices}
        return json_response({**body, "usage": wire.usage_of_all(answers)}, headers=headers)

    async def events(self, pieces: AsyncGenerator[Piece, None]) -> AsyncGenerator[bytes, None]:
        """Yield the events of a stream."""
        usage = None
        opening, finished = self._echo, False
        try:
            async for piece in pieces:
                if isinstance(piece, RawEvent):
                    yield _event(piece.data)
                elif isinstance(piece, Delta):
                    usage = piece.usage or usage
                    finished = finished or piece.finish_reason is not None
                    choice = _choice(opening + piece.text, piece.logprobs or (), piece.finish_reason)
                    opening = ""
                    head = {**self._head, "model": piece.model or self._model}
                    yield _event(compact_json({**head, "choices": [choice]}))
        except EngineError as error:
            yield _event(compact_json(model_error_body(_OPTIONS, error.status, error.message)))
            yield _DONE
            return
        finally:
            await pieces.aclose()
        if not finished:
            return
        if self._with_usage and usage is not None:
            head = {**self._head, "model": self._model, "choices": []}
            yield _event(compact_json({**head, "usage": wire.usage_json(usage)}))
        yield _DONE


def _choice(text: str, tokens: Sequence[TokenLogprob], finish_reason: str | None) -> dict[str, Any]:
    logprobs = None
    if tokens:
        logprobs = {
            "text_offset": [0] * len(tokens),
            "token_logprobs": [token.logprob for token in tokens],
            "tokens": [token.token for token in tokens],
            "top_logprobs": [{top.token: top.logprob for top in (token.top or (token,))} for token in tokens],
        }
    return {"index": 0, "text": text, "logprobs": logprobs, "finish_reason": finish_reason, "stop_reason": None}


def _event(data: str) -> bytes:
    return f"data: {data}\n\n".encode()


def _unauthorized() -> Response:
    return json_response({"error": "Unauthorized"}, 401)


def _error(status: int, message: str) -> Response:
    return json_response(model_error_body(_OPTIONS, status, message), status)


def _instead(answer: HTTPAnswer) -> Response:
    """Return a whole HTTP answer that replaces the model's."""
    if answer.body is None:
        body = model_error_body(_OPTIONS, answer.status, answer.message or "failed")
        return json_response(body, answer.status, answer.headers)
    return raw_response(answer.body, answer.status, answer.headers)
