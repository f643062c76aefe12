"""Connections of sync calls, and what they share with those of async calls.

``network_backend`` is httpcore's public way to hand in connections. linkspan's own add four things to httpcore's:
a deadline over several reads, an end that wakes whoever reads, a request sent in slices (so that a timeout bounds the
silence of a slow reader and not a whole upload), and :class:`Unread`.
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
    from collections.abc import Iterable

__all__ = ["OpenConnections", "SyncBackend", "Unread", "shut_down"]

#: Bytes of a request that have one write timeout.
_SLICE = 64 * 1024
#: How often bytes that arrived together are handed out apart, before their connection is taken for unusable instead.
_MOST_PARTS = 16


class Unread:
    """Bytes that arrived and have not been read.

    A server may send more answers than it was asked for. httpcore would take what it read too much for the answer to
    the next request of that connection, and every later answer would be one behind. So a read ends where another
    answer may begin. Whatever belongs to this answer is read on; what does not stays here, and a connection with bytes
    left over is not used again.
    """

    __slots__ = ("_at", "_data", "_parts", "is_suspect")

    def __init__(self) -> None:
        self._data = b""
        self._at = 0
        self._parts = 0
        self.is_suspect = False  # too many beginnings to tell them apart: the connection must not be used again

    def __len__(self) -> int:
        return len(self._data) - self._at

    def add(self, data: bytes) -> None:
        """Keep what arrived."""
        self._data = self._data[self._at :] + data if self._at < len(self._data) else data
        self._at = 0
        self._parts = 0

    def take(self, max_bytes: int) -> bytes:
        """Return the next bytes: all, but for what may be another answer."""
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
    """The open connections of one client, so that all of them can be ended at once.

    Attributes:
        closed: Whether the client was closed. No connection is opened any more.
    """

    def __init__(self) -> None:
        self.closed = False
        self._pid = os.getpid()
        self._open: set[Any] = set()
        "".encode("idna")  # loads here what sockets need for a host's name: a fork waits for it

    def add(self, connection: Any) -> None:
        """Note a connection.

        Raises:
            httpcore.ConnectError: The client was closed while this connection was being made.
        """
        self._open.add(connection)
        if self.closed:
            self.discard(connection)
            raise httpcore.ConnectError("The client was closed")

    def discard(self, connection: Any) -> None:
        """Forget a connection that was closed."""
        self._open.discard(connection)

    def shut_down(self) -> None:
        """End all connections, so that whoever reads or writes comes back. Does nothing in a forked child."""
        self.closed = True
        if self._pid == os.getpid():  # otherwise the connections are the parent's, too
            for connection in list(self._open):
                shut_down(connection.get_extra_info("socket"))


def shut_down(sock: Any) -> None:
    """End a connection in both directions, and wake every thread that waits for it. The socket stays to be closed."""
    with suppress(OSError):  # ended already
        # An SSLSocket's own method takes its TLS state away from under the thread that reads.
        (socket.socket.shutdown if isinstance(sock, socket.socket) else type(sock).shutdown)(sock, socket.SHUT_RDWR)


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
        #: Held while a thread reads or writes. Were the socket closed then, another connection could be given its
        #: number, and that thread would take the other one's bytes.
        self._in_use = threading.Lock()
        #: Of the answer that is being read. Without one the first read after a request sets it: until the answer
        #: begins, neither a slow head nor "100 Continue" prolongs the time.
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
            except ValueError as exc:  # what an SSLSocket raises that another thread closed
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
        """Close; a thread that reads or writes comes back first."""
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
