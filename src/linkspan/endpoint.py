"""An API at a base URL: combines a codec with the transport.

Sync and async methods differ only in the transport call.
"""

from __future__ import annotations

import asyncio
import json
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from linkspan.call_headers import merged_headers
from linkspan.errors import InterruptedStreamError, InvalidRequestError, LinkspanError, NotFoundError
from linkspan.form import Form
from linkspan.json_fields import unwritable_field
from linkspan.rate_limits import rate_limit_of
from linkspan.redaction import Secrets
from linkspan.transport import LARGEST_RESPONSE, HttpClient, HttpRequest, check_base_url, join_url, proxy_passwords
from linkspan.unreadable import invalid_response, unreadable_error, worth_reading

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator, Mapping, Sequence
    from types import TracebackType
    from typing import TypeAlias

    import httpx
    from pydantic import SecretStr

    from linkspan.assembler import Assembler
    from linkspan.conversation import Completion, Delta
    from linkspan.providers.codec import Codec, StreamDecoder
    from linkspan.providers.provider import Provider
    from linkspan.transport import HttpResponse

__all__ = ["Endpoint", "connect"]

RequestT = TypeVar("RequestT")
ResultT = TypeVar("ResultT")

#: Bytes of an answer beyond which an event loop does not wait until it is read.
_LARGE_ANSWER = 1024 * 1024

if TYPE_CHECKING:
    #: Decodes a body and its headers.
    Decoder: TypeAlias = Callable[[bytes, Mapping[str, str]], ResultT]


class Endpoint(Generic[RequestT]):
    """An API at an address, ready for calls. Create one with :func:`connect`.

    It holds open connections, so it cannot be pickled: drop it before and create a new one afterwards.
    """

    def __init__(
        self,
        codec: Codec[RequestT],
        client: HttpClient,
        *,
        base_url: str,
        headers: Mapping[str, str],
        secrets: Secrets,
        timeout: float | None,
        max_retries: int,
        stall_timeout: float | None = None,
        max_response_bytes: int = LARGEST_RESPONSE,
    ) -> None:
        self.codec = codec
        self.client = client
        self.base_url = base_url
        self._headers = dict(headers)
        self._secrets = secrets
        self._timeout = timeout
        self._stall_timeout = stall_timeout
        self._max_retries = max_retries
        self._max_response_bytes = max_response_bytes
        self._redacted_errors = _RedactedErrors(secrets)
        #: The context window that the server stated.
        self.told_window: int | None = None

    # ------------------------------------------------------------------ calls

    def complete(self, request: RequestT, *, timeout: float | None = None) -> Completion:
        """Request a whole answer."""
        with self._redacted_errors:
            return self._whole(self.client.send(self._http_request(request, stream=False, timeout=timeout)), request)

    async def acomplete(self, request: RequestT, *, timeout: float | None = None) -> Completion:
        """Request a whole answer."""
        with self._redacted_errors:
            response = await self.client.asend(self._http_request(request, stream=False, timeout=timeout))
            return self._whole(response, request)

    def batches(
        self, request: RequestT, assembler: Assembler, *, timeout: float | None = None
    ) -> Generator[Sequence[Delta], None, None]:
        """Stream an answer. Yields the deltas of one read together, which costs less per delta.

        No delta waits for another. The caller must add each delta to ``assembler``, which has the answer so far if the
        stream breaks.
        """
        with self._redacted_errors:
            http_request = self._http_request(request, stream=True, timeout=timeout)
        return self._batches(request, http_request, assembler)

    def abatches(
        self, request: RequestT, assembler: Assembler, *, timeout: float | None = None
    ) -> AsyncGenerator[Sequence[Delta], None]:
        """Stream an answer; see :meth:`batches`."""
        with self._redacted_errors:
            http_request = self._http_request(request, stream=True, timeout=timeout)
        return self._abatches(request, http_request, assembler)

    def _batches(
        self, request: RequestT, http_request: HttpRequest, assembler: Assembler
    ) -> Generator[Sequence[Delta], None, None]:
        with self._redacted_errors, self.client.stream(http_request) as events:
            decoder = self._stream_decoder(request, events.headers)
            assembler.rate_limit = rate_limit_of(events.headers)
            try:
                for batch in events.batches():
                    deltas, error = self._decoded(decoder, batch)
                    if deltas:
                        yield deltas
                    else:
                        events.silence()
                    if error is not None:
                        raise error
                    if decoder.finished:
                        break
            except LinkspanError as error:
                self._end_early(error, decoder, assembler)
            yield self._closed(decoder, assembler)
            if not decoder.cut_short:
                events.drain()

    async def _abatches(
        self, request: RequestT, http_request: HttpRequest, assembler: Assembler
    ) -> AsyncGenerator[Sequence[Delta], None]:
        with self._redacted_errors:
            async with self.client.astream(http_request) as events:
                decoder = self._stream_decoder(request, events.headers)
                assembler.rate_limit = rate_limit_of(events.headers)
                try:
                    async for batch in events.batches():
                        deltas, error = self._decoded(decoder, batch)
                        if deltas:
                            yield deltas
                        else:
                            events.silence()
                        if error is not None:
                            raise error
                        if decoder.finished:
                            break
                except LinkspanError as error:
                    self._end_early(error, decoder, assembler)
                yield self._closed(decoder, assembler)
                if not decoder.cut_short:
                    await events.drain()

    # ------------------------------------------------------------------ helpers

    def post(self, path: str, body: Mapping[str, Any] | Form, *, timeout: float | None = None) -> HttpResponse:
        """Send a JSON body or a form to another route of the API."""
        with self._redacted_errors:
            return self.client.send(self._to_route(path, "POST", body, timeout))

    async def apost(self, path: str, body: Mapping[str, Any] | Form, *, timeout: float | None = None) -> HttpResponse:
        """Send a JSON body or a form to another route of the API."""
        with self._redacted_errors:
            return await self.client.asend(self._to_route(path, "POST", body, timeout))

    def call(
        self, path: str, body: Mapping[str, Any] | Form, decode: Decoder[ResultT], *, timeout: float | None = None
    ) -> ResultT:
        """Send a JSON body or a form to another route of the API, and decode the answer with ``decode``."""
        with self._redacted_errors:
            return self._decode(self.post(path, body, timeout=timeout), decode)

    async def acall(
        self, path: str, body: Mapping[str, Any] | Form, decode: Decoder[ResultT], *, timeout: float | None = None
    ) -> ResultT:
        """Send a JSON body or a form to another route of the API, and decode the answer with ``decode``."""
        with self._redacted_errors:
            response = await self.apost(path, body, timeout=timeout)
            if len(response.content) > _LARGE_ANSWER:
                # Thousands of vectors: the event loop goes on meanwhile.
                return await asyncio.to_thread(self._decode, response, decode)
            return self._decode(response, decode)

    def get(self, path: str, *, timeout: float | None = None) -> HttpResponse:
        """Get another route of the API."""
        with self._redacted_errors:
            return self.client.send(self._to_route(path, "GET", None, timeout))

    async def aget(self, path: str, *, timeout: float | None = None) -> HttpResponse:
        """Get another route of the API."""
        with self._redacted_errors:
            return await self.client.asend(self._to_route(path, "GET", None, timeout))

    def read(self, path: str, decode: Decoder[ResultT], *, timeout: float | None = None) -> ResultT:
        """Get another route of the API, and decode the answer with ``decode``."""
        with self._redacted_errors:
            return self._decode(self.get(path, timeout=timeout), decode)

    async def aread(self, path: str, decode: Decoder[ResultT], *, timeout: float | None = None) -> ResultT:
        """Get another route of the API, and decode the answer with ``decode``."""
        with self._redacted_errors:
            return self._decode(await self.aget(path, timeout=timeout), decode)

    def close(self) -> None:
        """Close the endpoint's connections for sync calls."""
        self.client.close()

    async def aclose(self) -> None:
        """Close the endpoint's connections."""
        await self.client.aclose()

    def _http_request(self, request: RequestT, *, stream: bool, timeout: float | None) -> HttpRequest:
        body = self.codec.encode(request, stream=stream)
        path = self.codec.path(request, stream=stream)
        return self._to_route(path, "POST", body, timeout, request)

    def _to_route(
        self,
        path: str,
        method: str,
        body: Mapping[str, Any] | Form | None,
        timeout: float | None,
        request: RequestT | None = None,
    ) -> HttpRequest:
        extra_headers: Mapping[str, str] = getattr(request, "extra_headers", {})
        content = None
        if isinstance(body, Form):
            content_type, content = body.encode(self.codec.provider)
            extra_headers = {**extra_headers, "Content-Type": content_type}
        elif body is not None:
            content = encode_json(body, self.codec.provider)
        return HttpRequest(
            url=join_url(self.base_url, path),
            provider=self.codec.provider,
            method=method,
            headers=merged_headers(self._headers, extra_headers),
            content=content,
            timeout=self._timeout if timeout is None else timeout,
            # A timeout of one call also bounds the silences of its stream.
            stall_timeout=self._stall_timeout if timeout is None else None,
            max_retries=self._max_retries,
            max_response_bytes=self._max_response_bytes,
            decode_error=partial(self._decode_error, model=getattr(request, "model", None)),
            event_error=self._event_error,
        )

    # ------------------------------------------------------------------ guards: only LinkspanErrors are raised

    def _whole(self, response: HttpResponse, request: RequestT) -> Completion:
        completion = self._decode(response, lambda body, headers: self.codec.decode(body, headers, request))
        completion.rate_limit = rate_limit_of(response.headers)
        return completion

    def _decode(self, response: HttpResponse, decode: Decoder[ResultT]) -> ResultT:
        try:
            return decode(response.content, response.headers)
        except Exception as error:  # noqa: BLE001  # whatever a decoder makes of a malformed answer
            failure = error
        # Raised outside of the except block, so that no context repeats what the error leaves out.
        raise self._read_failure(failure, response.content, lambda body: decode(body, response.headers), response)

    def _stream_decoder(self, request: RequestT, headers: Mapping[str, str]) -> StreamDecoder:
        try:
            return self.codec.stream_decoder(request, headers)
        except Exception as error:  # noqa: BLE001  # headers may hold anything
            failure = error
        raise invalid_response(failure, self.codec.provider)

    def _decoded(self, decoder: StreamDecoder, events: Sequence[bytes]) -> tuple[Sequence[Delta], LinkspanError | None]:
        """Decode events up to the end of the answer; return their deltas, and the error that broke the stream."""
        deltas: list[Delta] = []
        event = b""
        try:
            feed = decoder.feed
            for event in events:
                deltas += feed(event)
                if decoder.finished:
                    break
        except Exception as error:  # noqa: BLE001  # whatever a decoder makes of a malformed event
            failure = error
        else:
            return deltas, None
        return deltas, self._read_failure(failure, event, decoder.feed)

    def _closed(self, decoder: StreamDecoder, assembler: Assembler) -> Sequence[Delta]:
        try:
            return decoder.close()
        except Exception as error:  # noqa: BLE001  # whatever a decoder makes of all that it was fed
            failure = invalid_response(error, self.codec.provider, so_far=assembler)
        raise failure

    def _end_early(self, error: LinkspanError, decoder: StreamDecoder, assembler: Assembler) -> None:
        """Raise the error that broke the stream, with the answer so far, unless the answer is complete."""
        if isinstance(error, InterruptedStreamError) and decoder.complete:
            return
        error.partial = assembler.completion()
        raise error

    def _decode_error(self, response: HttpResponse, model: str | None = None) -> LinkspanError:
        # Redacted first: shortening could leave a part of a secret.
        content = self._secrets.blank(worth_reading(response.content))
        status, headers = response.status_code, response.headers
        try:
            failure = self.codec.decode_error(status, headers, content)
        except Exception as error:  # noqa: BLE001  # whatever a decoder makes of a malformed body
            return unreadable_error(error, self.codec.provider, status, headers)
        return _naming(model, failure)

    def _event_error(self, event: bytes) -> LinkspanError | None:
        try:
            return self.codec.event_error(self._secrets.blank(event))
        except Exception as error:  # noqa: BLE001  # whatever a decoder makes of a malformed event
            return invalid_response(error, self.codec.provider, event)

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
        return invalid_response(failure, self.codec.provider, content, response=response)


class _RedactedErrors:
    """Complete and redact every error that leaves an endpoint."""

    __slots__ = ("_secrets",)

    def __init__(self, secrets: Secrets) -> None:
        self._secrets = secrets

    def __enter__(self) -> None:
        return None

    def __exit__(self, _: type[BaseException] | None, error: BaseException | None, __: TracebackType | None) -> None:
        if isinstance(error, LinkspanError):
            error.redacted(self._secrets)


def connect(
    codec: Codec[RequestT],
    provider: Provider,
    *,
    api_key: SecretStr | None,
    base_url: str,
    default_headers: Mapping[str, str] | None = None,
    http_client: httpx.Client | None = None,
    http_async_client: httpx.AsyncClient | None = None,
    timeout: float | None = None,
    stall_timeout: float | None = None,
    max_retries: int = 2,
    max_response_bytes: int = LARGEST_RESPONSE,
    allow_insecure_http: bool = False,
    endpoint_class: type[Endpoint[RequestT]] | None = None,
) -> Endpoint[RequestT]:
    """Create an endpoint. It opens nothing before the first call.

    Args:
        codec: Encodes requests and decodes answers.
        provider: The API's fixed facts.
        api_key: The key; ``None`` if the server needs none.
        base_url: The API's address.
        default_headers: Sent with every request; they override linkspan's own.
        http_client: Used for sync calls and not closed; ``None`` creates one.
        http_async_client: Used for async calls and not closed; ``None`` creates one per event loop.
        timeout: Seconds of silence allowed; ``None`` means the API's default.
        stall_timeout: Seconds allowed between two events of a stream; ``None`` means ``timeout`` if that is set, else
            the API's default.
        max_retries: Most retries of a failed attempt.
        max_response_bytes: Most decompressed bytes of an answer, of an event, and of data without events.
        allow_insecure_http: Allow a key to travel over plain http to a public host.
        endpoint_class: A subclass that does more at each call; ``None`` for :class:`Endpoint`.

    Raises:
        ConfigurationError: The URL is malformed or insecure, or the key is missing where one is needed.
    """
    secret = api_key.get_secret_value() if api_key is not None else None
    own_headers = {"Content-Type": "application/json"}
    if secret is not None:
        own_headers.update(codec.auth_headers(secret))
    overridden = {name.lower() for name in default_headers or {}}
    headers = {name: value for name, value in own_headers.items() if name.lower() not in overridden}
    headers.update(default_headers or {})
    secrets = Secrets.sent(secret, headers, proxy_passwords())
    with _RedactedErrors(secrets):
        provider.require_api_key(api_key, base_url)
        url = check_base_url(
            base_url,
            provider=provider.name,
            has_credentials=api_key is not None,
            allow_insecure_http=allow_insecure_http,
        )
    if stall_timeout is None and timeout is None:
        stall_timeout = provider.default_stall_timeout
    return (endpoint_class or Endpoint)(
        codec,
        HttpClient(http_client=http_client, http_async_client=http_async_client),
        base_url=url,
        headers=headers,
        secrets=secrets,
        timeout=provider.default_timeout if timeout is None else timeout,
        max_retries=max_retries,
        max_response_bytes=max_response_bytes,
        stall_timeout=stall_timeout,
    )


def encode_json(body: Mapping[str, Any], provider: str) -> bytes:
    """Encode a body as compact UTF-8 JSON.

    Raises:
        InvalidRequestError: A value has no JSON form (NaN, a lone surrogate, an object).
    """
    try:
        return json.dumps(body, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode("utf-8")
    except (TypeError, ValueError, RecursionError) as error:
        reason = (
            "a text has a lone surrogate (half of a UTF-16 pair): clean it, for example with "
            "text.encode('utf-8', 'replace').decode()"
            if isinstance(error, UnicodeEncodeError)
            else _reason(body, error)
        )
        raise InvalidRequestError(
            f"{provider}: the request cannot be written as JSON: {reason}", provider=provider
        ) from (None if isinstance(error, UnicodeEncodeError) else error)


def _reason(body: Mapping[str, Any], error: Exception) -> str:
    field = unwritable_field(body)
    return f"{field!r}: {error}" if field else str(error)


def _naming(model: str | None, error: LinkspanError) -> LinkspanError:
    """Name the model in the error for an unknown one, if the server does not."""
    about_it = isinstance(error, NotFoundError) and any(word in error.message for word in ("model", "endpoint"))
    return error.with_hint(
        f"The model asked for is {model!r}." if model and about_it and model not in error.message else None
    )
