"""linkspan's errors for LangChain: each class is both the linkspan error and core's ``ModelError`` of the same kind.

LangChain's middleware that retries, summarizes or reports catches core's classes; users of both frameworks catch
``linkspan.errors``. Every error raised by linkspan's LangChain classes is an instance of both.
"""

from __future__ import annotations

import json
from contextlib import ContextDecorator
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

#: langchain-core 1.7.5 added ``ModelRefusalError``. Before it, use the invalid request, which is not retryable either.
_RefusalError: Any = getattr(core, "ModelRefusalError", core.ModelInvalidRequestError)


class ErrorResponse:
    """The HTTP answer of an error, in the form that langchain-core's tracing expects; credentials are masked."""

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
        """Return the body as JSON.

        Raises:
            ValueError: If it is not JSON.
        """
        return json.loads(self._body or "") if self._body is None or isinstance(self._body, str) else self._body


class ModelFailure(errors.LinkspanError, core.ModelError):
    """Base of all errors here; also raised for failures of no particular kind."""

    @property
    def response(self) -> ErrorResponse | None:
        """The HTTP answer; ``None`` if there was none."""
        if self.status_code is None:
            return None
        return ErrorResponse(self.status_code, self.headers, self.body)


class ConfigurationError(errors.ConfigurationError, ModelFailure, core.ModelInvalidRequestError):
    """A constructor argument or environment variable is missing or wrong."""


class InvalidRequestError(errors.InvalidRequestError, ModelFailure, core.ModelInvalidRequestError):
    """The API refused the request, or it was refused before it was sent."""


class UnsupportedContentError(errors.UnsupportedContentError, InvalidRequestError):
    """A part, role or parameter that the API cannot carry."""


class ContextOverflowError(errors.ContextOverflowError, InvalidRequestError, core.ContextOverflowError):
    """Prompt and requested answer do not fit into the model's context window."""


class AuthenticationError(errors.AuthenticationError, ModelFailure, core.ModelAuthenticationError):
    """The key is missing or invalid."""


class PermissionDeniedError(errors.PermissionDeniedError, ModelFailure, core.ModelPermissionDeniedError):
    """The key is valid but lacks the permission."""


class NotFoundError(errors.NotFoundError, ModelFailure, core.ModelNotFoundError):
    """The model, deployment or route does not exist."""


class RateLimitError(errors.RateLimitError, ModelFailure, core.ModelRateLimitError):
    """Too many requests, tokens or concurrent calls."""


class ContentBlockedError(errors.ContentBlockedError, ModelFailure, _RefusalError):  # type: ignore[misc]  # guarded base
    """The provider blocked the prompt or the answer."""

    #: The blocked answer as a message, under the name that core's ``ModelRefusalError`` uses; ``None`` without an
    #: answer.
    raw_message: Any = None


class ServerError(errors.ServerError, ModelFailure, core.ModelAPIError):
    """The server failed."""


class APIConnectionError(errors.APIConnectionError, ModelFailure, core.ModelConnectionError):
    """The connection failed, or broke before the answer."""


class APITimeoutError(errors.APITimeoutError, APIConnectionError, core.ModelTimeoutError):
    """The answer, or the next event of a stream, did not arrive in time."""


class InterruptedStreamError(errors.InterruptedStreamError, ModelFailure, core.ModelConnectionError):
    """The stream ended before the answer was complete."""


class InvalidResponseError(errors.InvalidResponseError, ModelFailure, core.ModelAPIError):
    """The answer does not follow the API's format."""


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
    """Convert an error to its LangChain class, with all its fields. A LangChain error is returned unchanged."""
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


class converted_errors(ContextDecorator):  # noqa: N801  # reads as the verb it is: ``with converted_errors():``
    """Convert linkspan errors raised in this context to their LangChain classes, with the original as cause.

    Also a decorator of methods that raise before a call.
    """

    def __enter__(self) -> None:
        return None

    def __exit__(self, _: type[BaseException] | None, error: BaseException | None, __: TracebackType | None) -> None:
        if isinstance(error, errors.LinkspanError) and not isinstance(error, ModelFailure):
            raise as_model_error(error) from error
