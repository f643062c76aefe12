"""Answers that cannot be decoded: convert any exception of a decoder to a :class:`LinkspanError`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from linkspan.errors import InvalidResponseError, LinkspanError, error_class_for_status
from linkspan.redaction import mask_headers

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    from linkspan.assembler import Assembler
    from linkspan.transport import HttpResponse

__all__ = ["building_answer", "invalid_response", "unreadable_error", "worth_reading"]

#: Most characters of an answer that an error quotes.
_SHOWN = 1000
#: Most bytes of an error's body to read: of a page, and of JSON.
_MOST_OF_PAGE, _MOST_OF_JSON = 16 * 1024, 1024 * 1024


def worth_reading(body: bytes) -> bytes:
    """Return the part of an error's body to read: all of JSON, the start of anything else."""
    is_json = body[:64].lstrip(b"\xef\xbb\xbf \t\r\n")[:1] in {b"{", b"[", b'"'}
    return body[: _MOST_OF_JSON if is_json else _MOST_OF_PAGE]


def invalid_response(
    error: Exception,
    provider: str,
    content: bytes = b"",
    *,
    response: HttpResponse | None = None,
    so_far: Assembler | None = None,
) -> LinkspanError:
    """Return the error for an answer that could not be decoded; a ``LinkspanError`` is returned unchanged.

    ``content`` is the body or the data of the event; ``so_far`` the answer so far, of a stream.
    """
    if not isinstance(error, LinkspanError):
        made = InvalidResponseError(
            f"{provider}: the answer is malformed and cannot be read ({type(error).__name__}).", provider=provider
        )
        made.__cause__ = error
        error = made
    if isinstance(error, InvalidResponseError):
        if error.provider is None:  # raised where a value is read, without a provider
            error.provider = provider
            error.args = (f"{provider}: {error.message}", *error.args[1:])
        if len(error.message) > 2 * _SHOWN:  # it may quote names or values of the answer
            error.args = (f"{error.message[: 2 * _SHOWN]} …", *error.args[1:])
        if error.body is None and content:
            text = content[: 4 * _SHOWN].decode("utf-8", "replace")
            error.body = text if len(text) <= _SHOWN else f"{text[:_SHOWN]} …"
        if response is not None:
            error.status_code = error.status_code or response.status_code
    if response is not None:
        error.headers = error.headers or mask_headers(response.headers)
    if so_far is not None and error.partial is None:
        error.partial = so_far.completion()
    return error


def unreadable_error(error: Exception, provider: str, status_code: int, headers: Mapping[str, str]) -> LinkspanError:
    """Return the error for an answer whose error body could not be decoded, by its status."""
    cls = error_class_for_status(status_code) if status_code >= 400 else InvalidResponseError
    made = cls(
        f"{provider}: the server sent an explanation that cannot be decoded ({type(error).__name__}).",
        provider=provider,
        status_code=status_code,
        headers=mask_headers(headers),
    )
    made.__cause__ = error
    return made


class building_answer:  # noqa: N801  # reads as the verb it is: ``with building_answer(...):``
    """Convert errors of a framework's classes about an answer's values to InvalidResponseError."""

    __slots__ = ("_assembler", "_provider")

    def __init__(self, provider: str, assembler: Assembler | None = None) -> None:
        self._provider = provider
        self._assembler = assembler

    def __enter__(self) -> None:
        return None

    def __exit__(self, _: type[BaseException] | None, error: BaseException | None, __: TracebackType | None) -> None:
        if isinstance(error, Exception) and not isinstance(error, LinkspanError):
            raise invalid_response(error, self._provider, so_far=self._assembler) from error
