"""A relay between a client and the sandbox that damages, rearranges or delays answers.

It works on bytes, so it supports every API.
"""

from __future__ import annotations

import contextlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import httpx

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["Relay"]

#: Longest time that a held request waits for the others, in seconds; only a failing test reaches it.
PATIENCE = 10.0


class Relay:
    """Forwards requests to a server; use it as a context manager.

    Args:
        target: Root of the server, such as ``sandbox.url``.
        rewrite: Receives the bytes of a whole answer's body and returns those to send, one chunk per item.
        hold: Delay each answer until this many requests have arrived. After ten seconds, all get status 504.

    Attributes:
        url: Root of the relay, to use instead of ``target``.
    """

    def __init__(
        self, target: str, *, rewrite: Callable[[bytes], Iterable[bytes]] | None = None, hold: int | None = None
    ) -> None:
        relay = self
        # There is no TLS here, and loading the certificate authorities takes longer than a test.
        self._client = httpx.Client(base_url=target, timeout=30, trust_env=False, verify=False)  # noqa: S501
        self._rewrite = rewrite or (lambda body: [body])
        self._together = threading.Barrier(hold, timeout=PATIENCE) if hold else None

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:  # http.server's name
                relay._pass_on(self)  # a class of its own

            def log_message(self, *_: Any) -> None:
                """Log nothing."""

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            #: Many clients may connect at once.
            request_queue_size = 128

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Relay:  # noqa: PYI034  # Self needs Python 3.11
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._client.close()

    def _pass_on(self, request: BaseHTTPRequestHandler) -> None:
        body = request.rfile.read(int(request.headers.get("content-length", 0)))
        if self._together is not None:
            try:
                self._together.wait()
            except threading.BrokenBarrierError:
                request.send_error(504, "The other requests did not arrive")
                return
        headers = {name: value for name, value in request.headers.items() if name.lower() not in _OF_A_CONNECTION}
        answer = self._client.post(request.path, content=body, headers=headers)
        with contextlib.suppress(ConnectionError):  # the client may leave before the end
            request.send_response(answer.status_code)
            request.send_header("content-type", answer.headers.get("content-type", "application/json"))
            request.send_header("transfer-encoding", "chunked")
            request.end_headers()
            for piece in self._rewrite(answer.content):
                request.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
                request.wfile.flush()
            request.wfile.write(b"0\r\n\r\n")


_OF_A_CONNECTION = frozenset({"accept-encoding", "connection", "content-length", "host", "transfer-encoding"})
