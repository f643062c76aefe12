"""Requests and answers, independent of APIs and frameworks, and checks of their headers."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from linkspan.errors import ConfigurationError
from linkspan.transport.urls import public_url

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import httpx

    from linkspan.errors import LinkspanError

__all__ = ["LARGEST_RESPONSE", "HttpRequest", "HttpResponse", "check_headers"]

_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"(?:[\x21-\x7e](?:[\t\x20-\x7e]*[\x21-\x7e])?)?")

#: Default limit for the bytes of an answer, of one event, or of data without an event.
LARGEST_RESPONSE = 64 * 1024 * 1024


@dataclass(slots=True, frozen=True)
class HttpResponse:
    """A whole answer.

    Attributes:
        status_code: The HTTP status.
        headers: The answer's headers; names are case-insensitive.
        content: The body, decompressed; of an unexpected answer, at most the first MiB.
        url: The URL of the request.
    """

    status_code: int
    headers: httpx.Headers = field(repr=False)
    content: bytes = field(repr=False)
    url: str = field(repr=False)

    @property
    def text(self) -> str:
        """The body as text: UTF-8, with U+FFFD for invalid bytes."""
        return self.content.decode("utf-8", "replace")


@dataclass(slots=True, frozen=True, kw_only=True, repr=False)
class HttpRequest:
    """One call of an API, described by a codec and sent by the transport.

    Attributes:
        url: The full URL.
        provider: The API's name for errors, such as ``"scaleway"``.
        headers: Headers with plain values. They appear in no representation, log or error.
        content: The body. It appears in no representation, log or error.
        method: The HTTP method.
        timeout: Seconds of silence allowed: until the answer begins (of a stream: until the first event, whatever
            comments precede it), then between two reads. ``None``: no limit.
        connect_timeout: Seconds allowed to open a connection; never more than ``timeout``. ``None``: the same as
            ``timeout``.
        stall_timeout: Seconds allowed between two *events* of a stream once it has begun, whatever else arrives:
            keep-alive comments do not hide a stalled model. ``None``: the same as ``timeout``.
        max_response_bytes: Most bytes, decompressed, of a whole answer, of one event, and of a stream's data between
            two events. Beyond it, the call fails with ``InvalidResponseError``.
        max_retries: Most retries of a failed attempt: at most ``max_retries + 1`` requests are sent.
        decode_error: Builds the error for an unexpected answer: a status that is not 2xx or, for a stream, a body that
            is not an event stream (JSON, HTML, nothing).
        event_error: Called with the data of a stream's first event only. An error returned here counts as a failed
            attempt, because some APIs answer 200 and then refuse.

    Raises:
        ConfigurationError: A timeout or ``max_response_bytes`` is not above 0, or ``max_retries`` is below 0.
    """

    url: str
    provider: str
    headers: Mapping[str, str]
    decode_error: Callable[[HttpResponse], LinkspanError]
    content: bytes | None = None
    method: str = "POST"
    timeout: float | None = 600.0
    connect_timeout: float | None = 10.0
    stall_timeout: float | None = None
    max_response_bytes: int = LARGEST_RESPONSE
    max_retries: int = 2
    event_error: Callable[[bytes], LinkspanError | None] | None = None

    def __post_init__(self) -> None:
        for name in ("timeout", "connect_timeout", "stall_timeout"):
            seconds = getattr(self, name)
            if seconds is None:
                continue
            # not(>), so that NaN is refused too
            if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not seconds > 0:
                raise ConfigurationError(
                    f"{name} must be more than 0 seconds, or None for no limit, not {seconds!r}",
                    provider=self.provider,
                )
        if self.max_response_bytes < 1:
            raise ConfigurationError(
                f"max_response_bytes must be 1 or more, not {self.max_response_bytes!r}", provider=self.provider
            )
        if self.max_retries < 0:
            raise ConfigurationError(
                f"max_retries must be 0 or more, not {self.max_retries!r}",
                provider=self.provider,
            )

    @property
    def host(self) -> str:
        """Host and port, for errors."""
        return urlsplit(self.url).netloc.rpartition("@")[2]

    def __repr__(self) -> str:
        return f"HttpRequest({self.method} {public_url(self.url)}, provider={self.provider!r})"


def check_headers(headers: Mapping[str, str], *, provider: str) -> None:
    """Refuse headers that cannot be sent, without repeating their values.

    The HTTP library would refuse them too, but its message contains the whole value, which may be a key.

    Raises:
        ConfigurationError: A name is not a token, or a value has a line break, a blank at either end, or a control or
            non-ASCII character. Usually a key was copied or read from a file with something around it.
    """
    for name, value in headers.items():
        if not _NAME.fullmatch(name):
            raise ConfigurationError(f"{name!r} cannot be the name of a header", provider=provider)
        if not isinstance(value, str):
            raise ConfigurationError(
                f"the value of header {name!r} must be a str, not {type(value).__name__}",
                provider=provider,
            )
        if not _VALUE.fullmatch(value):
            raise ConfigurationError(
                f"the value of header {name!r} cannot be sent: it contains a line break, a blank at its start or end, "
                "a control character or a character outside ASCII. If it is an API key, remove what surrounds the key",
                provider=provider,
            )
