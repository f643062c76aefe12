"""Decode a TGI server's ``GET /health`` and ``GET /info``.

Containers with TGI have these routes; whether the legacy gateway has them is unknown. Source:
docs/apis/datacrunch.md, and TGI's own description of ``/info``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from linkspan.errors import InvalidResponseError, ServerError
from linkspan.providers.datacrunch.errors import tgi_error_in
from linkspan.providers.datacrunch.provider import DATACRUNCH
from linkspan.providers.error_bodies import request_id_of
from linkspan.providers.wire import as_count, as_name, parse_json

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["ServerHealth", "ServerInfo", "decode_health", "decode_info"]

_UNHEALTHY = 503


@dataclass(frozen=True)
class ServerHealth:
    """Whether a server can generate.

    Attributes:
        healthy: Whether it can.
        message: The server's message if not.
    """

    healthy: bool
    message: str | None = None

    def __bool__(self) -> bool:
        return self.healthy


@dataclass(frozen=True)
class ServerInfo:
    """A server's model, version and limits; ``None`` for what its version does not report.

    Attributes:
        model_id: The model, usually by its name on the Hugging Face hub.
        version: TGI's version.
        max_input_tokens: Most tokens of a prompt.
        max_total_tokens: Most tokens of prompt and answer together.
        max_best_of: Largest ``best_of``.
        max_stop_sequences: Most stop texts.
        max_concurrent_requests: Most concurrent calls; more get status 429.
        raw: The answer as received.
    """

    model_id: str | None = None
    version: str | None = None
    max_input_tokens: int | None = None
    max_total_tokens: int | None = None
    max_best_of: int | None = None
    max_stop_sequences: int | None = None
    max_concurrent_requests: int | None = None
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False)


def decode_health(error: ServerError | None) -> ServerHealth:
    """Decode the outcome of ``GET /health``: any answer but a web page means healthy, 503 unhealthy.

    Raises:
        ServerError: Any other failure.
    """
    if error is None:
        return ServerHealth(healthy=True)
    if error.status_code != _UNHEALTHY:
        raise error
    return ServerHealth(healthy=False, message=error.message)


def decode_info(body: bytes, headers: Mapping[str, str]) -> ServerInfo:
    """Decode ``GET /info``.

    Raises:
        InvalidResponseError: The answer is not TGI's.
        LinkspanError: The answer is an error with status 200.
    """
    parsed = parse_json(body, DATACRUNCH.name)
    error = tgi_error_in(parsed, headers)
    if error is not None:
        raise error
    if not isinstance(parsed, dict) or "model_id" not in parsed:
        raise InvalidResponseError(
            f"{DATACRUNCH.name}: the answer of /info is not a TGI server's: model_id is missing.",
            provider=DATACRUNCH.name,
            request_id=request_id_of(headers),
        )

    def limit(name: str) -> int | None:
        return as_count(parsed.get(name), name)

    longest = limit("max_input_tokens")
    return ServerInfo(
        model_id=as_name(parsed["model_id"], "model_id"),
        version=as_name(parsed.get("version"), "version"),
        # Called max_input_length until TGI 2.0.
        max_input_tokens=limit("max_input_length") if longest is None else longest,
        max_total_tokens=limit("max_total_tokens"),
        max_best_of=limit("max_best_of"),
        max_stop_sequences=limit("max_stop_sequences"),
        max_concurrent_requests=limit("max_concurrent_requests"),
        raw=parsed,
    )
