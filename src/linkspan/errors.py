"""All errors that linkspan raises, as one tree.

::

    LinkspanError
    ├── ConfigurationError          an argument or environment variable is missing or wrong (also a ValueError)
    ├── InvalidRequestError         the request is invalid: 400, 409, 413, 416, 422, or refused before it was sent
    │   ├── UnsupportedContentError   a part, role or parameter that the API does not support
    │   └── ContextOverflowError      prompt and answer do not fit into the model's context window
    ├── AuthenticationError         401: the key is missing or invalid
    ├── PermissionDeniedError       403: the key lacks the permission
    ├── NotFoundError               404, 405, 410: the model, deployment or route does not exist
    ├── RateLimitError              429: too many requests or tokens; retryable
    ├── ContentBlockedError         the provider blocked the prompt or the answer
    ├── ServerError                 5xx, or an error event of a stream; retryable
    ├── APIConnectionError          the connection failed, or broke before the answer; retryable
    │   └── APITimeoutError           the answer did not arrive in time; retryable
    ├── InterruptedStreamError      a stream ended before the answer was complete; has the answer so far; retryable
    └── InvalidResponseError        the answer does not follow the API's format

There is one warning: ``ModelRetiredWarning`` (a UserWarning), for a model at its end of life.

No message, body or representation of an error contains a key. None repeats the prompt, unless the server quotes it in
its message.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from linkspan.rate_limits import rate_limit_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from typing_extensions import Self

    from linkspan.conversation import Completion

__all__ = [
    "APIConnectionError",
    "APITimeoutError",
    "AuthenticationError",
    "ConfigurationError",
    "ContentBlockedError",
    "ContextOverflowError",
    "InterruptedStreamError",
    "InvalidRequestError",
    "InvalidResponseError",
    "LinkspanError",
    "ModelRetiredWarning",
    "NotFoundError",
    "PermissionDeniedError",
    "RateLimitError",
    "ServerError",
    "UnsupportedContentError",
    "error_class_for_status",
]


class LinkspanError(Exception):
    """Base of all errors that linkspan raises.

    Args:
        message: What happened and what to do, in one or two sentences.
        provider: The API's short name, such as ``"scaleway"``.
        status_code: HTTP status, or the status in an error event of a stream; ``None`` before the network.
        code: The API's own error code or type.
        request_id: The API's id of the request, for its support.
        retry_after: Seconds to wait, if the server sent them.
        body: The error body: parsed JSON or text, without keys and the fields that repeat the request.
        headers: The answer's headers, credentials masked.
        is_retryable: Whether the same call may succeed later; ``None`` means the class's default.
        partial: The streamed answer so far, or the invalid answer; ``partial_text`` is its text.
    """

    #: Whether the same call may succeed later. An instance may override it.
    is_retryable: bool = False

    def __init__(
        self,
        message: str,
        *,
        provider: str | None = None,
        status_code: int | None = None,
        code: str | None = None,
        request_id: str | None = None,
        retry_after: float | None = None,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        is_retryable: bool | None = None,
        partial: Completion | None = None,
    ) -> None:
        super().__init__(message)
        self.provider = provider
        self.status_code = status_code
        self.code = code
        self.request_id = request_id
        self.retry_after = retry_after
        self.body = body
        self.headers: dict[str, str] = dict(headers or {})
        if is_retryable is not None:
            self.is_retryable = is_retryable
        self.partial = partial

    @property
    def message(self) -> str:
        """What happened and what to do about it."""
        return str(self.args[0]) if self.args else ""

    def with_hint(self, hint: str | None) -> Self:
        """Add a sentence to the message, and return this error."""
        if hint:
            self.args = (f"{self.message.rstrip('. ')}. {hint}", *self.args[1:])
        return self

    @property
    def partial_text(self) -> str:
        """The text of a streamed answer so far; ``""`` if none."""
        return self.partial.text if self.partial is not None else ""

    @property
    def rate_limit(self) -> dict[str, int | str] | None:
        """The rate limits in the answer's headers, such as ``{"remaining_requests": 0}``; ``None`` without any.

        Names are the headers' own without ``x-ratelimit-``; times are milliseconds, with names that end with ``_ms``.
        """
        return rate_limit_of(self.headers) or (self.partial.rate_limit if self.partial is not None else None)

    def __str__(self) -> str:
        facts = [
            f"{label} {value}"
            for label, value in (("HTTP", self.status_code), ("request id", self.request_id))
            if value is not None
        ]
        return f"{self.message} ({', '.join(facts)})" if facts else self.message

    def __reduce__(self) -> tuple[Any, ...]:
        # The default calls ``cls(*args)`` and would lose the keyword-only fields.
        return (_rebuild, (type(self), self.args, self.__dict__))


def _rebuild(cls: type[LinkspanError], args: tuple[Any, ...], state: dict[str, Any]) -> LinkspanError:
    error = cls.__new__(cls, *args)
    error.args = args
    error.__dict__.update(state)
    return error


class ConfigurationError(LinkspanError, ValueError):
    """A constructor argument or environment variable is missing or wrong."""


class InvalidRequestError(LinkspanError):
    """The API refused the request, or it was refused before it was sent (then ``status_code`` is ``None``)."""


class UnsupportedContentError(InvalidRequestError):
    """The API does not support a part, role or parameter. Raised before anything is sent.

    Not a ``ValueError``: LlamaIndex's response synthesizers treat that as a bad answer, log it and continue without.
    """


class ContextOverflowError(InvalidRequestError):
    """Prompt and requested answer do not fit into the model's context window."""


class AuthenticationError(LinkspanError):
    """The key is missing or invalid (401)."""


class PermissionDeniedError(LinkspanError):
    """The key is valid but lacks the permission (403)."""


class NotFoundError(LinkspanError):
    """The model, deployment or route does not exist (404, 405, 410)."""


class RateLimitError(LinkspanError):
    """Too many requests, tokens or concurrent calls (429)."""

    is_retryable = True


class ContentBlockedError(LinkspanError):
    """The provider blocked the prompt or the answer.

    ``completion`` is the blocked answer, as far as the API sent one.
    """

    def __init__(self, message: str, *, completion: Completion | None = None, **details: Any) -> None:
        super().__init__(message, **details)
        self.completion = completion


class ServerError(LinkspanError):
    """The server failed (5xx), or sent an error in a stream."""

    is_retryable = True


class APIConnectionError(LinkspanError):
    """The connection failed, or broke before the answer."""

    is_retryable = True


class APITimeoutError(APIConnectionError):
    """The answer, or the next event of a stream, did not arrive in time."""


class InterruptedStreamError(LinkspanError):
    """The stream broke, stalled, or closed without finish reason or end mark.

    ``partial`` is the answer so far as a ``Completion``, ``partial_text`` its text.
    """

    is_retryable = True


class InvalidResponseError(LinkspanError):
    """The answer does not follow the API's format: HTML, JSON instead of a stream, no choices, broken JSON."""


class ModelRetiredWarning(UserWarning):
    """The model is at or near its end of life: the API may refuse it, or answer with another model."""


_BY_STATUS: dict[int, type[LinkspanError]] = {
    401: AuthenticationError,
    403: PermissionDeniedError,
    404: NotFoundError,
    405: NotFoundError,
    408: APITimeoutError,
    410: NotFoundError,
    429: RateLimitError,
}


def error_class_for_status(status_code: int) -> type[LinkspanError]:
    """Return the error class of an HTTP status of 400 or above."""
    if status_code in _BY_STATUS:
        return _BY_STATUS[status_code]
    return ServerError if status_code >= 500 else InvalidRequestError
