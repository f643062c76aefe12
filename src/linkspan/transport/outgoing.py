"""Requests as httpx sends them. What is the same in each, address and headers, is checked and put together once."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import httpx

from linkspan.errors import ConfigurationError
from linkspan.transport.clients import USER_AGENT
from linkspan.transport.headers import check_headers
from linkspan.transport.urls import public_url

if TYPE_CHECKING:
    from linkspan.transport.messages import HttpRequest

__all__ = ["RequestBuilder"]

_parsed = functools.lru_cache(maxsize=64)(httpx.URL)


class RequestBuilder:
    """Makes the ``httpx.Request`` of each call of one :class:`~linkspan.transport.HttpClient`.

    It keeps the headers of the last call: an endpoint sends the same ones with each.
    """

    __slots__ = ("_kept",)

    def __init__(self) -> None:
        # By whether a stream is asked for, and of an own client. Each value is replaced as one: threads may share it.
        self._kept: dict[tuple[bool, bool], tuple[tuple[Any, ...], httpx.Headers]] = {}

    def build(
        self, client: httpx.Client | httpx.AsyncClient, request: HttpRequest, *, stream: bool, own: bool
    ) -> httpx.Request:
        """Return the request.

        Args:
            client: Which is going to send it.
            request: What to send.
            stream: Whether an event stream is asked for.
            own: Whether linkspan made the client. Such a one has no address and no parameters to add, and its headers
                do not change; with that known, this takes a third of the time of ``client.build_request``.

        Raises:
            ConfigurationError: The address or a header cannot be sent.
        """
        headers = self._headers(client, request, stream=stream, own=own)
        try:
            url = _parsed(request.url)
        except httpx.InvalidURL as exc:
            shown = public_url(request.url)
            raise ConfigurationError(f"{shown!r} is not a valid URL: {exc}", provider=request.provider) from None
        silence = request.timeout
        timeout = {"connect": request.connect_timeout, "read": silence, "write": silence, "pool": silence}
        if own:
            return httpx.Request(
                request.method,
                url,
                headers=headers,
                content=request.content,
                cookies=client.cookies,
                extensions={"timeout": timeout},
            )
        if "user-agent" not in headers and client.headers.get("user-agent", "").startswith("python-httpx/"):
            headers = headers.copy()
            headers["user-agent"] = USER_AGENT
        return client.build_request(
            request.method, url, headers=headers, content=request.content, timeout=httpx.Timeout(**timeout)
        )

    def _headers(
        self, client: httpx.Client | httpx.AsyncClient, request: HttpRequest, *, stream: bool, own: bool
    ) -> httpx.Headers:
        """Return the request's headers; with those of an own client. They are not to be changed."""
        items = tuple(request.headers.items())
        known, headers = self._kept.get((stream, own), (None, None))
        if headers is None or known != items:
            check_headers(request.headers, provider=request.provider)
            headers = httpx.Headers(dict(items))
            if stream and "accept" not in headers:
                headers["accept"] = "text/event-stream"
            if own:
                complete = httpx.Headers(client.headers)
                complete.update(headers)
                headers = complete
            self._kept[stream, own] = (items, headers)
        return headers
