"""Encode answers and streams as LLM Engine does: v1 for prompts, v2 for chat (docs/apis/llm_engine.md)."""

from __future__ import annotations

import time
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from linkspan.conversation import Delta
from linkspan_sandbox import chat_completions as wire
from linkspan_sandbox.engine import EngineError, HTTPAnswer, Piece, RawEvent
from linkspan_sandbox.responses import compact_json

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping

__all__ = ["INTERNAL_ERROR", "ChatWriter", "PromptWriter", "event", "ping", "pod_error", "timestamp"]

INTERNAL_ERROR = "Internal error occurred. Our team has been notified."
#: Time zone of the timestamps in the gateway's errors.
_PACIFIC = timezone(timedelta(hours=-8), "PST")


def event(data: str) -> bytes:
    """Return an event as sse-starlette frames it."""
    return f"data: {data}\r\n\r\n".encode()


def ping() -> bytes:
    """Return a keep-alive comment, framed likewise."""
    return f": ping - {datetime.now(timezone.utc)}\r\n\r\n".encode()


def timestamp() -> str:
    """Return the timestamp of an error body."""
    return datetime.now(_PACIFIC).strftime("%Y-%m-%d %H:%M:%S %Z")


def pod_error(error: EngineError) -> dict[str, Any]:
    """Return vLLM's error body for a bad request."""
    return {"object": "error", "message": error.message, "type": "BadRequestError", "param": None, "code": error.status}


def _error_event(status: int, message: str) -> dict[str, Any]:
    return {"status_code": status, "content": {"error": message, "timestamp": timestamp()}}


class PromptWriter:
    """Writes one v1 answer.

    Args:
        request_id: The call's id.
        framework: The framework of the endpoint. TensorRT-LLM never marks the end; DeepSpeed counts no tokens and
            repeats the whole text at the end.
        with_tokens: Whether log probabilities were requested.
        counts: Whether stream events carry token counts; otherwise counts are 0.
    """

    def __init__(self, request_id: str, framework: str, *, with_tokens: bool, counts: bool) -> None:
        self._request_id = request_id
        self._framework = framework
        self._with_tokens = with_tokens
        self._counts = counts
        self._text = ""
        self._begun = False

    def whole(self, answer: wire.Answer) -> dict[str, Any]:
        """The whole answer."""
        tokens = [_token(entry.token, entry.logprob) for entry in answer.logprobs] if self._with_tokens else None
        usage = answer.usage
        output = {
            "text": answer.text,
            "num_prompt_tokens": usage.input_tokens if usage else None,
            "num_completion_tokens": (usage.output_tokens or 0) if usage else 0,
            "tokens": tokens,
        }
        return {"request_id": self._request_id, "output": output}

    async def events(self, pieces: AsyncGenerator[Piece, None]) -> AsyncGenerator[bytes, None]:
        """The stream's events."""
        try:
            async for piece in pieces:
                if isinstance(piece, HTTPAnswer):
                    # Too late for an error status: the stream has begun.
                    yield self.failure(piece.status, piece.message or f"Upstream service error {piece.status}")
                    return
                self._begun = True
                if isinstance(piece, RawEvent):
                    yield event(piece.data)
                elif self._is_told(piece):
                    yield self._event(piece)
        except EngineError as error:
            yield self.failure_of(error)
        finally:
            await pieces.aclose()

    def failure_of(self, error: EngineError) -> bytes:
        """Return the event for a failure of the model's server."""
        if self._begun:
            return self.failure(500, INTERNAL_ERROR)
        if error.status == 400:
            return self.failure(400, str(pod_error(error)))
        return self.failure(500, f"Upstream service error for request_id {self._request_id}")

    def failure(self, status: int, message: str) -> bytes:
        """An error event."""
        body = {"request_id": self._request_id, "output": None, "error": _error_event(status, message)}
        return event(compact_json(body))

    def _is_told(self, piece: Delta) -> bool:
        if piece.finish_reason is not None and self._framework == "tensorrt_llm":
            return bool(piece.text)
        return bool(piece.text or piece.logprobs or piece.finish_reason)

    def _event(self, piece: Delta) -> bytes:
        finished = piece.finish_reason is not None and self._framework != "tensorrt_llm"
        self._text += piece.text
        usage = piece.usage
        made: int | None = (usage.output_tokens if usage else None) if self._counts else 0
        given: int | None = None
        if finished:
            given = (usage.input_tokens if usage else None) if self._counts else 0
        if self._framework == "deepspeed" and not finished:
            made = None
        token = piece.logprobs[0] if piece.logprobs and self._with_tokens else None
        output = {
            "text": self._text if finished and self._framework == "deepspeed" else piece.text,
            "finished": finished,
            "num_prompt_tokens": given,
            "num_completion_tokens": made,
            "token": None if token is None else _token(token.token, token.logprob),
        }
        return event(compact_json({"request_id": self._request_id, "output": output, "error": None}))


def _token(text: str, logprob: float | None) -> dict[str, Any]:
    return {"token": text, "log_prob": logprob}


class ChatWriter:
    """Writes one v2 answer: Chat Completions under the endpoint's name, without an end marker."""

    def __init__(self, model: str, body: Mapping[str, Any]) -> None:
        self._model = model
        self._id = wire.new_id("chatcmpl")
        self._created = int(time.time())
        self._with_usage = bool((body.get("stream_options") or {}).get("include_usage"))

    def whole(self, answer: wire.Answer) -> dict[str, Any]:
        """Return the whole answer, including its nulls."""
        message = {
            "content": answer.text or (None if answer.tool_calls else ""),
            "refusal": None,
            "tool_calls": answer.tool_calls or None,
            "annotations": None,
            "role": "assistant",
            "function_call": None,
            "audio": None,
            "reasoning_content": answer.reasoning or None,
        }
        choice = {
            "finish_reason": answer.finish_reason,
            "index": 0,
            "message": message,
            "logprobs": wire.logprobs_json(answer.logprobs) if answer.logprobs else None,
        }
        usage = None
        if answer.usage is not None:
            usage = {**wire.usage_json(answer.usage), "completion_tokens_details": None}
        return {**self._head("chat.completion"), "choices": [choice], "usage": usage}

    async def events(self, pieces: AsyncGenerator[Piece, None]) -> AsyncGenerator[bytes, None]:
        """The stream's events."""
        usage = None
        opened = finished = False
        try:
            async for piece in pieces:
                if isinstance(piece, RawEvent):
                    yield event(piece.data)
                elif isinstance(piece, Delta):
                    if not opened:
                        opened = True
                        yield self._chunk(piece, {"role": "assistant", "content": ""}, None)
                    usage = piece.usage or usage
                    finished = finished or piece.finish_reason is not None
                    for delta in _deltas(piece):
                        yield self._chunk(piece, delta, piece.finish_reason)
        except EngineError:
            yield event(compact_json({"error": _error_event(500, INTERNAL_ERROR)}))
            return
        finally:
            await pieces.aclose()
        if finished and self._with_usage and usage is not None:
            counts = {name: count for name, count in wire.usage_json(usage).items() if count is not None}
            yield event(compact_json({**self._head("chat.completion.chunk"), "choices": [], "usage": counts}))

    def _chunk(self, piece: Delta, delta: Mapping[str, Any], finish_reason: str | None) -> bytes:
        choice: dict[str, Any] = {"delta": delta, "index": 0}
        if piece.logprobs and delta.get("content"):
            choice["logprobs"] = wire.logprobs_json(piece.logprobs)
        if finish_reason is not None:
            choice["finish_reason"] = finish_reason
        return event(compact_json({**self._head("chat.completion.chunk"), "choices": [choice]}))

    def _head(self, kind: str) -> dict[str, Any]:
        return {"id": self._id, "created": self._created, "model": self._model, "object": kind}


def _deltas(piece: Delta) -> list[dict[str, Any]]:
    deltas: list[dict[str, Any]] = []
    if piece.reasoning:
        deltas.append({"reasoning_content": piece.reasoning})
    if piece.text:
        deltas.append({"content": piece.text})
    if piece.tool_calls:
        deltas.append({"tool_calls": [wire.tool_call_delta_json(call) for call in piece.tool_calls]})
    if piece.finish_reason is not None and not deltas:
        deltas.append({"content": ""})
    return deltas
