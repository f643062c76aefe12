"""The HTTP client: ``send`` and ``stream``, with sync and async twins over the same request object."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager, AbstractContextManager

    import httpx

    from linkspan.transport.messages import HttpRequest, HttpResponse
    from linkspan.transport.streams import AsyncEventStream, EventStream

__all__ = ["HttpClient"]


class HttpClient:
    """Sends requests (interface only in this commit; the implementation follows)."""

    def __init__(
        self,
        *,
        http_client: httpx.Client | None = None,
        http_async_client: httpx.AsyncClient | None = None,
    ) -> None:
        raise NotImplementedError

    def send(self, request: HttpRequest) -> HttpResponse:
        raise NotImplementedError

    async def asend(self, request: HttpRequest) -> HttpResponse:
        raise NotImplementedError

    def stream(self, request: HttpRequest) -> AbstractContextManager[EventStream]:
        raise NotImplementedError

    def astream(self, request: HttpRequest) -> AbstractAsyncContextManager[AsyncEventStream]:
        raise NotImplementedError

    def close(self) -> None:
        raise NotImplementedError

    async def aclose(self) -> None:
        raise NotImplementedError
