"""What the sandbox has seen: every request, for tests to look at."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["RecordedRequest", "Recorder"]

#: Headers that carry keys; of their values only the scheme is kept.
_SECRET_HEADERS = frozenset({"authorization", "proxy-authorization", "x-api-key", "grayswan-api-key", "cookie"})


#: How much of bodies is kept, of all requests together, and how large one may be.
MOST_BYTES = 64 * 1024 * 1024


@dataclass
class RecordedRequest:
    """A request as it arrived, and what became of it.

    Args:
        method: The HTTP method.
        path: The path, without the query.
        query: The query string, ``""`` if none.
        headers: Names in lower case; the values of those that carry keys are masked.
        content: The body's bytes; none where ``forgotten`` is set.
        client_port: The client's TCP port: equal for requests that came over one connection.
    """

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    content: bytes = field(repr=False)
    client_port: int
    #: The answer's status, ``None`` until there is one.
    status: int | None = None
    #: The client closed its connection before the answer was complete.
    client_left: bool = False
    #: The body is not kept any more, because later ones were too large.
    forgotten: bool = False
    _finished: threading.Event = field(default_factory=threading.Event, repr=False)

    @property
    def json(self) -> Any:
        """The body as JSON.

        Raises:
            ValueError: It is not JSON, or was forgotten.
        """
        if self.forgotten:
            raise ValueError(f"the body was forgotten: the sandbox keeps the latest {MOST_BYTES >> 20} MiB of bodies")
        return json.loads(self.content)

    @property
    def finished(self) -> bool:
        """Whether the server is done with it."""
        return self._finished.is_set()

    def wait_finished(self, timeout: float = 10) -> bool:
        """Wait until the server is done with it, in whatever way; ``False`` if that took longer than ``timeout``."""
        return self._finished.wait(timeout)

    def forget_content(self) -> None:
        """Let the body go."""
        self.content = b""
        self.forgotten = True

    def finish(self) -> None:
        """Tell those who wait that it is over."""
        self._finished.set()


class Recorder:
    """The requests in the order of their arrival; safe to read while the server runs.

    Args:
        most_requests: How many are kept, the latest; ``None`` for all. Bodies are bounded in any case.
    """

    def __init__(self, most_requests: int | None = None) -> None:
        self._most_requests = most_requests
        self._requests: list[RecordedRequest] = []
        self._changed = threading.Condition()
        self._bytes = 0
        #: The first request whose body is still kept.
        self._first_kept = 0

    def add(self, request: RecordedRequest) -> None:
        """Remember a request; forget the bodies of the oldest where all together are too large."""
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
            TimeoutError: If they do not.
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
