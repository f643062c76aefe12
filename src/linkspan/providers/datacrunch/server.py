"""What a TGI server tells about itself: ``GET /health`` and ``GET /info``.

Whether the legacy gateway has these routes is not known; a container with TGI has. Source:
docs/apis/datacrunch.md, and TGI's own description of ``/info``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from linkspan.errors import InvalidResponseError, ServerError
from linkspan.providers.datacrunch.errors import tgi_error_in
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
        healthy: It can.
        message: What it said if not.
    """

    healthy: bool
    message: str | None = None

    def __bool__(self) -> bool:
        return self.healthy


@dataclass(frozen=True)
class ServerInfo:
    """What a server runs, and its limits; ``None`` where its version does not say.

    Attributes:
        model_id: The model, mostly by its name on the Hugging Face hub.
        version: TGI's version.
        max_input_tokens: Longest prompt, in tokens.
        max_total_tokens: Longest prompt and answer together, in tokens.
        max_best_of: Largest ``best_of``.
        max_stop_sequences: Most stop texts.
        max_concurrent_requests: Calls at the same time, before 429.
        raw: Everything, as the server said it.
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
    """Read the outcome of ``GET /health``: an answer of whatever content is healthy, 503 is not.

    Raises:
        ServerError: Any other failure.
    """
    if error is None:
        return ServerHealth(healthy=True)
    if error.status_code != _UNHEALTHY:
        raise error
    return ServerHealth(healthy=False, message=error.message)


def decode_info(body: bytes, headers: Mapping[str, str], provider: str) -> ServerInfo:
    """Read ``GET /info``.

    Raises:
        InvalidResponseError: It is not TGI's description of itself.
        LinkspanError: The answer is an error under status 200.
    """
    parsed = parse_json(body, provider)
    error = tgi_error_in(parsed, provider, headers)
    if error is not None:
        raise error
    if not isinstance(parsed, dict) or "model_id" not in parsed:
        raise InvalidResponseError(
            f"{provider}: the answer of /info is not a TGI server's: it has no model_id.",
            provider=provider,
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
