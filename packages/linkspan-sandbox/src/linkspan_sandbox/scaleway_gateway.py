"""Scaleway's gateway in front of the models: its refusals and its rate limits."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, ClassVar

from linkspan_sandbox.responses import json_response

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.responses import Response

__all__ = ["GatewayError", "RateLimiter"]

#: The gateway's messages that differ from the status's standard phrase.
_GATEWAY_WORDS = {422: "UNPROCESSABLE ENTITY", 429: "INSUFFICIENT QUOTA"}
_GATEWAY_MESSAGES = {
    403: "insufficient permissions to access the resource",
    404: "route not found",
    429: "You exceeded your current quota of requests per minute",
    504: "the request took too long to process",
}


class GatewayError(Exception):
    """Raised if the gateway refuses the request, before any model."""

    def __init__(self, status: int, message: str | None = None, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.headers = dict(headers or {})

    def response(self, headers: Mapping[str, str]) -> Response:
        """Return the refusal."""
        return json_response(_flat_body(self.status, self.message), self.status, {**headers, **self.headers})


def _flat_body(status: int, message: str | None) -> dict[str, Any]:
    phrase = HTTPStatus(status).phrase
    return {
        "status": status,
        "error": _GATEWAY_WORDS.get(status, phrase.upper()),
        "message": message or _GATEWAY_MESSAGES.get(status, phrase.lower()),
    }


class RateLimiter:
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
            raise GatewayError(429, f"You exceeded your current quota of {exceeded[0]} per minute", headers)
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
