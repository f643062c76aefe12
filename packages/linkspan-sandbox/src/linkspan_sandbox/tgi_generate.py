"""Encode answers of TGI's ``generate`` and ``generate_stream`` as one version of TGI does.

Follows docs/apis/datacrunch.md: answers, streams and the differences between versions.
"""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any

from linkspan_sandbox.engine import EngineError, HTTPAnswer, RawEvent
from linkspan_sandbox.responses import compact_json, json_response, raw_response
from linkspan_sandbox.tgi_request import TGIError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping

    from starlette.responses import Response

    from linkspan_sandbox.tgi_request import GenerateRequest
    from linkspan_sandbox.tgi_tokens import Generation, Step

__all__ = [
    "Era",
    "engine_failure",
    "error_response",
    "http_answer",
    "stream_events",
    "stream_headers",
    "whole_answer",
]

_COMPUTE_TYPE = "cpu"
_TYPE_OF_STATUS = {
    422: "validation",
    424: "generation",
    429: "overloaded",
    500: "incomplete_generation",
    503: "healthcheck",
}


class Era:
    """The behaviour of one version of TGI where versions differ."""

    def __init__(self, version: str) -> None:
        number = tuple(int(part) for part in version.split("."))
        self.version = version
        self.blank_after_data = number >= (2, 1)
        self.has_index = number >= (1, 4)
        self.has_input_length = number >= (2, 3)
        self.has_prompt_header = number >= (1, 4)
        self.has_models = number >= (2, 3)
        self.chat_ends_with_done = number >= (2, 2)
        self.chat_names_eos_stop = number >= (2, 3)
        self.chat_objects_named = number >= (2, 0)
        self.tool_arguments_as_text = number >= (2, 0)
        self.counts_only_1024 = number >= (3, 0)
        if number < (1, 1, 1):
            self.default_max_new_tokens: int | None = 20
        else:
            self.default_max_new_tokens = 100 if (1, 3, 4) <= number < (3, 0) else None

    def event(self, data: str) -> bytes:
        """Return a server-sent event, framed as this version does."""
        return f"data: {data}\n\n".encode() if self.blank_after_data else f"data:{data}\n\n".encode()

    def event_of(self, body: Any) -> bytes:
        """An event of JSON."""
        return self.event(compact_json(body))


def error_response(error: TGIError) -> Response:
    """Return an error with its status."""
    return json_response(error.body, error.status)


def http_answer(answer: HTTPAnswer) -> Response:
    """Return a rule's answer; without a body, TGI's error for the status."""
    if answer.body is not None:
        return raw_response(answer.body, answer.status, answer.headers)
    if answer.status == 401:
        return raw_response(b"", 401, answer.headers)
    message = answer.message or ("Model is overloaded" if answer.status == 429 else "the sandbox was told to fail here")
    error_type = _TYPE_OF_STATUS.get(answer.status, "generation")
    return json_response({"error": message, "error_type": error_type}, answer.status, answer.headers)


def whole_answer(
    best: Generation, others: list[Generation], era: Era, *, as_list: bool, full_text: bool, started: float
) -> Response:
    """Return the answer of ``generate``; on ``POST /`` it is a list of one."""
    request = best.request
    body: dict[str, Any] = {"generated_text": _generated_text(best, full_text=full_text)}
    if request.get("details") or request.get("decoder_input_details"):
        details: dict[str, Any] = {
            "finish_reason": best.finish_reason,
            "generated_tokens": len(best.steps),
            "seed": best.seed,
            "prefill": best.prefill,
            "tokens": [step.token for step in best.steps],
        }
        if others:
            details["best_of_sequences"] = [_sequence(other, full_text=full_text) for other in others]
        if request.get("top_n_tokens"):
            details["top_tokens"] = [step.top_tokens for step in best.steps]
        body["details"] = details
    return json_response([body] if as_list else body, headers=_headers(best, era, started))


def _sequence(generation: Generation, *, full_text: bool) -> dict[str, Any]:
    found: dict[str, Any] = {
        "generated_text": _generated_text(generation, full_text=full_text),
        "finish_reason": generation.finish_reason,
        "generated_tokens": len(generation.steps),
        "seed": generation.seed,
        "prefill": generation.prefill,
        "tokens": [step.token for step in generation.steps],
    }
    if generation.request.get("top_n_tokens"):
        found["top_tokens"] = [step.top_tokens for step in generation.steps]
    return found


def _generated_text(generation: Generation, *, full_text: bool) -> str:
    return (generation.request.inputs if full_text else "") + generation.text


def _headers(generation: Generation, era: Era, started: float) -> dict[str, str]:
    milliseconds = max(1, round((time.perf_counter() - started) * 1000))
    headers = {
        **stream_headers(generation.request),
        "x-compute-time": f"{milliseconds / 1000}",
        "x-total-time": str(milliseconds),
        "x-validation-time": "0",
        "x-queue-time": "0",
        "x-inference-time": str(milliseconds),
        "x-time-per-token": str(milliseconds // max(1, len(generation.steps))),
        "x-generated-tokens": str(len(generation.steps)),
    }
    del headers["x-accel-buffering"]
    if era.has_prompt_header and generation.input_tokens is not None:
        headers["x-prompt-tokens"] = str(generation.input_tokens)
    return headers


def stream_headers(request: GenerateRequest) -> dict[str, str]:
    """Return the headers of a stream."""
    return {
        "x-compute-type": _COMPUTE_TYPE,
        "x-compute-characters": str(len(request.inputs)),
        "x-accel-buffering": "no",
    }


async def stream_events(
    steps: AsyncGenerator[Step | RawEvent | HTTPAnswer, None],
    generation: Generation,
    era: Era,
    *,
    full_text: bool,
    window: int,
) -> AsyncGenerator[bytes, None]:
    """Yield the events of ``generate_stream``. There is no end marker; failures are events too."""
    number = 0
    try:
        async for step in steps:
            if isinstance(step, RawEvent):
                yield era.event(step.data)
            elif isinstance(step, HTTPAnswer):
                yield era.event_of(
                    {"error": step.message or "the sandbox was told to fail here", "error_type": "generation"}
                )
                return
            else:
                number += 1
                yield era.event_of(_event(step, number, generation, era, full_text=full_text))
    except EngineError as error:
        yield era.event_of(engine_failure(error, generation.request, window).body)
    finally:
        await steps.aclose()


def _event(step: Step, number: int, generation: Generation, era: Era, *, full_text: bool) -> dict[str, Any]:
    event: dict[str, Any] = {"index": number} if era.has_index else {}
    event["token"] = step.token
    if step.top_tokens is not None:
        event["top_tokens"] = step.top_tokens
    event["generated_text"] = event["details"] = None
    if step.finish_reason is not None:
        event["generated_text"] = _generated_text(generation, full_text=full_text)
        if generation.request.get("details"):
            event["details"] = _stream_details(step, number, generation, era)
    return event


def _stream_details(step: Step, number: int, generation: Generation, era: Era) -> Mapping[str, Any]:
    details = {"finish_reason": step.finish_reason, "generated_tokens": number, "seed": generation.seed}
    if era.has_input_length:
        details["input_length"] = generation.input_tokens
    return details


def engine_failure(error: EngineError, request: GenerateRequest, window: int) -> TGIError:
    """Return an engine's failure as TGI's error; ``window`` is the server's ``max_total_tokens``."""
    if error.kind == "context_overflow":
        return TGIError(_overflow(error.message, request, window))
    if error.status == 429:
        return TGIError("Model is overloaded", "overloaded")
    if 400 <= error.status < 500 and error.status != 424:
        return TGIError(error.message)
    return TGIError(f"Request failed during generation: {error.message}", "generation")


def _overflow(message: str, request: GenerateRequest, window: int) -> str:
    given = re.search(r"(\d+) input tokens", message)
    return (
        f"`inputs` tokens + `max_new_tokens` must be <= {window}. Given: {given.group(1) if given else 'too many'} "
        f"`inputs` tokens and {request.get('max_new_tokens', 0)} `max_new_tokens`"
    )
