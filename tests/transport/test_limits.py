"""How much a server can make a client read, keep and work."""

from __future__ import annotations

import asyncio
import gzip
import socket
import zlib

import pytest

from linkspan.errors import (
    APITimeoutError,
    ConfigurationError,
    InterruptedStreamError,
    InvalidResponseError,
    ServerError,
)
from linkspan.transport import HttpClient
from linkspan.transport.streams import looks_like_events
from tests.support.loopback import END, PATIENCE, Repeat, chunk, event, head, http

LIMIT = 300_000


def bomb(start: bytes, megabytes: int) -> bytes:
    packer = zlib.compressobj(9, wbits=31)
    blanks = bytes(1_000_000)
    return b"".join([packer.compress(start), *(packer.compress(blanks) for _ in range(megabytes)), packer.flush()])


BOMB = bomb(b"", 20)
GZIP = {"content-encoding": "gzip"}


@pytest.mark.parametrize("layers", [1, 2])
async def test_an_answer_that_grows_when_decompressed(server, face, ask, layers):
    packed = BOMB if layers == 1 else gzip.compress(BOMB)
    server.answer(http(200, packed, headers={"content-encoding": ", ".join(["gzip"] * layers)}))
    with pytest.raises(InvalidResponseError, match="raise max_response_bytes"):
        await face.send(ask(max_response_bytes=LIMIT, max_retries=2))
    assert len(server.requests) == 1


@pytest.mark.parametrize("streamed", [False, True])
async def test_an_error_that_grows_when_decompressed(server, face, ask, streamed):
    server.answer(http(500, BOMB, headers=GZIP))
    bodies = []

    def decode_error(response):
        bodies.append(response.content)
        return ServerError("failed")

    request = ask(decode_error=decode_error)
    with pytest.raises(ServerError):
        await (face.stream(request) if streamed else face.send(request))
    assert len(bodies[0]) == 1024 * 1024


async def test_an_answer_of_exactly_the_limit(server, face, ask):
    server.always(http(200, gzip.compress(bytes(LIMIT)), headers=GZIP))
    assert len((await face.send(ask(max_response_bytes=LIMIT))).content) == LIMIT
    with pytest.raises(InvalidResponseError, match=f"more than {LIMIT - 1} bytes"):
        await face.send(ask(max_response_bytes=LIMIT - 1))


async def test_an_error_body_without_end(server, face, ask):
    server.answer(head(503, "text/plain"), Repeat(chunk(b"x" * 65536), every=0.0))
    with pytest.raises(ServerError) as caught:
        await face.send(ask())
    assert len(caught.value.message) == 1024 * 1024
    assert await asyncio.to_thread(server.wait_closed)


@pytest.mark.parametrize("data", [b"x" * 8192, b"\n" * 8192, b": ping\n\n" * 1024, b"event: ping\n\n" * 512])
@pytest.mark.parametrize("begun", [False, True])
async def test_a_stream_that_sends_much_and_no_event(server, face, ask, data, begun):
    first = [event(b"one"), chunk(b"data: ")] if begun else [chunk(b"data: ")]
    server.answer(head(), *first, Repeat(chunk(data), every=0.0))
    with pytest.raises(InvalidResponseError, match="raise max_response_bytes"):
        await face.stream(ask(max_response_bytes=100_000, timeout=60))
    assert await asyncio.to_thread(server.wait_closed)


async def test_a_small_event_in_a_long_stream_is_not_too_much(server, face, ask):
    server.answer(head(), *[event(b"x" * 50_000) for _ in range(20)], END)
    assert len(await face.stream(ask(max_response_bytes=60_000))) == 20


async def test_the_bytes_of_the_first_event_are_not_counted_for_the_second(server, face, ask):
    halves = [chunk(b"data: " + b"x" * 40_000), chunk(b"x" * 10_000 + b"\n\n")]
    server.answer(head(), *halves * 2, END)
    assert len(await face.stream(ask(max_response_bytes=60_000))) == 2


async def test_an_event_that_grows_when_decompressed(server, face, ask):
    server.answer(head(headers=GZIP), chunk(bomb(b"data: ", 10)), END)
    with pytest.raises(InvalidResponseError, match="raise max_response_bytes"):
        await face.stream(ask(max_response_bytes=LIMIT))


async def test_blanks_one_by_one_before_the_first_event(server, face, ask, monkeypatch):
    looked_at = []

    def look(beginning, content_type):
        looked_at.append(len(beginning))
        return looks_like_events(beginning, content_type)

    monkeypatch.setattr("linkspan.transport.streams.looks_like_events", look)
    server.answer(head(), chunk(b"\n") * 1_000, event(b"one"), END)
    assert await face.stream(ask()) == [b"one"]
    # Each blank once: their square would be half a million.
    assert 1_000 <= sum(looked_at) < 1_100


@pytest.mark.parametrize("streamed", [False, True])
async def test_encodings_that_were_not_asked_for(server, face, ask, streamed):
    for encoding in ("br", "zstd", "gzip, br", "x-unknown"):
        server.answer(http(200, b"data: x\n\n", headers={"content-encoding": encoding}))
        with pytest.raises(InvalidResponseError, match="only gzip, deflate were asked for"):
            await (face.stream(ask()) if streamed else face.send(ask()))
        assert server.requests[-1].headers["accept-encoding"] == "gzip, deflate", encoding


@pytest.mark.parametrize("wbits", [31, 15, -15])
async def test_compressed_answers_cut_anywhere(server, face, ask, wbits):
    packer = zlib.compressobj(wbits=wbits)
    packed = packer.compress(b"an answer " * 20) + packer.flush()
    encoding = {"content-encoding": "gzip" if wbits == 31 else "deflate"}
    server.answer(head(headers=encoding), *(chunk(packed[at : at + 1]) for at in range(len(packed))), END)
    assert (await face.send(ask())).content == b"an answer " * 20


async def test_other_tasks_run_while_one_chunk_becomes_thousands_of_events(server, ask):
    client = HttpClient()
    server.answer(
        http(200, gzip.compress((b"data: " + b"x" * 900 + b"\n\n") * 3_000), "text/event-stream", headers=GZIP)
    )
    turns = 0

    async def count():
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    counter = asyncio.create_task(count())
    async with client.astream(ask()) as events:
        seen = [(len(batch), turns) async for batch in events.batches()]
    counter.cancel()
    await client.aclose()
    assert sum(size for size, _ in seen) == 3_000
    assert len({at for _, at in seen}) > 20


@pytest.mark.usefixtures("patient_connect")
@pytest.mark.parametrize("proxy", [b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n"])
async def test_an_answer_that_never_begins(server, face, ask, proxy):
    server.answer(Repeat(proxy))
    with pytest.raises(APITimeoutError, match="did not answer"):
        await face.send(ask(timeout=0.3))
    assert await asyncio.to_thread(server.wait_closed)


@pytest.mark.usefixtures("patient_connect")
async def test_a_head_that_comes_byte_by_byte(server, face, ask):
    server.answer(b"HTTP/1.1 200 OK\r\nx: ", Repeat(b"y"))
    with pytest.raises(APITimeoutError, match="did not answer"):
        await face.send(ask(timeout=0.3))


async def test_a_slow_answer_is_no_stalled_one(server, face, ask, clock):
    part = b"x" * 300_000  # more than is read at once

    def script(_):
        yield head(content_type="application/json")
        for _ in range(4):
            clock.ahead += 1000  # longer in all than the timeout, while no wait for bytes is
            yield chunk(part)
        yield END

    server.respond = script
    assert (await face.send(ask(timeout=PATIENCE))).content == part * 4


async def test_events_that_carry_nothing_do_not_hide_a_stall(server, face, ask):
    server.answer(head(), event(b"one"), Repeat(event(b"")))

    async def read() -> None:
        if face.name == "sync":
            with face.client.stream(ask(timeout=30, stall_timeout=0.3)) as events:
                for batch in events.batches():
                    if not any(batch):
                        events.silence()
        else:
            async with face.client.astream(ask(timeout=30, stall_timeout=0.3)) as events:
                async for batch in events.batches():
                    if not any(batch):
                        events.silence()

    with pytest.raises(InterruptedStreamError, match="stalled"):
        await read()
    assert await asyncio.to_thread(server.wait_closed)


async def test_cookies_are_kept_within_bounds(server, face, ask):
    for number in range(30):
        server.answer(http(headers={"set-cookie": f"c{number}={'v' * 1200}; Path=/"}))
        await face.send(ask())
    assert max(len(request.headers.get("cookie", "")) for request in server.requests) < 20_000
    assert "cookie" in server.requests[1].headers


@pytest.mark.parametrize("bound", [0, -1])
def test_a_bound_that_is_none(ask, bound):
    with pytest.raises(ConfigurationError, match="max_response_bytes must be 1 or more"):
        ask(max_response_bytes=bound)


async def test_timeout_bounds_connecting(face, ask):
    with socket.create_server(("127.0.0.1", 0)) as listener:  # takes the connection and says nothing
        url = f"https://127.0.0.1:{listener.getsockname()[1]}"
        with pytest.raises(APITimeoutError, match=r"No connection to .* within 0"):
            await face.send(ask(url=url, timeout=0.3))
