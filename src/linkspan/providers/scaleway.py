"""Scaleway Generative APIs: differences from the Chat Completions dialect.

Source: docs/apis/scaleway.md.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from linkspan.conversation import Audio, File, Image, Video
from linkspan.errors import (
    ConfigurationError,
    LinkspanError,
    PermissionDeniedError,
    RateLimitError,
    UnsupportedContentError,
)
from linkspan.providers.catalog import model_info
from linkspan.providers.chat_completions import ChatCompletionsCodec, Dialect
from linkspan.providers.chat_completions.decode import error_in
from linkspan.providers.codec import WrappedCodec
from linkspan.providers.error_bodies import request_id_of
from linkspan.providers.provider import Provider, first_set
from linkspan.providers.responses import ResponsesCodec
from linkspan.providers.wire import not_an_object, parse_json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from linkspan.conversation import ChatRequest, Completion, Part
    from linkspan.providers.codec import Codec, StreamDecoder

__all__ = [
    "SCALEWAY",
    "ScalewayAPI",
    "ScalewayChatCodec",
    "chat_codec",
    "read_object",
    "scaleway_base_url",
]

#: The chat APIs of Scaleway's models.
ScalewayAPI = Literal["chat", "responses"]

SCALEWAY = Provider(
    name="scaleway",
    title="Scaleway Generative APIs",
    api_key_env=("SCW_SECRET_KEY", "SCALEWAY_API_KEY"),
    base_url_env=("SCALEWAY_BASE_URL",),
    default_base_url="https://api.scaleway.ai/v1",
    default_timeout=600.0,
    caches_prompts=True,
)

#: Image types that Scaleway documents as refused. The accepted ones vary by model, so the server decides.
_REFUSED_IMAGES = frozenset({"application/pdf", "image/svg+xml"})


def _check_part(part: Part) -> None:
    if isinstance(part, Image) and part.media_type in _REFUSED_IMAGES:
        raise UnsupportedContentError(
            f"{SCALEWAY.title} takes PNG, JPEG, WEBP and non-animated GIF images, not {part.media_type}. "
            "Convert it first.",
            provider=SCALEWAY.name,
        )
    if isinstance(part, Audio) and (part.base64 is None or part.format not in {"wav", "mp3"}):
        raise UnsupportedContentError(
            f"{SCALEWAY.title} takes audio as base64 in wav or mp3, not "
            + ("as a URL: download it first." if part.base64 is None else f"{part.format!r}: convert it first."),
            provider=SCALEWAY.name,
        )


_DIALECT = Dialect(
    provider=SCALEWAY.name,
    title=SCALEWAY.title,
    user_parts=(Image, Audio),
    tool_parts=(Image,),
    hints=(
        (File, "Documents are read by the OCR endpoint; for chat, send their text or images of their pages."),
        (Video, "Its request format for video is not documented; send frames as images."),
    ),
    # Refused by name before the network, as far as Scaleway documents it.
    check_part=_check_part,
)


_RESPONSES_DIALECT = replace(
    _DIALECT,
    title=f"The Responses API of {SCALEWAY.title}",
    user_parts=(Image,),
    tool_parts=(),
    hints=(
        *_DIALECT.hints,
        (Audio, 'Choose api="chat".'),
        (Image, 'Only user messages can hold images here: put it into one, or choose api="chat".'),
    ),
)


class _Explains:
    """Mixin of the codecs: hints for misleading errors."""

    def explain(self, error: LinkspanError) -> LinkspanError:
        """Add hints to Scaleway's misleading errors."""
        return _explained(error)


class ScalewayChatCodec(_Explains, ChatCompletionsCodec):
    """Codec of Chat Completions for Scaleway's models, serverless or dedicated."""

    def __init__(self) -> None:
        super().__init__(_DIALECT)


class ScalewayResponsesCodec(_Explains, ResponsesCodec):
    """Codec of the Responses API for Scaleway's models."""

    def __init__(self) -> None:
        super().__init__(_RESPONSES_DIALECT)


class _EitherCodec(WrappedCodec["ChatRequest"]):
    """Uses Chat Completions, except for requests that a model answers only over the Responses API."""

    def __init__(self) -> None:
        super().__init__(ScalewayChatCodec())
        self._responses = ScalewayResponsesCodec()

    def _codec_of(self, request: ChatRequest) -> Codec[ChatRequest]:
        info = model_info(SCALEWAY.name, request.model) if request.model is not None else None
        if info is None or not info.tool_apis or "chat/completions" in info.tool_apis:
            return self.inner
        tools = request.tools or any(message.tool_calls or message.role == "tool" for message in request.messages)
        return self._responses if tools else self.inner

    def path(self, request: ChatRequest, *, stream: bool) -> str:
        """Return the route below the base URL."""
        return self._codec_of(request).path(request, stream=stream)

    def encode(self, request: ChatRequest, *, stream: bool) -> dict[str, Any]:
        """Encode the body."""
        return self._codec_of(request).encode(request, stream=stream)

    def decode(self, body: bytes, headers: Mapping[str, str], request: ChatRequest) -> Completion:
        """Decode a whole answer."""
        return self._codec_of(request).decode(body, headers, request)

    def stream_decoder(self, request: ChatRequest, headers: Mapping[str, str]) -> StreamDecoder:
        """Create the decoder of one stream."""
        return self._codec_of(request).stream_decoder(request, headers)


def chat_codec(api: ScalewayAPI | None) -> Codec[ChatRequest]:
    """Return the codec of a chat class.

    ``None`` means Chat Completions, except for requests with tools to a model that calls tools only over the Responses
    API.
    """
    if api is None:
        return _EitherCodec()
    return ScalewayChatCodec() if api == "chat" else ScalewayResponsesCodec()


def _explained(error: LinkspanError) -> LinkspanError:
    if isinstance(error, PermissionDeniedError):
        error.with_hint(
            "Scaleway also answers 403 to a wrong key, and to a key limited to a project that is not its default: "
            "then set project_id.",
        )
    elif isinstance(error, RateLimitError) and error.headers.get("x-ratelimit-limit-requests") == "0":
        error.with_hint("The limit is 0: the account has no payment method yet, so waiting will not help.")
        error.is_retryable = False
    elif "max_completion_tokens is limited to" in error.message or "max_output_tokens is limited to" in error.message:
        error.with_hint("The model's output limit is fixed: lower max_tokens, or leave it out to use the limit itself.")
    elif "/responses' is not supported" in error.message:
        error.with_hint('This model does not support the Responses API: choose api="chat".')
    return error


def read_object(body: bytes, headers: Mapping[str, str]) -> dict[str, Any]:
    """Parse an answer of a route beside chat, which must be a JSON object.

    Raises:
        InvalidResponseError: It is not a JSON object.
        LinkspanError: The answer is an error with status 200.
    """
    parsed = parse_json(body, SCALEWAY.name)
    error = error_in(parsed, SCALEWAY.name, headers, _explained)
    if error is not None:
        raise error
    if not isinstance(parsed, dict):
        raise not_an_object(parsed, "the answer", SCALEWAY.name, request_id_of(headers))
    return parsed


def scaleway_base_url(base_url: str | None, project_id: str | None) -> str:
    """Return the base URL: the argument, ``SCALEWAY_BASE_URL``, or the public one, with the project if given.

    ``SCW_DEFAULT_PROJECT_ID`` is deliberately not read: it is set wherever Scaleway's command line is used, and would
    silently change who is billed.

    Raises:
        ConfigurationError: Both a base URL and a project are given.
    """
    explicit = (base_url or "").strip() or first_set(SCALEWAY.base_url_env)
    if not project_id:
        return SCALEWAY.resolve_base_url(base_url)
    if explicit:
        raise ConfigurationError(
            f"Set base_url (or {SCALEWAY.base_url_env[0]}) or project_id, not both: {project_id!r} would be part of "
            "the public service's URL.",
            provider=SCALEWAY.name,
        )
    return f"https://api.scaleway.ai/{project_id}/v1"
