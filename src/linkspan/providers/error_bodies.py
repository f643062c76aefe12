"""Error bodies of every shape the four APIs and the gateways before them send, read into one."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from linkspan.errors import ContextOverflowError, LinkspanError, ServerError, error_class_for_status

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["ErrorBody", "make_error", "read_error", "read_error_body", "request_id_of"]

_LONGEST_MESSAGE = 1000
_MOST_LIST_ITEMS = 3

#: Words by which servers say that prompt and answer do not fit (LangChain reference, section F). Compiled with the
#: first error, not with the import.
_OVERFLOW = (
    r"maximum context length|model's context length is only|inputs?`? tokens \+ `?max_new_tokens`? must be <="
    r"|`?inputs`? must have less than|context_length_exceeded|prompt is too long|exceeds? the (available )?context"
    r"|exceed_context_size|Input tokens exceed the configured limit|ContextWindowExceededError"
)

_REQUEST_ID_HEADERS = ("x-request-id", "request-id", "x-correlation-id", "x-inference-id")


@dataclass(slots=True)
class ErrorBody:
    """What an error body says. ``status`` is the one that the body itself names, if any."""

    message: str
    code: str | None = None
    status: int | None = None
    body: Any = None


def request_id_of(headers: Mapping[str, str]) -> str | None:
    """Return the request id from an answer's headers."""
    for name in _REQUEST_ID_HEADERS:
        value = headers.get(name)
        if value:
            return value
    return None


def read_error_body(content: bytes) -> ErrorBody:
    """Read the body of an error answer: JSON of any known shape, HTML, plain text or nothing."""
    text = content.decode("utf-8", "replace").strip()
    if not text:
        return ErrorBody("the server gave no explanation (empty body)")
    try:
        parsed = json.loads(text)
    except ValueError:
        return ErrorBody(_shorten(_from_html(text) if text.startswith("<") else text), body=_shorten(text))
    return read_error(parsed)


def read_error(parsed: Any) -> ErrorBody:
    """Read a parsed error body, or an error event of a stream."""
    if isinstance(parsed, list) and len(parsed) == 1:
        parsed = parsed[0]
    if not isinstance(parsed, dict):
        return ErrorBody(_shorten(str(parsed)), body=_clean(parsed))
    error = parsed.get("error")
    if isinstance(error, dict):
        found = _from_object(error)
        said = parsed.get("message")
        if isinstance(said, str) and said and said != found.message:
            found.message = f"{said}: {found.message}"
    elif isinstance(error, str):
        # Flat gateway bodies: "error" is a heading or the whole text.
        message = parsed.get("message")
        found = ErrorBody(
            f"{message} ({error})" if message else error,
            code=_text(parsed.get("error_type") or parsed.get("error_code")) or (error if message else None),
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
    """Make the error that stands for a body. Without any status it is a :class:`ServerError`."""
    status = status_code if status_code is not None and status_code >= 400 else found.status
    cls = error_class_for_status(status) if status is not None else ServerError
    if any(re.search(_OVERFLOW, said, re.IGNORECASE) for said in (found.message, found.code or "")):
        cls = ContextOverflowError
    return cls(
        f"{provider}: {found.message}",
        provider=provider,
        status_code=status,
        code=found.code,
        request_id=request_id or request_id_of(headers or {}),
        body=found.body,
        headers=headers,
    )


def _from_object(error: Mapping[str, Any]) -> ErrorBody:
    """``{"message", "type", "code"}``, or LLM Engine's ``{"status_code", "content": {"error"}}``."""
    content = error.get("content")
    if isinstance(content, dict) and "error" in content:
        return ErrorBody(str(content["error"]), status=_status(error.get("status_code")))
    message = error.get("message")
    if message is None:
        message = error.get("detail")
    if message is None:
        message = json.dumps(_clean(error), ensure_ascii=False) if error else "the server gave no explanation ({})"
    code = error.get("code")
    named = error.get("error_code") or error.get("type") or (code if isinstance(code, str) else None)
    status = _status(code) or _status(error.get("http_status_code")) or _status(error.get("status"))
    return ErrorBody(message if isinstance(message, str) else str(_clean(message)), code=_text(named), status=status)


def _from_detail(detail: Any) -> ErrorBody:
    """FastAPI's ``detail``: text, an object, or a list with one entry per invalid field."""
    if isinstance(detail, str):
        return ErrorBody(detail)
    if isinstance(detail, dict):
        inner = detail.get("error")
        return _from_object(inner if isinstance(inner, dict) else detail)
    if not isinstance(detail, list):
        return ErrorBody(str(detail))
    shown = [_from_detail_item(item) for item in detail[:_MOST_LIST_ITEMS]]
    more = len(detail) - len(shown)
    return ErrorBody("; ".join(shown) + (f"; and {more} more" if more else ""))


def _from_detail_item(item: Any) -> str:
    if not isinstance(item, dict):
        return str(item)
    place = ".".join(str(step) for step in item.get("loc", ()))
    return f"{place}: {item.get('msg', '')}" if place else str(item.get("msg", ""))


def _from_html(text: str) -> str:
    title = re.search(r"<title[^>]*>(.*?)</title>", text, re.IGNORECASE | re.DOTALL)
    said = re.sub(r"\s+", " ", title.group(1)).strip() if title else ""
    return f"the server answered with an HTML page{f': {said}' if said else ''}; check base_url"


def _clean(value: Any) -> Any:
    """Leave out what repeats the request: FastAPI puts the refused value, often the prompt, into ``input``."""
    if isinstance(value, dict):
        return {key: _clean(item) for key, item in value.items() if key not in {"input", "ctx"}}
    if isinstance(value, list):
        return [_clean(item) for item in value[:20]]
    return _shorten(value) if isinstance(value, str) else value


def _shorten(text: str) -> str:
    return text if len(text) <= _LONGEST_MESSAGE else text[:_LONGEST_MESSAGE] + " …"


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def _status(value: Any) -> int | None:
    return value if isinstance(value, int) and 400 <= value <= 599 else None
