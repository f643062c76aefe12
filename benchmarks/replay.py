"""The replay server: fixed bytes over keep-alive HTTP/1.1, in a separate process, so that its work is not measured.

The path selects the answer; its end selects the dialect (Chat Completions, LLM Engine's or TGI's):

- ``/burst/400/...``: 400 pieces in HTTP chunks of many events, without a pause;
- ``/single/400/1/...``: one event per HTTP chunk, each after a pause of 1 ms, so that the client reads each one
  separately, as from a generating model;
- ``/held/...``: the first events of a stream that then stalls;
- ``/call/200000/...``: a whole answer with that many characters of text.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING

from benchmarks.answers import body_frames, call_body

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["replay_server"]

_HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nX-Request-Id: bench\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n"
)
_NOT_FOUND = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"


@contextmanager
def replay_server() -> Iterator[str]:
    """Run the server; yield its address, without a path."""
    command = [sys.executable, "-m", "benchmarks.replay"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            port = process.stdout.readline().strip()
            if not port:
                raise RuntimeError("The replay server did not start; see its error above.")
            yield f"http://127.0.0.1:{port}"
        finally:
            process.stdin.close()  # tells it to stop; it also notices if this process dies


_frames = cache(body_frames)


@cache
def _burst(count: int, dialect: str) -> bytes:
    return _HEAD + b"".join(_frames(count, burst=True, dialect=dialect))


@cache
def _whole(size: int) -> bytes:
    body = call_body(size)
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body


class _Server:
    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                await reader.readexactly(_content_length(head))
                await self._answer(head.split(b" ", 2)[1].decode(), reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass  # the client has left, or the benchmark is over
        finally:
            writer.close()

    async def _answer(self, path: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        _, kind, size, *rest = path.split("/")
        dialect = "tgi" if path.endswith("generate_stream") else "engine" if "completions-stream" in path else "chat"
        if kind == "burst":
            writer.write(_burst(int(size), dialect))
        elif kind == "call":
            writer.write(_whole(int(size)))
        elif kind == "single":
            frames, pause = _frames(int(size), burst=False, dialect=dialect), float(rest[0]) / 1000
            writer.write(_HEAD)
            for frame in frames[:-1]:
                await asyncio.sleep(pause)
                writer.write(frame)
            writer.write(frames[-1])
        elif kind == "held":
            writer.write(_HEAD + b"".join(_frames(8, burst=False, dialect=dialect)[:4]))
            await reader.read()  # until the client leaves
        else:
            writer.write(_NOT_FOUND)
        await writer.drain()


def _content_length(head: bytes) -> int:
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    return 0


async def _serve() -> None:
    server = await asyncio.start_server(_Server().handle, "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    server.close()


if __name__ == "__main__":
    asyncio.run(_serve())
