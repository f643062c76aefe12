"""TGI's Messages API: Chat Completions with TGI's peculiarities (docs/apis/datacrunch.md#tgi-messages)."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

from linkspan.conversation import Delta
from linkspan_sandbox import chat_completions as wire
from linkspan_sandbox.engine import EngineError, HTTPAnswer, RawEvent
from linkspan_sandbox.pings import with_pings
from linkspan_sandbox.responses import EventStream, json_response
from linkspan_sandbox.tgi_generate import error_response, http_answer
from linkspan_sandbox.tgi_request import TGIError, grammar_schema

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping

    from starlette.types import ASGIApp

    from linkspan_sandbox.engine import Call, Engine, Piece
    from linkspan_sandbox.tgi_generate import Era

__all__ = ["ChatRoute"]

_ROLES = ("system", "user", "assistant", "tool")
_DONE = b"data: [DONE]\n\n"


class ChatRoute:
    """``POST /v1/chat/completions``."""

    def __init__(self, engine: Engine, era: Era, window: int) -> None:
        self._engine = engine
        self._era = era
        self._window = window

    async def answer(self, body: Any, keep_alive: float) -> ASGIApp:
        """Answer a request."""
        try:
            call = self._read(body)
            first, pieces = await wire.first_piece(self._engine.answer(call))
            writer = _Writer(self._era, call, body)
            if call.stream and not isinstance(first, HTTPAnswer):
                events = with_pings(writer.events(pieces), lambda: b":\n\n", keep_alive, only_in_silence=True)
                return EventStream(events, {"content-type": "text/event-stream"})
            answer = await wire.gather(pieces)
        except TGIError as error:
            return error_response(error)
        except wire.RequestError as error:
            return error_response(TGIError(error.message))
        except EngineError as error:
            kind = "validation" if 400 <= error.status < 500 else "generation"
            return error_response(TGIError(error.message, kind))
        return http_answer(answer) if isinstance(answer, HTTPAnswer) else json_response(writer.completion(answer))

    def _read(self, body: Any) -> Call:
        if not isinstance(body, dict):
            raise wire.RequestError("the body must be a JSON object")
        plain = {name: value for name, value in body.items() if value is not None}
        plain.setdefault("model", "tgi")
        grammar = plain.pop("response_format", None)
        if grammar is not None and plain.get("tools"):
            raise TGIError("Grammar and tools are mutually exclusive", "tool_error")
        call = wire.read_call(plain, "datacrunch", _ROLES)
        if grammar is not None:
            if not isinstance(grammar, dict) or grammar.get("type") not in (
                "json",
                "json_object",
                "regex",
                "json_schema",
            ):
                raise TGIError("response_format: unknown grammar type")
            schema = grammar_schema(grammar)
            if schema is not None:
                call.response_format = {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}
        if self._era.default_max_new_tokens is not None and call.max_tokens is None:
            call.max_tokens = self._era.default_max_new_tokens
        call.context_window = self._window
        return call


class _Writer:
    def __init__(self, era: Era, call: Call, body: Mapping[str, Any]) -> None:
        self._era = era
        self._model = call.model
        self._created = int(time.time())
        self._with_usage = bool((body.get("stream_options") or {}).get("include_usage"))
        self._stops = call.stop

    def completion(self, answer: wire.Answer) -> dict[str, Any]:
        message: dict[str, Any] = {"role": "assistant"}
        if answer.tool_calls:
            message["tool_calls"] = [self._tool_call(call) for call in answer.tool_calls]
        else:
            message["content"] = answer.text
        choice = {
            "index": 0,
            "message": message,
            "logprobs": wire.logprobs_json(answer.logprobs) if answer.logprobs else None,
            "finish_reason": self._finish_reason(answer.finish_reason, stopped=False),
        }
        usage = wire.usage_json(answer.usage) if answer.usage else None
        if usage is not None:
            del usage["prompt_tokens_details"]
        return {**self._head(chunk=False), "choices": [choice], "usage": usage}

    async def events(self, pieces: AsyncGenerator[Piece, None]) -> AsyncGenerator[bytes, None]:
        usage = None
        finished = False
        try:
            async for piece in pieces:
                if isinstance(piece, RawEvent):
                    yield self._era.event(piece.data)
                elif isinstance(piece, Delta):
                    usage = piece.usage or usage
                    finished = finished or piece.finish_reason is not None
                    yield self._era.event_of(self._chunk(piece))
        except EngineError as error:
            failure = {
                "message": f"Request failed during generation: {error.message}",
                "http_status_code": error.status,
            }
            yield self._era.event_of({"error": failure})
            finished = True
        finally:
            await pieces.aclose()
        if not finished:
            return
        if self._with_usage and usage is not None:
            counts = wire.usage_json(usage)
            del counts["prompt_tokens_details"]
            yield self._era.event_of({**self._head(chunk=True), "choices": [], "usage": counts})
        if self._era.chat_ends_with_done:
            yield _DONE

    def _chunk(self, piece: Delta) -> dict[str, Any]:
        delta: dict[str, Any] = {"role": "assistant"}
        if piece.tool_calls:
            delta["tool_calls"] = [wire.tool_call_delta_json(call) for call in piece.tool_calls]
        else:
            delta["content"] = piece.text
        if piece.finish_reason is not None and not self._era.chat_objects_named:
            delta = {}
        stopped = bool(piece.extra and piece.extra.get("stop_text"))
        choice = {
            "index": 0,
            "delta": delta,
            "logprobs": wire.logprobs_json(piece.logprobs) if piece.logprobs else None,
            "finish_reason": self._finish_reason(piece.finish_reason, stopped=stopped),
        }
        return {**self._head(chunk=True), "choices": [choice], "usage": None}

    def _head(self, *, chunk: bool) -> dict[str, Any]:
        named = "chat.completion.chunk" if chunk else "chat.completion"
        return {
            "object": named if self._era.chat_objects_named else "text_completion",
            "id": "",
            "created": self._created,
            "model": self._model,
            "system_fingerprint": f"{self._era.version}-sandbox",
        }

    def _tool_call(self, call: dict[str, Any]) -> dict[str, Any]:
        if self._era.tool_arguments_as_text:
            return call
        function = {**call["function"], "arguments": json.loads(call["function"]["arguments"])}
        return {**call, "id": 0, "function": function}

    def _finish_reason(self, reason: str | None, *, stopped: bool) -> str | None:
        if stopped:
            return "stop_sequence"
        if reason in ("stop", "tool_calls"):
            return "stop" if self._era.chat_names_eos_stop else "eos_token"
        return reason
