"""Every failure a caller can meet, as one tree.

::

    LinkspanError
    ├── ConfigurationError          an argument or environment variable is missing or wrong (also a ValueError)
    ├── InvalidRequestError         the request was refused: 400, 409, 413, 416, 422, or found wrong before it was sent
    │   ├── UnsupportedContentError   a part, role or parameter that this API cannot carry
    │   └── ContextOverflowError      prompt and answer do not fit the model's context window
    ├── AuthenticationError         401: no key, or not a valid one
    ├── PermissionDeniedError       403: the key may not do this
    ├── NotFoundError               404, 405, 410: no such model, deployment or route
    ├── RateLimitError              429: too many requests or tokens; retryable
    ├── ContentBlockedError         the provider blocked the prompt or the answer
    ├── ServerError                 5xx, or an error event of a stream; retryable
    ├── APIConnectionError          no connection, or it broke before an answer came; retryable
    │   └── APITimeoutError           no answer in time; retryable
    ├── InterruptedStreamError      a stream ended before the answer did; holds what had arrived; retryable
    └── InvalidResponseError        the answer is not what the API promises

Beside it, as a warning that stops nothing: ``ModelRetiredWarning`` (a UserWarning), a model at its end of life.

No message, body or representation of an error holds a key, and none repeats the prompt.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from linkspan.rate_limits import rate_limit_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from typing_extensions import Self

    from linkspan.conversation import Completion
    from linkspan.redaction import Secrets

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
    """The root of all errors that linkspan raises.

    Args:
        message: What happened and what to do about it, in one or two sentences.
        provider: Name of the API, such as ``"scaleway"``.
        status_code: HTTP status, or the status that an error event of a stream names; ``None`` before the network.
        code: The API's own error code or type.
        request_id: The API's id of the request: the handle to give to its support.
        retry_after: Seconds to wait, if the server said so.
        body: The error body: parsed JSON or text, without keys and without the prompt.
        headers: The answer's headers, credentials masked.
        is_retryable: Whether the same call may succeed later; ``None`` takes the class's own answer.
        partial: What had arrived of a streamed answer when this happened, or the answer that was found wrong;
            ``partial_text`` is its text.
    """

    #: Whether the same call may succeed later. An instance may refine it.
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

    def redacted(self, secrets: Secrets) -> Self:
        """Blank the secrets out of everything that this error and its causes hold, and return this error."""
        secrets.blank_error(self)
        return self

    @property
    def partial_text(self) -> str:
        """The text that had arrived of a streamed answer, ``""`` if none."""
        return self.partial.text if self.partial is not None else ""

    @property
    def rate_limit(self) -> dict[str, int | float | str] | None:
        """What the answer's headers say about rate limits, such as ``{"remaining_requests": 0}``.

        ``None`` if they say nothing. Times are seconds; names are the headers' own without ``x-ratelimit-``.
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
        # The default would call ``cls(*args)`` and lose the keyword-only fields.
        return (_rebuild, (type(self), self.args, self.__dict__))


def _rebuild(cls: type[LinkspanError], args: tuple[Any, ...], state: dict[str, Any]) -> LinkspanError:
    error = cls.__new__(cls, *args)
    error.args = args
    error.__dict__.update(state)
    return error


class ConfigurationError(LinkspanError, ValueError):
    """A constructor argument or environment variable is missing or wrong."""


class InvalidRequestError(LinkspanError):
    """The request was refused, by the API or before it was sent (then ``status_code`` is ``None``)."""


class UnsupportedContentError(InvalidRequestError):
    """A part, role or parameter that this API cannot carry. Raised before anything is sent.

    No ``ValueError``: LlamaIndex's response synthesizers take one for a bad answer, log it and go on without.
    """


class ContextOverflowError(InvalidRequestError):
    """Prompt and requested answer do not fit the model's context window."""


class AuthenticationError(LinkspanError):
    """The key is missing or not valid (401)."""


class PermissionDeniedError(LinkspanError):
    """The key is valid but may not do this (403)."""


class NotFoundError(LinkspanError):
    """There is no such model, deployment or route (404, 405, 410)."""


class RateLimitError(LinkspanError):
    """Too many requests, tokens or concurrent calls (429)."""

    is_retryable = True


class ContentBlockedError(LinkspanError):
    """The provider blocked the prompt or the answer.

    ``completion`` holds the blocked answer as far as the API gave one.
    """

    def __init__(self, message: str, *, completion: Completion | None = None, **details: Any) -> None:
        super().__init__(message, **details)
        self.completion = completion


class ServerError(LinkspanError):
    """The server failed (5xx), or said so inside a stream."""

    is_retryable = True


class APIConnectionError(LinkspanError):
    """No connection could be made, or it broke before an answer came."""

    is_retryable = True


class APITimeoutError(APIConnectionError):
    """No answer, or no further event of a stream, within the time allowed."""


class InterruptedStreamError(LinkspanError):
    """A stream ended before the answer did: it broke, fell silent or closed with neither finish reason nor end mark.

    ``partial`` holds what had arrived as a ``Completion``, ``partial_text`` its text.
    """

    is_retryable = True


class InvalidResponseError(LinkspanError):
    """The answer is not what the API promises: HTML, JSON where a stream was asked, no choices, broken JSON."""


class ModelRetiredWarning(UserWarning):
    """The model is at its end of life, or near it: the API may refuse it, or answer with another one."""


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
    """Return the class that stands for an HTTP status of 400 or above."""
    if status_code in _BY_STATUS:
        return _BY_STATUS[status_code]
    return ServerError if status_code >= 500 else InvalidRequestError
