"""Records every request that the sandbox receives, for tests to inspect."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["RecordedRequest", "Recorder"]

#: Headers with keys; only the scheme of their values is kept.
_SECRET_HEADERS = frozenset({"authorization", "proxy-authorization", "x-api-key", "grayswan-api-key", "cookie"})


#: Total size of kept bodies, and the largest size of one body, in bytes.
MOST_BYTES = 64 * 1024 * 1024


@dataclass
class RecordedRequest:
    """A request as received, and its outcome.

    Args:
        method: The HTTP method.
        path: The path, without the query.
        query: The query string, ``""`` if none.
        headers: Names in lower case; values with keys are masked.
        content: The body's bytes; empty if ``forgotten`` is set.
        client_port: The client's TCP port: equal for requests over one connection.
    """

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    content: bytes = field(repr=False)
    client_port: int
    #: The answer's status; ``None`` before the answer.
    status: int | None = None
    #: Whether the client closed its connection before the answer was complete.
    client_left: bool = False
    #: Whether the body was dropped to make room for later ones.
    forgotten: bool = False
    _finished: threading.Event = field(default_factory=threading.Event, repr=False)

    @property
    def json(self) -> Any:
        """The body as JSON.

        Raises:
            ValueError: The body is not JSON or was dropped.
        """
        if self.forgotten:
            raise ValueError(f"the body was dropped: the sandbox keeps the latest {MOST_BYTES >> 20} MiB of bodies")
        return json.loads(self.content)

    @property
    def finished(self) -> bool:
        """Whether the server has finished the request."""
        return self._finished.is_set()

    def wait_finished(self, timeout: float = 10) -> bool:
        """Wait until the server has finished the request; return ``False`` after ``timeout`` seconds."""
        return self._finished.wait(timeout)

    def forget_content(self) -> None:
        """Let the body go."""
        self.content = b""
        self.forgotten = True

    def finish(self) -> None:
        """Mark the request as finished and wake waiting threads."""
        self._finished.set()


class Recorder:
    """The requests in order of arrival; safe to read while the server runs.

    Args:
        most_requests: Keep only this many latest requests; ``None`` for all. Bodies are always bounded.
    """

    def __init__(self, most_requests: int | None = None) -> None:
        self._most_requests = most_requests
        self._requests: list[RecordedRequest] = []
        self._changed = threading.Condition()
        self._bytes = 0
        #: The first request whose body is still kept.
        self._first_kept = 0

    def add(self, request: RecordedRequest) -> None:
        """Add a request; drop the oldest bodies if all bodies together are too large."""
        with self._changed:
            self._requests.append(request)
            self._bytes += len(request.content)
            self._drop_oldest()
            while self._bytes > MOST_BYTES and self._first_kept < len(self._requests) - 1:
                oldest = self._requests[self._first_kept]
                self._bytes -= len(oldest.content)
                oldest.forget_content()
                self._first_kept += 1
            self._changed.notify_all()

    def _drop_oldest(self) -> None:
        spare = 0 if self._most_requests is None else len(self._requests) - self._most_requests
        if spare > 0:
            self._bytes -= sum(len(request.content) for request in self._requests[:spare])
            del self._requests[:spare]
            self._first_kept = max(0, self._first_kept - spare)

    def clear(self) -> None:
        """Forget them all."""
        with self._changed:
            self._requests.clear()
            self._bytes = self._first_kept = 0

    def wait_for(self, count: int, timeout: float = 10) -> list[RecordedRequest]:
        """Wait until at least ``count`` requests have arrived and return all.

        Raises:
            TimeoutError: Fewer arrived in time.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: len(self._requests) >= count, timeout):
                raise TimeoutError(f"{len(self._requests)} of {count} requests arrived within {timeout} s")
            return list(self._requests)

    def __len__(self) -> int:
        return len(self._requests)

    def __iter__(self) -> Iterator[RecordedRequest]:
        return iter(list(self._requests))

    def __getitem__(self, index: int) -> RecordedRequest:
        return self._requests[index]


def masked_headers(raw: list[tuple[bytes, bytes]]) -> dict[str, str]:
    """Return ASGI headers as text, with keys masked."""
    headers: dict[str, str] = {}
    for name, value in raw:
        key = name.decode("latin-1").lower()
        text = value.decode("latin-1")
        if key in _SECRET_HEADERS:
            scheme, _, secret = text.partition(" ")
            text = f"{scheme} ***" if secret else "***"
        headers[key] = text
    return headers
