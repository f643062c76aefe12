"""What a codec offers to :class:`linkspan.endpoint.Endpoint`: encode a request, decode whatever comes back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from linkspan.conversation import Completion, Delta
    from linkspan.errors import LinkspanError

__all__ = ["Codec", "StreamDecoder"]

RequestT_contra = TypeVar("RequestT_contra", contravariant=True)


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

    def auth_headers(self, api_key: str) -> Mapping[str, str]:
        """Headers that carry the key."""

    def path(self, request: RequestT_contra, *, stream: bool) -> str:
        """Path below the base URL, with a query if the API wants one."""

    def encode(self, request: RequestT_contra, *, stream: bool) -> dict[str, Any]:
        """The JSON body."""

    def decode(self, body: bytes, headers: Mapping[str, str], request: RequestT_contra) -> Completion:
        """A whole answer to a request. Prompt APIs leave in it what the request asked to have left out (stop texts)."""

    def decode_error(self, status_code: int, headers: Mapping[str, str], body: bytes) -> LinkspanError:
        """The error of an answer that is not what was asked for, also under status 200."""

    def event_error(self, data: bytes) -> LinkspanError | None:
        """The error that the first event of a stream reports, if it does."""

    def stream_decoder(self, request: RequestT_contra, headers: Mapping[str, str]) -> StreamDecoder:
        """A new decoder for one stream."""
