"""Convert httpx's errors, and unexpected answers, to linkspan's errors.

Messages name the host, the phase, the time and what to do. They contain no header, query or body.
"""

from __future__ import annotations

import socket
import ssl
from typing import TYPE_CHECKING
from urllib.parse import urljoin
from urllib.request import getproxies

import httpx

from linkspan.errors import (
    APIConnectionError,
    APITimeoutError,
    ConfigurationError,
    InterruptedStreamError,
    InvalidResponseError,
    LinkspanError,
)
from linkspan.redaction import mask_headers
from linkspan.transport.http_messages import HttpResponse
from linkspan.transport.retries import retry_after_seconds
from linkspan.transport.urls import host_fault, public_url

if TYPE_CHECKING:
    from collections.abc import Iterator

    from linkspan.transport.http_messages import HttpRequest

__all__ = [
    "answer_error",
    "connection_error",
    "interruption",
    "status_error",
    "unusable_address",
    "with_retry_after",
]


#: httpx's message for a redirect to an invalid URL.
_INVALID_REDIRECT = "Invalid URL in location header"


def connection_error(exc: httpx.RequestError, request: HttpRequest, seconds: float) -> LinkspanError:
    """Return the error for an attempt without an answer, or with an incomplete one."""
    host = request.host
    if isinstance(exc, httpx.TimeoutException):
        return APITimeoutError(_timeout_message(exc, host, seconds), provider=request.provider)
    if isinstance(exc, httpx.DecodingError):
        return InvalidResponseError(
            f"The answer of {host} could not be decompressed as its content-encoding header says: {exc}",
            provider=request.provider,
        )
    if isinstance(exc, httpx.UnsupportedProtocol):
        return ConfigurationError(f"{public_url(request.url)!r} is not an http(s) URL", provider=request.provider)
    if isinstance(exc, httpx.RemoteProtocolError) and _INVALID_REDIRECT in str(exc):
        # httpx quotes a part of the URL, which may be a part of the key that redaction would not find.
        exc.args = (_INVALID_REDIRECT,)
        exc.__cause__ = exc.__context__ = None
        return unusable_address(exc, request)
    if isinstance(exc, httpx.ConnectError | httpx.ProxyError):
        return _connect_error(exc, host, request)
    return APIConnectionError(
        f"The connection to {host} broke after {seconds:.1f} s, before a whole answer came: {_reason(exc)}. "
        "The request may have been carried out",
        provider=request.provider,
    )


def unusable_address(exc: Exception, request: HttpRequest) -> ConfigurationError:
    """Return the error for a URL that httpx cannot use: the request's or a redirect's."""
    shown = public_url(request.url)
    if isinstance(exc, httpx.RemoteProtocolError) or (
        isinstance(exc, (httpx.InvalidURL, UnicodeError)) and _is_valid(request.url)
    ):
        message = f"{shown!r} redirects to something that is not an http(s) URL. Check base_url"
    else:
        message = f"{shown!r} is not a valid URL: {exc}"
    return ConfigurationError(message, provider=request.provider)


def _is_valid(url: str) -> bool:
    try:
        return host_fault(httpx.URL(url).host) is None
    except (httpx.InvalidURL, UnicodeError):
        return False


def interruption(exc: Exception, request: HttpRequest, headers: httpx.Headers, waited: float | None) -> LinkspanError:
    """Return the error for a stream that failed after its first event.

    ``waited`` is the number of seconds since the last event, if known.
    """
    host = request.host
    if isinstance(exc, httpx.DecodingError):
        message = f"The stream of {host} could not be decompressed as its content-encoding header says: {exc}"
    elif isinstance(exc, httpx.TimeoutException):
        seconds = waited if waited is not None else request.timeout
        message = (
            f"The stream of {host} stalled: no event for {seconds or 0:.1f} s, though the connection was open. "
            "Raise timeout= if the model may pause that long"
        )
    else:
        message = f"The stream of {host} broke off in the middle: {_reason(exc)}"
    return InterruptedStreamError(message, provider=request.provider, headers=mask_headers(headers))


def answer_error(request: HttpRequest, response: HttpResponse) -> LinkspanError:
    """Return the error for an unexpected answer."""
    if 300 <= response.status_code < 400:
        return _redirect_error(request, response)
    return with_retry_after(request.decode_error(response), response.headers)


def status_error(exc: httpx.HTTPStatusError, request: HttpRequest) -> LinkspanError:
    """Return the error for an unexpected answer that a hook of the user's client refused (``raise_for_status``)."""
    response = exc.response
    try:
        body = response.content
    except httpx.ResponseNotRead:  # the hook may have read it
        body = b""
    return answer_error(request, HttpResponse(response.status_code, response.headers, body, request.url))


def with_retry_after(error: LinkspanError, headers: httpx.Headers) -> LinkspanError:
    """Add to an error what its answer's headers say about retries and rate limits."""
    error.headers = error.headers or mask_headers(headers)
    if error.retry_after is None:
        error.retry_after = retry_after_seconds(headers)
    return error


def _redirect_error(request: HttpRequest, response: HttpResponse) -> ConfigurationError:
    location = response.headers.get("location")
    where = "without a target"
    if location:
        try:
            where = f"to {public_url(urljoin(request.url, location))!r}"
        except ValueError:
            where = "to something that is not an http(s) URL"
    return ConfigurationError(
        f"{public_url(request.url)!r} redirects {where}. Redirects are not followed, because the API key would be "
        "sent along. If the target is right, set base_url to it",
        provider=request.provider,
        status_code=response.status_code,
        headers=mask_headers(response.headers),
    )


def _timeout_message(exc: httpx.TimeoutException, host: str, seconds: float) -> str:
    if isinstance(exc, httpx.ConnectTimeout):
        return f"No connection to {host} within {seconds:.1f} s. Check base_url, the network and proxy settings"
    if isinstance(exc, httpx.PoolTimeout):
        return (
            f"No connection to {host} became free within {seconds:.1f} s: all of this client's are in use. Close "
            "streams that are no longer read, run fewer calls at once, or pass an http client with larger limits"
        )
    if isinstance(exc, httpx.WriteTimeout):
        return f"{host} did not read the request within {seconds:.1f} s. Send less, or raise timeout="
    return (
        f"{host} did not answer within {seconds:.1f} s. Raise timeout= if the model may take longer "
        "(long answers, a deployment that has to start first)"
    )


def _connect_error(exc: httpx.RequestError, host: str, request: HttpRequest) -> APIConnectionError:
    for cause in _causes(exc):
        if isinstance(cause, ssl.SSLCertVerificationError):
            return APIConnectionError(
                f"The certificate of {host} is not trusted: {cause.verify_message}. If it is signed by a private "
                "authority, name that authority's file in SSL_CERT_FILE",
                provider=request.provider,
                is_retryable=False,
            )
        if isinstance(cause, socket.gaierror):
            place = f"{host}, or that of its proxy," if getproxies() else host
            return APIConnectionError(
                f"The host name {place} could not be resolved: {cause.strerror}. Check base_url, the network and proxy "
                "settings",
                provider=request.provider,
            )
    by_proxy = " through the proxy" if isinstance(exc, httpx.ProxyError) else ""
    return APIConnectionError(
        f"No connection to {host}{by_proxy}: {_reason(exc)}. Check base_url, the network and proxy settings",
        provider=request.provider,
    )


def _reason(exc: Exception) -> str:
    """Return the most specific message of an exception and its causes."""
    for cause in _causes(exc):
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
    return str(exc).rstrip(".") or type(exc).__name__


def _causes(exc: BaseException | None) -> Iterator[BaseException]:
    while exc is not None:
        yield exc
        exc = exc.__cause__ or exc.__context__
