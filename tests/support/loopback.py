"""A server on a real loopback socket that answers with scripted bytes, for tests of what travels on the wire.

A script is a sequence of steps for one request: ``bytes`` are sent as they are, the other steps are the classes below.
After a script the connection waits for its next request, unless a step closed it. What arrived is in ``requests``;
``wait_closed`` tells when a client has closed a connection.

    with LoopbackServer() as server:
        server.answer(http(503, b"busy"))               # the first request
        server.answer(*event_stream(b"one", b"two"))    # the second one
        ...
        assert [request.path for request in server.requests] == ["/v1/chat", "/v1/chat"]
"""

from __future__ import annotations

import contextlib
import json
import select
import socket
import struct
import threading
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Sequence

#: Longest that anything here waits, in seconds: only a failing test gets there.
PATIENCE = 60.0

#: Ends a body sent in chunks.
END = b"0\r\n\r\n"


@dataclass(frozen=True)
class Until:
    """Wait until the test sets the event, or the client closes the connection."""

    event: threading.Event


@dataclass(frozen=True)
class Delay:
    """Send nothing for so many seconds. For behaviour that is about time; to synchronise, use :class:`Until`."""

    seconds: float


@dataclass(frozen=True)
class Repeat:
    """Send the same bytes again and again until the client closes the connection."""

    data: bytes
    every: float = 0.01


class UntilClosed:
    """Send nothing more; wait until the client closes the connection."""


class Close:
    """Close the connection in order (FIN)."""


class Cut:
    """Break the connection (RST)."""


Step = bytes | Until | Delay | Repeat | UntilClosed | Close | Cut


@dataclass
class ReceivedRequest:
    """A request as it arrived. Header names are in lower case."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    connection: int

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class _Connection:
    number: int
    sock: socket.socket
    closed_by_client: threading.Event = field(default_factory=threading.Event)


class _ClientGone(Exception):
    pass


class LoopbackServer:
    """Serves scripts, each connection in a thread of its own.

    Attributes:
        requests: All requests so far, in the order of their arrival.
        url: The server's base URL.
        respond: If set, called with each request to get its script; otherwise scripts queued by ``answer`` are used
            in turn, then the one given to ``always``. Without any, the connection is cut.
    """

    def __init__(
        self,
        respond: Callable[[ReceivedRequest], Sequence[Step]] | None = None,
        *,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.respond = respond
        self.requests: list[ReceivedRequest] = []
        self._tls = tls
        self._scripts: deque[Sequence[Step]] = deque()
        self._default: Sequence[Step] = (Cut(),)
        self._connections: list[_Connection] = []
        self._changed = threading.Condition()
        self._stopping = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        scheme = "https" if tls is not None else "http"
        self.port: int = self._listener.getsockname()[1]
        self.url = f"{scheme}://127.0.0.1:{self.port}"

    def __enter__(self) -> LoopbackServer:  # noqa: PYI034  # Self needs Python 3.11
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        with socket.socket() as waker:  # accept() does not notice that its socket is closed
            waker.connect_ex(("127.0.0.1", self.port))
        self._listener.close()
        with self._changed:
            connections = list(self._connections)
        for connection in connections:
            _shut(connection.sock)

    def answer(self, *steps: Step) -> None:
        """Queue the script for the next request that has none yet."""
        self._scripts.append(steps)

    def always(self, *steps: Step) -> None:
        """Set the script for all requests that have none of their own."""
        self._default = steps

    @property
    def connections(self) -> int:
        """How many connections were made so far."""
        return len(self._connections)

    def wait_requests(self, count: int) -> list[ReceivedRequest]:
        """Wait until so many requests have arrived, and return all of them."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.requests) >= count, PATIENCE), (
                f"{len(self.requests)} requests came, not {count}"
            )
            return list(self.requests)

    def wait_closed(self, connection: int = 0) -> bool:
        """Wait until the client has closed a connection, and return whether it did in time."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self._connections) > connection, PATIENCE), "no connection came"
        return self._connections[connection].closed_by_client.wait(PATIENCE)

    def is_closed(self, connection: int = 0) -> bool:
        """Tell whether the client has closed a connection by now, as far as the server has noticed."""
        return self._connections[connection].closed_by_client.is_set()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            if self._stopping.is_set():
                sock.close()
                return
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            if self._tls is not None:
                sock = self._tls.wrap_socket(sock, server_side=True)
        except OSError:  # the client did not like the certificate
            sock.close()
            return
        with self._changed:
            connection = _Connection(len(self._connections), sock)
            self._connections.append(connection)
            self._changed.notify_all()
        try:
            with sock:
                while (request := _read_request(connection)) is not None:
                    if not self._play(connection, self._script_for(request)):
                        return
        except (_ClientGone, OSError):
            pass
        if not self._stopping.is_set():
            connection.closed_by_client.set()

    def _script_for(self, request: ReceivedRequest) -> Sequence[Step]:
        with self._changed:
            self.requests.append(request)
            self._changed.notify_all()
            if self.respond is None:
                return self._scripts.popleft() if self._scripts else self._default
        return self.respond(request)

    def _play(self, connection: _Connection, script: Sequence[Step]) -> bool:
        """Play a script. Return whether the connection may be used again."""
        for step in script:
            match step:
                case bytes():
                    connection.sock.sendall(step)
                case Until(event):
                    self._idle(connection, event)
                case Delay(seconds):
                    self._idle(connection, threading.Event(), seconds)
                case Repeat(data, every):
                    while not self._stopping.is_set():
                        connection.sock.sendall(data)
                        self._idle(connection, threading.Event(), every)
                case UntilClosed():
                    self._idle(connection, threading.Event())
                case Close():
                    _shut(connection.sock)
                    return False
                case Cut():
                    connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    return False
        return True

    def _idle(self, connection: _Connection, event: threading.Event, seconds: float | None = None) -> None:
        """Wait for an event or so long, and notice a client that goes away meanwhile."""
        turn = 0.005 if seconds is None else min(0.005, seconds)
        left = float("inf") if seconds is None else seconds
        while left > 0 and not event.wait(turn) and not self._stopping.is_set():
            left -= turn
            readable, _, _ = select.select([connection.sock], [], [], 0)
            if readable and not connection.sock.recv(1):
                raise _ClientGone


def _read_request(connection: _Connection) -> ReceivedRequest | None:
    head = b""
    while b"\r\n\r\n" not in head:
        data = connection.sock.recv(65536)
        if not data:
            return None
        head += data
    head, _, body = head.partition(b"\r\n\r\n")
    start, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    pieces, missing = [body], int(headers.get("content-length", 0)) - len(body)
    while missing > 0:
        data = connection.sock.recv(65536)
        if not data:
            return None
        pieces.append(data)
        missing -= len(data)
    method, target, _ = start.split(" ")
    return ReceivedRequest(method, target, headers, b"".join(pieces), connection.number)


def _shut(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):  # gone already
        sock.shutdown(socket.SHUT_RDWR)


def http(
    status: int = 200,
    body: bytes = b"",
    content_type: str | None = "application/json",
    headers: dict[str, str] | None = None,
) -> bytes:
    """A whole answer with its length."""
    lines = {"content-length": str(len(body))}
    if content_type is not None:
        lines["content-type"] = content_type
    return _head(status, lines | (headers or {})) + body


def head(
    status: int = 200,
    content_type: str | None = "text/event-stream",
    headers: dict[str, str] | None = None,
) -> bytes:
    """The start of an answer whose body comes in chunks."""
    lines = {"transfer-encoding": "chunked"}
    if content_type is not None:
        lines["content-type"] = content_type
    return _head(status, lines | (headers or {}))


def chunk(data: bytes) -> bytes:
    """One chunk of such a body."""
    return b"%x\r\n%s\r\n" % (len(data), data)


def event(data: bytes) -> bytes:
    """One server-sent event in a chunk of its own, as servers mostly send them."""
    return chunk(b"data: " + data + b"\n\n")


def event_stream(*data: bytes, done: bytes | None = b"[DONE]") -> list[bytes]:
    """The steps of a whole stream of events, closed by an end marker."""
    events = [*data] if done is None else [*data, done]
    return [head(), *(event(item) for item in events), END]


def _head(status: int, headers: dict[str, str]) -> bytes:
    lines = [f"HTTP/1.1 {status} Scripted", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")
