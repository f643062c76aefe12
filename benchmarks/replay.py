"""The replay server: fixed bytes over keep-alive HTTP/1.1, in a process of its own, so that its work is not measured.

``/burst/...`` sends an answer in HTTP chunks of many events and without a pause, ``/single/...`` one event per HTTP
chunk, each with a pause before it, so that the client reads each one for itself, as from a model that is generating.
"""

from __future__ import annotations

import argparse
import asyncio
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from benchmarks.answers import body_frames

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["replay_server"]

_HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nX-Request-Id: bench\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n"
)
_NOT_FOUND = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"


@contextmanager
def replay_server(chunks: int, pause: float) -> Iterator[str]:
    """Run the server; yield its address, without a path.

    Args:
        chunks: Pieces of text in each answer.
        pause: Seconds between two events that come one by one.
    """
    command = [sys.executable, "-m", "benchmarks.replay", "--chunks", str(chunks), "--pause", str(pause)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            port = process.stdout.readline().strip()
            if not port:
                raise RuntimeError("The replay server did not start; its error is above.")
            yield f"http://127.0.0.1:{port}"
        finally:
            process.stdin.close()  # its sign to end; it sees it too if this process dies


class _Server:
    def __init__(self, chunks: int, pause: float) -> None:
        self._burst = b"".join(body_frames(chunks, burst=True))
        self._frames = body_frames(chunks, burst=False)
        self._pause = pause

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                await reader.readexactly(_content_length(head))
                await self._answer(head.split(b" ", 2)[1], writer)
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass  # the client has left, or the benchmark is over
        finally:
            writer.close()

    async def _answer(self, path: bytes, writer: asyncio.StreamWriter) -> None:
        if path.startswith(b"/burst/"):
            writer.write(_HEAD + self._burst)
        elif path.startswith(b"/single/"):
            writer.write(_HEAD)
            for frame in self._frames[:-1]:
                await asyncio.sleep(self._pause)
                writer.write(frame)
            writer.write(self._frames[-1])
        else:
            writer.write(_NOT_FOUND)
        await writer.drain()


def _content_length(head: bytes) -> int:
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    return 0


async def _serve(chunks: int, pause: float) -> None:
    server = await asyncio.start_server(_Server(chunks, pause).handle, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    server.close()


def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--chunks", type=int, required=True)
    parser.add_argument("--pause", type=float, required=True)
    arguments = parser.parse_args()
    asyncio.run(_serve(arguments.chunks, arguments.pause))


if __name__ == "__main__":
    _main()
