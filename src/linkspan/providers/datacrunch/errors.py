"""Classify TGI's errors. Source: docs/apis/datacrunch.md#errors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from linkspan.errors import ContextOverflowError, LinkspanError, ServerError, error_class_for_status
from linkspan.providers.datacrunch.hints import hint_for_tgi
from linkspan.providers.datacrunch.provider import DATACRUNCH
from linkspan.providers.error_bodies import make_error, read_error

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["retyped", "tgi_error_in"]

#: The status of each error type: a stream's errors have only the type.
_STATUS_OF_TYPE: Mapping[str, int] = {
    "validation": 422,
    "template_error": 422,
    "missing_template_variable": 422,
    "tool_error": 422,
    "generation": 424,
    "overloaded": 429,
    "incomplete_generation": 500,
    "incomplete_generation_stream": 500,
    "stream_serialization_error": 500,
    "healthcheck": 503,
}
_GENERATION_FAILED = 424


def retyped(error: LinkspanError) -> LinkspanError:
    """Set an error's class by TGI's status and ``error_type``, and add a hint if one helps.

    Status 424 is a failure of the model (a worker crashed or ran out of memory), not of the request: it becomes a
    :class:`ServerError` and is retried.
    """
    status = error.status_code or _STATUS_OF_TYPE.get(error.code or "")
    if status is not None:
        error = _of_class(error, ServerError if status == _GENERATION_FAILED else error_class_for_status(status))
        error.status_code = status
    return hint_for_tgi(error)


def _of_class(error: LinkspanError, cls: type[LinkspanError]) -> LinkspanError:
    if isinstance(error, (cls, ContextOverflowError)):
        return error
    return cls(
        error.message,
        provider=error.provider,
        code=error.code,
        request_id=error.request_id,
        body=error.body,
        headers=error.headers,
    )


def tgi_error_in(parsed: Any, headers: Mapping[str, str]) -> LinkspanError | None:
    """Return the error that a parsed body or event with status 200 reports, if any."""
    if isinstance(parsed, list) and len(parsed) == 1:
        parsed = parsed[0]
    if not isinstance(parsed, dict) or "token" in parsed or isinstance(parsed.get("generated_text"), str):
        return None
    if parsed.get("error") or "detail" in parsed or "message" in parsed:
        return retyped(make_error(DATACRUNCH.name, read_error(parsed), headers=headers))
    return None
