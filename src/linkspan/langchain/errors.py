"""linkspan's errors as LangChain's own: each class here is the linkspan error and core's ``ModelError`` of that kind.

Middleware that retries, summarises or reports looks for core's classes; users of both frameworks catch
``linkspan.errors``. Every error that leaves a LangChain class of linkspan is an instance of both.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from langchain_core import exceptions as core

from linkspan import errors

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

__all__ = [
    "APIConnectionError",
    "APITimeoutError",
    "AuthenticationError",
    "ConfigurationError",
    "ContentBlockedError",
    "ContextOverflowError",
    "ErrorResponse",
    "InterruptedStreamError",
    "InvalidRequestError",
    "InvalidResponseError",
    "ModelFailure",
    "NotFoundError",
    "PermissionDeniedError",
    "RateLimitError",
    "ServerError",
    "UnsupportedContentError",
    "as_model_error",
    "converted_errors",
]

#: ``ModelRefusalError`` came with langchain-core 1.7.5; before it, an invalid request: not retryable either.
_RefusalError: Any = getattr(core, "ModelRefusalError", core.ModelInvalidRequestError)


class ErrorResponse:
    """The HTTP answer behind an error, in the shape in which langchain-core's tracing reads it.

    Args:
        status_code: The HTTP status.
        headers: The answer's headers, credentials masked.
        body: Parsed JSON or text.
    """

    __slots__ = ("_body", "headers", "status_code")

    def __init__(self, status_code: int, headers: Mapping[str, str], body: Any) -> None:
        self.status_code = status_code
        self.headers = dict(headers)
        self._body = body

    @property
    def text(self) -> str:
        """The body as text."""
        if self._body is None:
            return ""
        return self._body if isinstance(self._body, str) else json.dumps(self._body, ensure_ascii=False)

    def json(self) -> Any:
        """The body as JSON.

        Raises:
            ValueError: If it is none.
        """
        return json.loads(self._body or "") if self._body is None or isinstance(self._body, str) else self._body


class ModelFailure(errors.LinkspanError, core.ModelError):
    """What all errors here have in common; itself a failure of no particular kind."""

    @property
    def response(self) -> ErrorResponse | None:
        """The HTTP answer, ``None`` if there was none."""
        if self.status_code is None:
            return None
        return ErrorResponse(self.status_code, self.headers, self.body)


class ConfigurationError(errors.ConfigurationError, ModelFailure, core.ModelInvalidRequestError):
    """A constructor argument or environment variable is missing or wrong."""


class InvalidRequestError(errors.InvalidRequestError, ModelFailure, core.ModelInvalidRequestError):
    """The request was refused, by the API or before it was sent."""


class UnsupportedContentError(errors.UnsupportedContentError, InvalidRequestError):
    """A part, role or parameter that the API cannot carry."""


class ContextOverflowError(errors.ContextOverflowError, InvalidRequestError, core.ContextOverflowError):
    """Prompt and requested answer do not fit the model's context window."""


class AuthenticationError(errors.AuthenticationError, ModelFailure, core.ModelAuthenticationError):
    """The key is missing or not valid."""


class PermissionDeniedError(errors.PermissionDeniedError, ModelFailure, core.ModelPermissionDeniedError):
    """The key is valid but may not do this."""


class NotFoundError(errors.NotFoundError, ModelFailure, core.ModelNotFoundError):
    """There is no such model, deployment or route."""


class RateLimitError(errors.RateLimitError, ModelFailure, core.ModelRateLimitError):
    """Too many requests, tokens or concurrent calls."""


class ContentBlockedError(errors.ContentBlockedError, ModelFailure, _RefusalError):  # type: ignore[misc]  # guarded base
    """The provider blocked the prompt or the answer."""

    #: The blocked answer as a message, where core's ``ModelRefusalError`` keeps it; ``None`` if the API gave none.
    raw_message: Any = None


class ServerError(errors.ServerError, ModelFailure, core.ModelAPIError):
    """The server failed."""


class APIConnectionError(errors.APIConnectionError, ModelFailure, core.ModelConnectionError):
    """No connection could be made, or it broke before an answer came."""


class APITimeoutError(errors.APITimeoutError, APIConnectionError, core.ModelTimeoutError):
    """No answer, or no further event of a stream, in time."""


class InterruptedStreamError(errors.InterruptedStreamError, ModelFailure, core.ModelConnectionError):
    """A stream ended before the answer did."""


class InvalidResponseError(errors.InvalidResponseError, ModelFailure, core.ModelAPIError):
    """The answer is not what the API promises."""


_JOINT: dict[type[errors.LinkspanError], type[ModelFailure]] = {
    errors.LinkspanError: ModelFailure,
    errors.ConfigurationError: ConfigurationError,
    errors.InvalidRequestError: InvalidRequestError,
    errors.UnsupportedContentError: UnsupportedContentError,
    errors.ContextOverflowError: ContextOverflowError,
    errors.AuthenticationError: AuthenticationError,
    errors.PermissionDeniedError: PermissionDeniedError,
    errors.NotFoundError: NotFoundError,
    errors.RateLimitError: RateLimitError,
    errors.ContentBlockedError: ContentBlockedError,
    errors.ServerError: ServerError,
    errors.APIConnectionError: APIConnectionError,
    errors.APITimeoutError: APITimeoutError,
    errors.InterruptedStreamError: InterruptedStreamError,
    errors.InvalidResponseError: InvalidResponseError,
}


def as_model_error(error: errors.LinkspanError) -> ModelFailure:
    """Return the error as its joint class, with all its fields; one that is joint already as it is."""
    if isinstance(error, ModelFailure):
        return error
    joint = next(_JOINT[cls] for cls in type(error).__mro__ if cls in _JOINT)
    made = joint.__new__(joint, *error.args)
    made.args = error.args
    made.__dict__.update(error.__dict__)
    if isinstance(made, ContentBlockedError) and made.completion is not None:
        from linkspan.langchain.chunks import to_ai_message  # noqa: PLC0415  # embeddings load no messages for it

        made.raw_message = to_ai_message(made.completion, made.provider or "")
    return made


class converted_errors:  # noqa: N801  # reads as the verb it is: ``with converted_errors():``
    """Context manager: a linkspan error inside leaves as its joint class, the original as its cause."""

    __slots__ = ()

    def __enter__(self) -> None:
        return None

    def __exit__(self, _: type[BaseException] | None, error: BaseException | None, __: TracebackType | None) -> None:
        if isinstance(error, errors.LinkspanError) and not isinstance(error, ModelFailure):
            raise as_model_error(error) from error
