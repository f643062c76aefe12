"""Decode and classify errors of Scale LLM Engine, from bodies and events (docs/apis/llm_engine.md)."""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING, Any

from pydantic_core import from_json

from linkspan.errors import AuthenticationError, InvalidRequestError, LinkspanError, NotFoundError, ServerError
from linkspan.providers.error_bodies import make_error, read_error, read_error_body, short_text
from linkspan.providers.llm_engine.provider import LLM_ENGINE

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["decode_error_answer", "error_of", "explain", "reported_error"]

_NAME = LLM_ENGINE.name
#: The request id, if the gateway gives it only within its message.
_REQUEST_ID = re.compile(r"request_id[ =:]+'?([0-9a-fA-F]{8}-[0-9a-fA-F-]{27})")
#: Messages for a missing model: of the prompt API, the list, and the chat API.
_NO_SUCH_MODEL = re.compile(r"[Ee]ndpoint .*(?:not found|could not be found)")
#: Type names within the path of a refused field; field names begin in lower case.
_TYPE_NAME = re.compile(r"[A-Z]|str$|\w[\w-]*\[")

#: Fields that an event without ``output`` has only if it reports an error.
_FIELDS_OF_ERRORS = frozenset({"detail", "message", "status_code"})

#: Most entries of a validation error to compare.
_MOST_READINGS = 100

_HINTS: tuple[tuple[str, str], ...] = (
    (
        "is not a streaming endpoint",
        'Its endpoint_type is "sync": call it without streaming, or have it deployed as "streaming".',
    ),
    (
        "Unsupported inference framework",
        "An SGLang endpoint serves chat only (v2): use the chat class instead of prompts.",
    ),
    (
        "only supported in vllm",
        "The guided_* fields work on vLLM endpoints only: leave guided_decoding out.",
    ),
)


def decode_error_answer(status_code: int, headers: Mapping[str, str], body: bytes) -> LinkspanError:
    """Decode an answer with status 400 or above: any of the gateway's JSON shapes, or a proxy's page."""
    try:
        parsed = from_json(body)
    except ValueError:
        error = make_error(_NAME, read_error_body(body), status_code=status_code, headers=headers)
        return explain(error)
    return error_of(parsed, headers, status_code)


def error_of(parsed: Any, headers: Mapping[str, str], status_code: int | None = None) -> LinkspanError:
    """Build the error that a parsed body or a stream's event reports."""
    request_id = short_text(parsed.get("request_id")) if isinstance(parsed, dict) else None
    if isinstance(parsed, dict) and isinstance(parsed.get("detail"), list):
        parsed = {**parsed, "detail": _telling(parsed["detail"])}
    found = read_error(parsed)
    found.message = _unquoted(found.message)
    error = make_error(_NAME, found, status_code=status_code, headers=headers, request_id=request_id)
    return explain(error)


def reported_error(parsed: Any, headers: Mapping[str, str]) -> LinkspanError | None:
    """Return the error that a parsed body or event with status 200 reports, if any.

    Gateways in front of the API have shapes of their own. An answer has ``output``, and none of their fields.
    """
    if not isinstance(parsed, dict):
        return None
    reports = parsed.get("error") or parsed.get("detail") or parsed.get("object") == "error"
    reports = reports or (parsed.get("output") is None and (_FIELDS_OF_ERRORS & parsed.keys()))
    return error_of(parsed, headers) if reports else None


def _unquoted(message: str) -> str:
    """Return the message of the model's server, which the gateway may quote as a Python literal."""
    if not message.startswith("{'"):
        return message
    try:
        return read_error(ast.literal_eval(message)).message
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):  # truncated, or not a literal
        return message


def explain(error: LinkspanError) -> LinkspanError:
    """Explain the gateway's unclear errors, and find the request id in them."""
    if error.request_id is None:
        named = _REQUEST_ID.search(error.message)
        error.request_id = named.group(1) if named else None
    return error.with_hint(_hint_for(error))


def _hint_for(error: LinkspanError) -> str | None:
    if isinstance(error, AuthenticationError):
        return (
            "Check the key (api_key, or SCALE_API_KEY); some deployments expect a bearer token, others Basic "
            "authentication: see the argument auth."
        )
    if isinstance(error, NotFoundError):
        return _hint_for_missing(error)
    if isinstance(error, InvalidRequestError):
        return next((hint for words, hint in _HINTS if words in error.message), None)
    if isinstance(error, ServerError) and "Upstream service error" in error.message:
        return (
            "The model's server failed, was busy, or did not start within the gateway's own retries (300 s). "
            "Retrying later may help."
        )
    return None


def _hint_for_missing(error: LinkspanError) -> str:
    if error.status_code == 410:
        return "The endpoint is retired: choose another model, or ask its operator to give it workers again."
    if error.status_code == 404 and _NO_SUCH_MODEL.search(error.message):
        return (
            "list_models() returns the available endpoints. If the name is right, the endpoint may belong to "
            "another team: LLM Engine hides endpoints that the key may not use."
        )
    return "LLM Engine has no such route: base_url must be the URL before /v1 and /v2, such as https://host/llm-engine."


def _telling(detail: list[Any]) -> list[Any]:
    """Shorten a validation error: it has one entry per union member that the server tried; keep the likely ones.

    A member that fails at its discriminator (``role``, ``type``) was not meant. Nor was plain text, if a list
    was validated further.
    """
    items = [item for item in detail[:_MOST_READINGS] if isinstance(item, dict)]
    other_kinds = [item for item in items if _is_other_kind(item)]
    not_meant = [_steps(item)[:-1] for item in other_kinds]
    meant = [item for item in items if not any(_steps(item)[: len(prefix)] == prefix for prefix in not_meant)]
    # If no member fits, the outermost role or type is wrong.
    outermost = min((len(_steps(item)) for item in other_kinds), default=0)
    likely = meant or [item for item in other_kinds if len(_steps(item)) == outermost] or items
    kept: dict[str, Any] = {}
    for item in sorted(likely, key=lambda item: -len(_steps(item))):
        steps = _steps(item)
        if steps[-1:] == ("str",) and any(_steps(other)[: len(steps) - 1] == steps[:-1] for other in kept.values()):
            continue
        kept.setdefault(f"{_shown(steps)}{item.get('msg')}", item)
    return [{**item, "loc": _shown(_steps(item))} for item in kept.values()] or detail


def _steps(item: Mapping[str, Any]) -> tuple[Any, ...]:
    steps = item.get("loc")
    return tuple(map(str, steps)) if isinstance(steps, list) else ()


def _is_other_kind(item: Mapping[str, Any]) -> bool:
    steps = _steps(item)
    return len(steps) > 1 and steps[-1] in ("role", "type") and item.get("type") == "literal_error"


def _shown(steps: tuple[Any, ...]) -> list[Any]:
    """Remove the server's type names: ``str``, ``list[…]`` and its own classes."""
    return [step for step in steps if not (isinstance(step, str) and _TYPE_NAME.match(step))]
