"""A codec that raises only :class:`LinkspanError`, without secrets, whatever the server sends."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

from linkspan.errors import LinkspanError, NotFoundError
from linkspan.rate_limits import rate_limit_of
from linkspan.unreadable import invalid_response, unreadable_error, worth_reading

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import TypeAlias

    from linkspan.assembler import Assembler
    from linkspan.conversation import Completion, Delta
    from linkspan.providers.codec import Codec, StreamDecoder
    from linkspan.redaction import Secrets
    from linkspan.transport import HttpResponse

__all__ = ["GuardedCodec"]

RequestT = TypeVar("RequestT")
ResultT = TypeVar("ResultT")

if TYPE_CHECKING:
    #: Decodes a body and its headers.
    Decoder: TypeAlias = Callable[[bytes, Mapping[str, str]], ResultT]


class GuardedCodec(Generic[RequestT]):
    """Decodes with a codec and converts every failure, which may quote the answer but no secret."""

    __slots__ = ("_codec", "_secrets")

    def __init__(self, codec: Codec[RequestT], secrets: Secrets) -> None:
        self._codec = codec
        self._secrets = secrets

    def completion(self, response: HttpResponse, request: RequestT) -> Completion:
        """Decode a whole answer."""
        completion = self.decode(response, lambda body, headers: self._codec.decode(body, headers, request))
        completion.rate_limit = rate_limit_of(response.headers)
        return completion

    def decode(self, response: HttpResponse, decode: Decoder[ResultT]) -> ResultT:
        """Decode an answer with ``decode``."""
        try:
            return decode(response.content, response.headers)
        except Exception as error:  # noqa: BLE001  # whatever a decoder makes of a malformed answer
            failure = error
        # Raised outside of the except block, so that no context repeats what the error leaves out.
        raise self._read_failure(failure, response.content, lambda body: decode(body, response.headers), response)

    def stream_decoder(self, request: RequestT, headers: Mapping[str, str]) -> StreamDecoder:
        """Create the decoder of one stream."""
        try:
            return self._codec.stream_decoder(request, headers)
        except Exception as error:  # noqa: BLE001  # headers may hold anything
            failure = error
        raise invalid_response(failure, self._codec.provider)

    def deltas(self, decoder: StreamDecoder, events: Sequence[bytes]) -> tuple[Sequence[Delta], LinkspanError | None]:
        """Decode events up to the end of the answer; return their deltas, and the error that broke the stream."""
        decoded: list[Delta] = []
        event = b""
        try:
            feed = decoder.feed
            for event in events:
                decoded += feed(event)
                if decoder.finished:
                    break
        except Exception as error:  # noqa: BLE001  # whatever a decoder makes of a malformed event
            failure = error
        else:
            return decoded, None
        return decoded, self._read_failure(failure, event, decoder.feed)

    def last_deltas(self, decoder: StreamDecoder, assembler: Assembler) -> Sequence[Delta]:
        """Process the end of a stream; an error has the answer so far."""
        try:
            return decoder.close()
        except Exception as error:  # noqa: BLE001  # whatever a decoder makes of all that it was fed
            failure = invalid_response(error, self._codec.provider, so_far=assembler)
        raise failure

    def error(self, response: HttpResponse, model: str | None = None) -> LinkspanError:
        """Return the error of an unexpected answer. It names the request's model if the server does not know it."""
        # Redacted first: shortening could leave a part of a secret.
        content = self._secrets.blank(worth_reading(response.content))
        status, headers = response.status_code, response.headers
        try:
            failure = self._codec.decode_error(status, headers, content)
        except Exception as error:  # noqa: BLE001  # whatever a decoder makes of a malformed body
            return unreadable_error(error, self._codec.provider, status, headers)
        return _naming(model, failure)

    def event_error(self, event: bytes) -> LinkspanError | None:
        """Return the error in a stream's first event, if it is one."""
        try:
            if self._codec.event_error(event) is None:
                return None
            # An error that quotes the event must not shorten a secret in it, so it is decoded again without.
            return self._codec.event_error(self._secrets.blank(event))
        except Exception as error:  # noqa: BLE001  # whatever a decoder makes of a malformed event
            return invalid_response(error, self._codec.provider, self._secrets.blank(event))

    def _read_failure(
        self, failure: Exception, content: bytes, read: Callable[[bytes], object], response: HttpResponse | None = None
    ) -> LinkspanError:
        """Return the error for content that could not be decoded."""
        if self._secrets.found_in(content):
            # Decoded again without secrets, because an error that quotes the content could keep a part of one.
            content = self._secrets.blank(content)
            try:
                read(content)
            except Exception as error:  # noqa: BLE001  # the same as before
                failure = error
        return invalid_response(failure, self._codec.provider, content, response=response)


def _naming(model: str | None, error: LinkspanError) -> LinkspanError:
    """Name the model in the error for an unknown one, if the server does not."""
    about_it = isinstance(error, NotFoundError) and any(word in error.message for word in ("model", "endpoint"))
    return error.with_hint(
        f"The model asked for is {model!r}." if model and about_it and model not in error.message else None
    )
