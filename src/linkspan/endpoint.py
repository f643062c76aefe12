"""An API at a base URL: combines a codec with the transport.

Sync and async methods differ only in the transport call.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from linkspan.call_headers import merged_headers
from linkspan.errors import InterruptedStreamError, LinkspanError
from linkspan.guarded_codec import GuardedCodec
from linkspan.json_body import encode_json
from linkspan.providers.codec import Form
from linkspan.rate_limits import rate_limit_of
from linkspan.redaction import Secrets
from linkspan.transport import (
    LARGEST_RESPONSE,
    HttpClient,
    HttpRequest,
    check_base_url,
    encode_multipart,
    join_url,
    proxy_passwords,
    sent_by,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator, Mapping, Sequence
    from types import TracebackType

    import httpx
    from pydantic import SecretStr

    from linkspan.assembler import Assembler
    from linkspan.conversation import Completion, Delta
    from linkspan.guarded_codec import Decoder
    from linkspan.providers.codec import Codec, StreamDecoder
    from linkspan.providers.provider import Provider

__all__ = ["Endpoint", "connect"]

RequestT = TypeVar("RequestT")
ResultT = TypeVar("ResultT")

#: Bytes of an answer beyond which an event loop does not wait until it is read.
_LARGE_ANSWER = 1024 * 1024


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
        self._guarded = GuardedCodec(codec, secrets)
        self._timeout = timeout
        self._stall_timeout = stall_timeout
        self._max_retries = max_retries
        self._max_response_bytes = max_response_bytes
        self._redacted_errors = _RedactedErrors(secrets)
        #: The context window that the server stated.
        self.server_window: int | None = None

    # ------------------------------------------------------------------ calls

    def complete(self, request: RequestT, *, timeout: float | None = None) -> Completion:
        """Request a whole answer."""
        with self._redacted_errors:
            response = self.client.send(self._http_request(request, stream=False, timeout=timeout))
            return self._guarded.completion(response, request)

    async def acomplete(self, request: RequestT, *, timeout: float | None = None) -> Completion:
        """Request a whole answer."""
        with self._redacted_errors:
            response = await self.client.asend(self._http_request(request, stream=False, timeout=timeout))
            return self._guarded.completion(response, request)

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
            decoder = self._guarded.stream_decoder(request, events.headers)
            assembler.rate_limit = rate_limit_of(events.headers)
            try:
                for batch in events.batches():
                    deltas, error = self._guarded.deltas(decoder, batch)
                    if deltas:
                        yield deltas
                    else:
                        events.silence()
                    if error is not None:
                        raise error
                    if decoder.finished:
                        break
            except LinkspanError as error:
                _end_early(error, decoder, assembler)
            yield self._guarded.last_deltas(decoder, assembler)
            if not decoder.cut_short:
                events.drain()

    async def _abatches(
        self, request: RequestT, http_request: HttpRequest, assembler: Assembler
    ) -> AsyncGenerator[Sequence[Delta], None]:
        with self._redacted_errors:
            async with self.client.astream(http_request) as events:
                decoder = self._guarded.stream_decoder(request, events.headers)
                assembler.rate_limit = rate_limit_of(events.headers)
                try:
                    async for batch in events.batches():
                        deltas, error = self._guarded.deltas(decoder, batch)
                        if deltas:
                            yield deltas
                        else:
                            events.silence()
                        if error is not None:
                            raise error
                        if decoder.finished:
                            break
                except LinkspanError as error:
                    _end_early(error, decoder, assembler)
                yield self._guarded.last_deltas(decoder, assembler)
                if not decoder.cut_short:
                    await events.drain()

    # ------------------------------------------------------------------ other routes

    def call(
        self, path: str, body: Mapping[str, Any] | Form, decode: Decoder[ResultT], *, timeout: float | None = None
    ) -> ResultT:
        """Send a JSON body or a form to another route of the API, and decode the answer with ``decode``."""
        with self._redacted_errors:
            return self._guarded.decode(self.client.send(self._to_route(path, "POST", body, timeout)), decode)

    async def acall(
        self, path: str, body: Mapping[str, Any] | Form, decode: Decoder[ResultT], *, timeout: float | None = None
    ) -> ResultT:
        """Send a JSON body or a form to another route of the API, and decode the answer with ``decode``."""
        with self._redacted_errors:
            response = await self.client.asend(self._to_route(path, "POST", body, timeout))
            if len(response.content) > _LARGE_ANSWER:
                # Thousands of vectors: the event loop goes on meanwhile.
                return await asyncio.to_thread(self._guarded.decode, response, decode)
            return self._guarded.decode(response, decode)

    def read(self, path: str, decode: Decoder[ResultT], *, timeout: float | None = None) -> ResultT:
        """Get another route of the API, and decode the answer with ``decode``."""
        with self._redacted_errors:
            return self._guarded.decode(self.client.send(self._to_route(path, "GET", None, timeout)), decode)

    async def aread(self, path: str, decode: Decoder[ResultT], *, timeout: float | None = None) -> ResultT:
        """Get another route of the API, and decode the answer with ``decode``."""
        with self._redacted_errors:
            response = await self.client.asend(self._to_route(path, "GET", None, timeout))
            return self._guarded.decode(response, decode)

    def close(self) -> None:
        """Close the endpoint's connections for sync calls."""
        self.client.close()

    async def aclose(self) -> None:
        """Close the endpoint's connections."""
        await self.client.aclose()

    # ------------------------------------------------------------------ helpers

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
            file = (body.file_name, body.content, body.media_type)
            content_type, content = encode_multipart(body.fields, file, self.codec.provider)
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
            decode_error=partial(self._guarded.error, model=getattr(request, "model", None)),
            event_error=self._guarded.event_error,
        )


def _end_early(error: LinkspanError, decoder: StreamDecoder, assembler: Assembler) -> None:
    """Raise the error that broke the stream, with the answer so far, unless the answer is complete."""
    if isinstance(error, InterruptedStreamError) and decoder.complete:
        return
    error.partial = assembler.completion()
    raise error


class _RedactedErrors:
    """Complete and redact every error that leaves an endpoint."""

    __slots__ = ("_secrets",)

    def __init__(self, secrets: Secrets) -> None:
        self._secrets = secrets

    def __enter__(self) -> None:
        return None

    def __exit__(self, _: type[BaseException] | None, error: BaseException | None, __: TracebackType | None) -> None:
        if isinstance(error, LinkspanError):
            self._secrets.blank_error(error)


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
        timeout: Seconds of silence allowed, also between two events of a stream; ``None`` means the API's defaults.
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
    headers = merged_headers(own_headers, default_headers or {})
    client = HttpClient(http_client=http_client, http_async_client=http_async_client)
    secrets = Secrets.sent(secret, headers, proxy_passwords())
    for given in (http_client, http_async_client):
        secrets = secrets if given is None else secrets.with_sent(sent_by(given))
    with _RedactedErrors(secrets):
        provider.require_api_key(api_key, base_url)
        url = check_base_url(
            base_url,
            provider=provider.name,
            has_credentials=api_key is not None,
            allow_insecure_http=allow_insecure_http,
        )
    return (endpoint_class or Endpoint)(
        codec,
        client,
        base_url=url,
        headers=headers,
        secrets=secrets,
        timeout=provider.default_timeout if timeout is None else timeout,
        max_retries=max_retries,
        max_response_bytes=max_response_bytes,
        stall_timeout=provider.default_stall_timeout if timeout is None else None,
    )
