"""Chat Completions as vLLM writes them: whole answers, streams and errors. Scaleway's models run on it, too."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from linkspan.conversation import Delta
from linkspan_sandbox import chat_completions as wire
from linkspan_sandbox.engine import EngineError, Piece, RawEvent
from linkspan_sandbox.responses import compact_json, json_response

if TYPE_CHECKING:
    from starlette.responses import Response

    from linkspan_sandbox.scaleway import Options

__all__ = ["ChunkWriter", "model_error_body"]

_MODEL_ERROR_TYPES = {400: "BadRequestError", 404: "NotFoundError", 500: "InternalServerError"}
_DONE = b"data: [DONE]\n\n"


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
