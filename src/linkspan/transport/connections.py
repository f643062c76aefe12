"""Network backend of sync calls, and what it shares with that of async calls.

``network_backend`` is httpcore's public hook for connections. linkspan's add four things to httpcore's: a deadline over
several reads, a shutdown that wakes readers, requests sent in slices (so that a timeout bounds a pause and not a whole
upload), and :class:`Unread`.
"""

from __future__ import annotations

import os
import socket
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import httpcore

from linkspan.transport.deadline import Deadline

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterable, Iterator

    import httpx

__all__ = ["OpenConnections", "SyncBackend", "Unread", "shut_down", "shut_down_later"]

#: Bytes of a request per write timeout.
_SLICE = 64 * 1024
#: Most reads into which bytes that arrived together are split; with more, the connection is not reused.
_MOST_PARTS = 16


class Unread:
    """Bytes that arrived but were not read.

    A server may send more answers than requests. httpcore would treat surplus bytes as the answer to the connection's
    next request, and every later answer would be off by one. So a read ends where another answer may begin. If the
    bytes after that belong to this answer, they are read next; otherwise they stay here, and a connection with bytes
    left is not reused.
    """

    __slots__ = ("_at", "_data", "_parts", "is_suspect")

    def __init__(self) -> None:
        self._data = b""
        self._at = 0
        self._parts = 0
        self.is_suspect = False  # too many possible beginnings to split: the connection must not be reused

    def __len__(self) -> int:
        return len(self._data) - self._at

    def add(self, data: bytes) -> None:
        """Keep what arrived."""
        self._data = self._data[self._at :] + data if self._at < len(self._data) else data
        self._at = 0
        self._parts = 0

    def take(self, max_bytes: int) -> bytes:
        """Return the next bytes, up to what may be another answer."""
        data, start = self._data, self._at
        end = min(len(data), start + max_bytes)
        another = data.find(b"HTTP/", start + 1, end)
        if another >= 0 and self._parts < _MOST_PARTS:
            self._parts += 1
            end = another
        elif another >= 0:
            self.is_suspect = True
        if start == 0 and end == len(data):
            self._data = b""
            return data
        self._at = end
        return data[start:end]


class OpenConnections:
    """The open connections of one client, which can all be shut down at once.

    Attributes:
        closed: Whether the client was closed; no more connections are opened then.
    """

    def __init__(self) -> None:
        self.closed = False
        self._pid = os.getpid()
        self._open: set[Any] = set()
        "".encode("idna")  # loads what sockets need to resolve names now, while a fork waits for it

    def add(self, connection: Any) -> None:
        """Add a connection.

        Raises:
            httpcore.ConnectError: The client was closed while this connection was being opened.
        """
        self._open.add(connection)
        if self.closed:
            self.discard(connection)
            raise httpcore.ConnectError("The client was closed")

    def discard(self, connection: Any) -> None:
        """Remove a closed connection."""
        self._open.discard(connection)

    def __iter__(self) -> Iterator[Any]:
        return iter(list(self._open))

    def shut_down(self) -> None:
        """Shut down all connections, which wakes their readers and writers. Does nothing in a forked child."""
        self.closed = True
        if self._pid == os.getpid():  # otherwise the connections are also the parent's
            for connection in self:
                shut_down(connection.get_extra_info("socket"))


def shut_down(sock: Any) -> None:
    """Shut down a connection in both directions, which wakes every waiting thread. The socket remains to be closed."""
    with suppress(OSError):  # already shut down
        # An SSLSocket's own method would destroy its TLS state while a thread reads.
        (socket.socket.shutdown if isinstance(sock, socket.socket) else type(sock).shutdown)(sock, socket.SHUT_RDWR)


def shut_down_later(response: httpx.Response, seconds: float) -> threading.Timer | None:
    """Bound a read on a connection without deadlines, by shutting it down from another thread.

    Returns:
        The timer, to be cancelled after the read; ``None`` if the connection has no known socket.
    """
    stream = response.extensions.get("network_stream")
    sock = stream.get_extra_info("socket") if stream is not None else None
    if sock is None:
        return None
    timer = threading.Timer(seconds, shut_down, (sock,))
    timer.daemon = True
    timer.start()
    return timer


class SyncBackend(httpcore.NetworkBackend):
    """Opens connections for sync calls."""

    def __init__(self) -> None:
        self.connections = OpenConnections()
        self._tcp = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        """Open a connection."""
        stream = self._tcp.connect_tcp(host, port, timeout, local_address, socket_options)
        return _Connection(stream, self.connections)


class _Connection(httpcore.NetworkStream):
    def __init__(self, stream: httpcore.NetworkStream, connections: OpenConnections) -> None:
        self._stream = stream
        self._connections = connections
        self._unread = Unread()
        #: Held while a thread reads or writes. If the socket were closed then, another connection could get its file
        #: descriptor, and the thread would read that one's bytes.
        self._in_use = threading.Lock()
        #: Deadline of the answer being read. Without one, the first read after a request sets it, so that neither a
        #: slow head nor "100 Continue" extends the time until the answer begins.
        self.deadline: Deadline | None = None
        try:
            connections.add(self)
        except httpcore.ConnectError:
            stream.close()
            raise

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        if self.deadline is None:
            self.deadline = Deadline(timeout)
        timeout = self.deadline.bound(timeout)
        if timeout is not None and timeout <= 0:
            raise httpcore.ReadTimeout("The deadline passed")
        if not self._unread:
            try:
                with self._in_use:
                    data = self._stream.read(max_bytes, timeout)
            except ValueError as exc:  # raised by an SSLSocket that another thread closed
                raise httpcore.ReadError(str(exc)) from exc
            if data.find(b"HTTP/", 1) < 0:
                return data
            self._unread.add(data)
        return self._unread.take(max_bytes)

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self.deadline = None
        try:
            with self._in_use:
                for start in range(0, len(buffer), _SLICE):
                    self._stream.write(buffer[start : start + _SLICE], timeout)
        except ValueError as exc:
            raise httpcore.WriteError(str(exc)) from exc

    def close(self) -> None:
        """Close, after waking a thread that reads or writes."""
        self._connections.discard(self)
        if not self._in_use.acquire(blocking=False):
            shut_down(self._stream.get_extra_info("socket"))
            self._in_use.acquire()
        try:
            self._stream.close()
        finally:
            self._in_use.release()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        stream = self._stream.start_tls(ssl_context, server_hostname, timeout)
        self._connections.discard(self)
        return _Connection(stream, self._connections)

    def get_extra_info(self, info: str) -> Any:
        if info == "is_readable" and (self._unread or self._unread.is_suspect):
            return True
        return self._stream.get_extra_info(info)
