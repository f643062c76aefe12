"""Decode error bodies of every shape that the APIs and their gateways send."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic_core import from_json, to_json

from linkspan.errors import (
    ContextOverflowError,
    InvalidResponseError,
    LinkspanError,
    ServerError,
    error_class_for_status,
)
from linkspan.redaction import mask_headers

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "ErrorBody",
    "make_error",
    "read_error",
    "read_error_body",
    "refuse_page",
    "request_id_of",
    "short_text",
    "wrong_kind_of_answer",
]

_LONGEST_MESSAGE = 1000
#: Codes, types and request ids are short; a longer text is something else.
_LONGEST_WORD = 200
#: Most bytes read of a body that is not JSON.
_LONGEST_PAGE = 8_192
_MOST_LIST_ITEMS = 3
#: Most items kept of a list or an object in a body.
_MOST_SHOWN = 20
#: Most steps in the path of an invalid field.
_MOST_STEPS = 20
#: Fields in which servers and gateways repeat a request.
_REPEATED = frozenset({"input", "inputs", "ctx", "prompt", "messages", "query", "documents"})
_UNEXPLAINED = "the server gave no explanation"

#: Texts by which servers say that prompt and answer do not fit. Compiled with the
#: first error, not with the import.
_OVERFLOW = (
    r"maximum context length|model's context length is only|inputs?`? tokens \+ `?max_new_tokens`? must be <="
    r"|`?inputs`? must have less than|context_length_exceeded|prompt is too long|exceeds? the (available )?context"
    r"|exceed_context_size|Input tokens exceed the configured limit|ContextWindowExceededError"
)

#: The status that OpenAI's codes stand for: an error within an answer has only a code.
_STATUS_OF_CODE: Mapping[str | None, int] = {
    "invalid_prompt": 400,
    "invalid_request_error": 400,
    "rate_limit_error": 429,
    "rate_limit_exceeded": 429,
}

_REQUEST_ID_HEADERS = ("x-request-id", "request-id", "x-correlation-id", "x-inference-id")


@dataclass(slots=True)
class ErrorBody:
    """The content of an error body. ``status`` is the status in the body itself, if any."""

    message: str
    code: str | None = None
    status: int | None = None
    body: Any = None


def request_id_of(headers: Mapping[str, str]) -> str | None:
    """Return the request id from an answer's headers."""
    for name in _REQUEST_ID_HEADERS:
        value = headers.get(name)
        if value:
            return value[:_LONGEST_WORD]
    return None


def read_error_body(content: bytes) -> ErrorBody:
    """Decode the body of an error answer: JSON of any known shape, HTML, plain text or nothing."""
    try:
        parsed = from_json(content)
    except ValueError:
        text = content[:_LONGEST_PAGE].decode("utf-8", "replace").strip("\ufeff \t\r\n\0")
        if not text:
            return ErrorBody(f"{_UNEXPLAINED} (empty body)")
        return ErrorBody(_shorten(_from_html(text) if text.startswith("<") else text), body=_shorten(text))
    return read_error(parsed)


def read_error(parsed: Any) -> ErrorBody:
    """Decode a parsed error body, or an error event of a stream."""
    if isinstance(parsed, list) and len(parsed) == 1:
        parsed = parsed[0]
    if not isinstance(parsed, dict):
        return ErrorBody(_as_text(parsed), body=_clean(parsed))
    error = parsed.get("error")
    if isinstance(error, dict):
        found = _from_object(error)
        said = parsed.get("message")
        if isinstance(said, str) and said and said != found.message:
            found.message = f"{said}: {found.message}"
    elif isinstance(error, str) and error.strip():
        # Flat gateway bodies: "error" is a heading or the whole text.
        message = parsed.get("message") or (_from_detail(parsed["detail"]).message if parsed.get("detail") else None)
        found = ErrorBody(
            f"{_as_text(message)} ({_shorten(error)})" if message else error,
            code=short_text(parsed.get("error_type") or parsed.get("error_code"))
            or (short_text(error) if message else None),
            status=_status(parsed.get("status")),
        )
    elif "detail" in parsed and not parsed.get("message"):
        found = _from_detail(parsed["detail"])
    else:
        found = _from_object(parsed)
    found.message = _shorten(found.message)
    found.body = _clean(parsed)
    return found


def make_error(
    provider: str,
    found: ErrorBody,
    *,
    status_code: int | None = None,
    headers: Mapping[str, str] | None = None,
    request_id: str | None = None,
) -> LinkspanError:
    """Create the error for a body. Without a status or a code that implies one, it is a :class:`ServerError`."""
    in_body = found.status or _STATUS_OF_CODE.get(found.code)
    status = status_code if status_code is not None and status_code >= 400 else in_body
    cls = error_class_for_status(status) if status is not None else ServerError
    if any(re.search(_OVERFLOW, said, re.IGNORECASE) for said in (found.message, found.code or "")):
        cls = ContextOverflowError
    return cls(
        f"{provider}: {found.message if found.message.strip() else _UNEXPLAINED}",
        provider=provider,
        status_code=status,
        code=found.code,
        request_id=request_id or request_id_of(headers or {}),
        body=found.body,
        headers=mask_headers(headers or {}),
    )


def wrong_kind_of_answer(
    provider: str, body: bytes, *, status_code: int, headers: Mapping[str, str]
) -> InvalidResponseError:
    """Return the error for an answer under status 200 that is neither the requested stream nor an error."""
    try:
        from_json(body)
    except ValueError:
        found = read_error_body(body)
        kind, shown = found.message, found.body
    else:
        kind, shown = "JSON", None
    return InvalidResponseError(
        f"{provider}: a stream was asked for, but the answer is not one: {kind}.",
        provider=provider,
        status_code=status_code,
        request_id=request_id_of(headers),
        body=shown,
        headers=mask_headers(headers),
    )


def refuse_page(provider: str, body: bytes, headers: Mapping[str, str]) -> None:
    """Refuse a web page, such as a proxy's login, under status 200 on a route whose answer has no fixed format.

    Raises:
        InvalidResponseError: It is one.
    """
    start = body.lstrip()[:20].lower()
    # Some servers call every text HTML.
    is_page = start.startswith(b"<") and "html" in headers.get("content-type", "").lower()
    if is_page or start.startswith((b"<!doctype html", b"<html")):
        raise InvalidResponseError(
            f"{provider}: {read_error_body(body).message}.", provider=provider, request_id=request_id_of(headers)
        )


def _from_object(error: Mapping[str, Any]) -> ErrorBody:
    """``{"message", "type", "code"}``, or LLM Engine's ``{"status_code", "content": {"error"}}``."""
    content = error.get("content")
    if isinstance(content, dict) and "error" in content:
        return ErrorBody(_as_text(content["error"]), status=_status(error.get("status_code")))
    message = error.get("message") or error.get("detail") or error or f"{_UNEXPLAINED} ({{}})"
    code = error.get("code")
    # The Responses API's event of type "error" has the kind of error in "code" only.
    kind = None if error.get("type") == "error" else error.get("type")
    named = error.get("error_code") or kind or (code if isinstance(code, str) else None)
    status = _status(code) or _status(error.get("http_status_code")) or _status(error.get("status"))
    return ErrorBody(_as_text(message), code=short_text(named), status=status)


def _from_detail(detail: Any) -> ErrorBody:
    """FastAPI's ``detail``: text, an object, or a list with one entry per invalid field."""
    if isinstance(detail, str):
        return ErrorBody(detail)
    if isinstance(detail, dict):
        inner = detail.get("error")
        return _from_object(inner if isinstance(inner, dict) else detail)
    if not isinstance(detail, list):
        return ErrorBody(_as_text(detail))
    shown = [_from_detail_item(item) for item in detail[:_MOST_LIST_ITEMS]]
    more = len(detail) - len(shown)
    return ErrorBody("; ".join(shown) + (f"; and {more} more" if more else ""))


def _from_detail_item(item: Any) -> str:
    if not isinstance(item, dict):
        return _as_text(item)
    steps = item.get("loc")
    place = ".".join(str(step) for step in steps[:_MOST_STEPS]) if isinstance(steps, list) else _as_text(steps or "")
    message = _as_text(item.get("msg") or "")
    return f"{place}: {message}" if place else message


def _from_html(text: str) -> str:
    """Return the title of an HTML page. ``text`` is its start, because searching a long page would be slow."""
    lowered = text.lower()
    start = lowered.find("<title")
    begin = lowered.find(">", start) + 1 if start >= 0 else 0
    end = lowered.find("</title", begin) if begin else -1
    said = " ".join(text[begin:end].split()) if end >= 0 else ""
    return f"the server answered with an HTML page{f': {said}' if said else ''}; check base_url"


def _as_text(value: Any) -> str:
    """Return a server's message as text, whatever its type."""
    return _shorten(value if isinstance(value, str) else to_json(_clean(value), inf_nan_mode="constants").decode())


def _clean(value: Any) -> Any:
    """Drop the fields that repeat the request: FastAPI puts the refused value, often the prompt, into ``input``."""
    if isinstance(value, dict):
        names = list(value)[:_MOST_SHOWN]
        return {_shorten(name): _clean(value[name]) for name in names if name not in _REPEATED}
    if isinstance(value, list):
        return [_clean(item) for item in value[:_MOST_SHOWN]]
    return _shorten(value) if isinstance(value, str) else value


def _shorten(text: str) -> str:
    return text if len(text) <= _LONGEST_MESSAGE else text[:_LONGEST_MESSAGE] + " …"


def short_text(value: Any) -> str | None:
    """Return a code or an id as text; ``None`` if it is missing or too long."""
    if value is None or isinstance(value, (dict, list)):
        return None
    return str(value)[:_LONGEST_WORD]


def _status(value: Any) -> int | None:
    return value if type(value) is int and 400 <= value <= 599 else None
