"""Answers of LLM Engine's gateway that are not the model's: refusals and failures."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from linkspan_sandbox.llm_engine_writers import INTERNAL_ERROR, pod_error, timestamp
from linkspan_sandbox.responses import json_response, raw_response

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.responses import Response

    from linkspan_sandbox.engine import EngineError, HTTPAnswer

__all__ = ["RefusedError", "failure", "pod_failed", "replacing_answer"]


class RefusedError(Exception):
    """An answer of the gateway itself."""

    def __init__(self, status: int, detail: Any, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(str(detail))
        self.response = json_response({"detail": detail}, status, headers)


def replacing_answer(answer: HTTPAnswer, request_id: str) -> Response:
    """Return a rule's answer that replaces the model's."""
    if answer.body is not None:
        return raw_response(answer.body, answer.status, answer.headers)
    return failure(answer.status, answer.message, request_id, answer.headers)


def failure(status: int, message: str | None, request_id: str, headers: Mapping[str, str]) -> Response:
    """Return the gateway's error answer of a status."""
    if status == 429:
        body: dict[str, Any] = {"error": message or "Too many requests", "timestamp": timestamp()}
    elif status == 500:
        body = {"error": message or INTERNAL_ERROR, "timestamp": timestamp(), "request_id": request_id}
    else:
        body = {"detail": message or HTTPStatus(status).phrase}
    return json_response(body, status, headers)


def pod_failed(error: EngineError, request_id: str, *, stream: bool) -> Response:
    """Return what the gateway makes of an error of the model's server."""
    if error.status == 400 and not stream:
        return json_response({"detail": pod_error(error)}, 400)
    if stream:
        return failure(500, None, request_id, {})
    return json_response({"detail": f"Upstream service error for request_id {request_id}"}, 500)
