"""Protocols of codecs and stream decoders, bases of those that wrap another one, and bodies that are not JSON."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from linkspan.conversation import Completion, Delta
    from linkspan.errors import LinkspanError
    from linkspan.providers.chat_completions.models import ListedModel

__all__ = ["Codec", "Form", "StreamDecoder", "WrappedCodec", "WrappedDecoder"]

RequestT = TypeVar("RequestT")
RequestT_contra = TypeVar("RequestT_contra", contravariant=True)
DecoderT = TypeVar("DecoderT", bound="StreamDecoder")


@dataclass(frozen=True, slots=True)
class Form:
    """The body of a request with a file.

    Fields are texts, numbers, booleans, and lists of them. Servers recognize a file's format by the ending of its name.
    """

    fields: Mapping[str, Any]
    file_name: str
    content: bytes = field(repr=False)
    media_type: str = "application/octet-stream"


class StreamDecoder(Protocol):
    """State of one streamed answer, fed with the data of its events.

    ``finished`` is set at the API's end mark, ``complete`` as soon as the answer is known to be complete, and
    ``cut_short`` if the decoder itself ended the answer (at a stop text) before the server did.
    """

    @property
    def finished(self) -> bool:
        """Whether the API's end mark was received, so that nothing more follows."""

    @property
    def complete(self) -> bool:
        """Whether the answer is complete, so that a broken connection loses nothing of it."""

    @property
    def cut_short(self) -> bool:
        """Whether the decoder ended the answer before the server did: close the connection, do not drain it."""

    def feed(self, data: bytes) -> Sequence[Delta]:
        """Process the data of one event."""

    def close(self) -> Sequence[Delta]:
        """Process the end of the stream; the last delta carries finish reason, usage and metadata.

        Raises:
            InterruptedStreamError: The answer is incomplete.
        """


class Codec(Protocol[RequestT_contra]):
    """Encodes requests and decodes answers of one API. No I/O, no framework."""

    @property
    def provider(self) -> str:
        """The API's short name."""

    @property
    def models_path(self) -> str:
        """The route of the list of models, relative to the base URL."""

    def auth_headers(self, api_key: str) -> Mapping[str, str]:
        """Headers that carry the key."""

    def path(self, request: RequestT_contra, *, stream: bool) -> str:
        """Path relative to the base URL, with a query if the API needs one."""

    def encode(self, request: RequestT_contra, *, stream: bool) -> dict[str, Any]:
        """The JSON body."""

    def decode(self, body: bytes, headers: Mapping[str, str], request: RequestT_contra) -> Completion:
        """Decode a whole answer. Needs the request, because prompt APIs leave its stop texts in the answer."""

    def decode_models(self, body: bytes, headers: Mapping[str, str]) -> Sequence[ListedModel]:
        """The list of models."""

    def decode_error(self, status_code: int, headers: Mapping[str, str], body: bytes) -> LinkspanError:
        """Return the error of an unexpected answer, also under status 200."""

    def event_error(self, data: bytes) -> LinkspanError | None:
        """Return the error in a stream's first event, if it is one."""

    def stream_decoder(self, request: RequestT_contra, headers: Mapping[str, str]) -> StreamDecoder:
        """Create the decoder of one stream."""


class WrappedDecoder(Generic[DecoderT]):
    """Base of stream decoders that filter another one. The base itself changes nothing."""

    __slots__ = ("_inner",)

    def __init__(self, inner: DecoderT) -> None:
        self._inner = inner

    @property
    def finished(self) -> bool:
        """Whether nothing more follows: the end mark was received, or a filter ended the answer."""
        return self._inner.finished

    @property
    def complete(self) -> bool:
        """Whether the answer is complete."""
        return self._inner.complete

    @property
    def cut_short(self) -> bool:
        """Whether a filter ended the answer before the server did."""
        return self._inner.cut_short

    def feed(self, data: bytes) -> Sequence[Delta]:
        """Process the data of one event."""
        return self._inner.feed(data)

    def close(self) -> Sequence[Delta]:
        """Process the end of the stream.

        Raises:
            InterruptedStreamError: The answer is incomplete.
        """
        return self._inner.close()


class WrappedCodec(Generic[RequestT]):
    """Base of codecs that wrap another one; implements the parts that do not depend on the request."""

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
        """Decode the list of models."""
        return self.inner.decode_models(body, headers)

    def decode_error(self, status_code: int, headers: Mapping[str, str], body: bytes) -> LinkspanError:
        """Decode an error answer, or the wrong kind of answer under status 200."""
        return self.inner.decode_error(status_code, headers, body)

    def event_error(self, data: bytes) -> LinkspanError | None:
        """Return the error in a stream's first event, if it is one."""
        return self.inner.event_error(data)
