"""The protocols of codecs and stream decoders, and the bases of those that wrap another one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from linkspan.conversation import Completion, Delta
    from linkspan.errors import LinkspanError
    from linkspan.providers.chat_completions.models import ListedModel

__all__ = ["Codec", "StreamDecoder", "WrappedCodec", "WrappedDecoder"]

RequestT = TypeVar("RequestT")
RequestT_contra = TypeVar("RequestT_contra", contravariant=True)
DecoderT = TypeVar("DecoderT", bound="StreamDecoder")


class StreamDecoder(Protocol):
    """State of one streamed answer, fed with the data of its events.

    ``finished`` turns true at the API's end mark, ``complete`` as soon as the answer is known to be whole, and
    ``cut_short`` where the decoder itself ended the answer (at a stop text) while the server would go on.
    """

    @property
    def finished(self) -> bool:
        """Whether the API's end mark has been seen: nothing more will come."""

    @property
    def complete(self) -> bool:
        """Whether the answer itself is whole, so that a connection that breaks now loses nothing of it."""

    @property
    def cut_short(self) -> bool:
        """Whether the decoder ended the answer before the server did: the connection is closed, not read to its end."""

    def feed(self, data: bytes) -> Sequence[Delta]:
        """Take the data of one event."""

    def close(self) -> Sequence[Delta]:
        """Take the end of the stream; the last delta carries finish reason, usage and metadata.

        Raises:
            InterruptedStreamError: The answer is not whole.
        """


class Codec(Protocol[RequestT_contra]):
    """One API's language. No I/O, no framework."""

    @property
    def provider(self) -> str:
        """The API's short name."""

    @property
    def models_path(self) -> str:
        """The route of the list of models, below the base URL."""

    def auth_headers(self, api_key: str) -> Mapping[str, str]:
        """Headers that carry the key."""

    def path(self, request: RequestT_contra, *, stream: bool) -> str:
        """Path below the base URL, with a query if the API wants one."""

    def encode(self, request: RequestT_contra, *, stream: bool) -> dict[str, Any]:
        """The JSON body."""

    def decode(self, body: bytes, headers: Mapping[str, str], request: RequestT_contra) -> Completion:
        """A whole answer to a request. Prompt APIs leave in it what the request asked to have left out (stop texts)."""

    def decode_models(self, body: bytes, headers: Mapping[str, str]) -> Sequence[ListedModel]:
        """The list of models."""

    def decode_error(self, status_code: int, headers: Mapping[str, str], body: bytes) -> LinkspanError:
        """The error of an answer that is not what was asked for, also under status 200."""

    def event_error(self, data: bytes) -> LinkspanError | None:
        """The error that the first event of a stream reports, if it does."""

    def stream_decoder(self, request: RequestT_contra, headers: Mapping[str, str]) -> StreamDecoder:
        """A new decoder for one stream."""


class WrappedDecoder(Generic[DecoderT]):
    """Base of the stream decoders that change what another one reads. By itself it changes nothing.

    Args:
        inner: The decoder that reads the stream.
    """

    __slots__ = ("_inner",)

    def __init__(self, inner: DecoderT) -> None:
        self._inner = inner

    @property
    def finished(self) -> bool:
        """Whether nothing more will come: the end mark was seen, or the answer was ended on this side."""
        return self._inner.finished

    @property
    def complete(self) -> bool:
        """Whether the answer is whole."""
        return self._inner.complete

    @property
    def cut_short(self) -> bool:
        """Whether the answer was ended on this side, while the server would go on."""
        return self._inner.cut_short

    def feed(self, data: bytes) -> Sequence[Delta]:
        """Take the data of one event."""
        return self._inner.feed(data)

    def close(self) -> Sequence[Delta]:
        """Take the end of the stream.

        Raises:
            InterruptedStreamError: The answer is not whole.
        """
        return self._inner.close()


class WrappedCodec(Generic[RequestT]):
    """Base of the codecs that change requests or answers of another one; holds what does not depend on the request.

    Args:
        inner: The API's own codec.
    """

    def __init__(self, inner: Codec[RequestT]) -> None:
        self.inner = inner

    @property
    def provider(self) -> str:
        """The API's short name."""
        return self.inner.provider

    @property
    def models_path(self) -> str:
        """The route of the list of models."""
        return self.inner.models_path

    def auth_headers(self, api_key: str) -> Mapping[str, str]:
        """Headers that carry the key."""
        return self.inner.auth_headers(api_key)

    def decode_models(self, body: bytes, headers: Mapping[str, str]) -> Sequence[ListedModel]:
        """Read the list of models."""
        return self.inner.decode_models(body, headers)

    def decode_error(self, status_code: int, headers: Mapping[str, str], body: bytes) -> LinkspanError:
        """Read an error answer, or the wrong kind of answer under status 200."""
        return self.inner.decode_error(status_code, headers, body)

    def event_error(self, data: bytes) -> LinkspanError | None:
        """Return the error that a stream's first event reports, if it does."""
        return self.inner.event_error(data)
