"""Streams of events over real sockets: opening, reading on, ending, being left."""

from __future__ import annotations

import asyncio
import gzip
import threading
import zlib
from contextlib import closing

import httpx
import pytest

from linkspan.errors import (
    APIConnectionError,
    APITimeoutError,
    InterruptedStreamError,
    InvalidResponseError,
    RateLimitError,
    ServerError,
)
from linkspan.transport import HttpClient
from tests.support.loopback import (
    END,
    PATIENCE,
    Close,
    Cut,
    Delay,
    Repeat,
    Until,
    UntilClosed,
    chunk,
    event,
    event_stream,
    head,
    http,
)
from tests.transport.conftest import Face

DONE = b"[DONE]"


def is_done(event):
    return event == DONE


async def test_events_arrive_in_order_each_as_soon_as_it_is_sent(server, face, ask):
    go = threading.Event()
    server.answer(head(), event(b"one"), Until(go), event(b"two"), event(DONE), END)

    def release_after_first(received):
        if received == b"one":
            go.set()  # the second event is not sent before the first has been handed out
        return False

    assert await face.stream(ask(), stop=release_after_first) == [b"one", b"two", DONE]


async def test_several_events_in_one_chunk_and_one_event_in_several(server, face, ask):
    server.answer(head(), chunk(b"data: a\n\ndata: b\n\nda"), chunk(b"ta: c"), chunk(b"\n\n"), END)
    assert await face.stream(ask()) == [b"a", b"b", b"c"]


async def test_last_event_without_its_blank_line(server, face, ask):
    server.answer(head(), event(b"one"), chunk(b"data: two"), END)
    assert await face.stream(ask()) == [b"one", b"two"]


async def test_only_event_without_its_blank_line(server, face, ask):
    server.answer(head(), chunk(b"data: one"), END)
    assert await face.stream(ask()) == [b"one"]


async def test_headers_of_the_answer_are_at_hand(server, face, ask):
    server.answer(head(headers={"X-Request-Id": "r-1"}), event(b"one"), END)
    if face.name == "sync":
        with face.client.stream(ask()) as events:
            headers = events.headers
    else:
        async with face.client.astream(ask()) as events:
            headers = events.headers
    assert headers["x-request-id"] == "r-1"


async def test_accept_is_set_unless_the_caller_did(server, face, ask):
    server.always(*event_stream(b"one"))
    await face.stream(ask())
    await face.stream(ask(headers={"Accept": "application/json"}))
    assert [request.headers["accept"] for request in server.requests] == ["text/event-stream", "application/json"]


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
async def test_compressed_streams_are_decompressed_as_they_come(server, face, ask, encoding):
    compressor = zlib.compressobj(wbits=31 if encoding == "gzip" else 15)

    def packed(data):
        return chunk(compressor.compress(data) + compressor.flush(zlib.Z_SYNC_FLUSH))

    go = threading.Event()
    first, second, last = packed(b"data: one\n\n"), packed(b"data: two\n\n"), chunk(compressor.flush())
    server.answer(head(headers={"content-encoding": encoding}), first, Until(go), second, last, END)
    assert await face.stream(ask(), stop=lambda _: go.set()) == [b"one", b"two"]


@pytest.mark.parametrize("padding", [b"", b"\0" * 20, b"\x1f"], ids=["no padding", "zeros", "half a header"])
async def test_every_member_of_gzip_is_read(server, face, ask, padding):
    members = [gzip.compress(data) for data in (b"data: one\n", b"\n", b"", b"data: two\n\n")]
    packed = b"".join(members) + padding
    pieces = [chunk(packed[at : at + 1]) for at in range(len(packed))]
    server.answer(head(headers={"content-encoding": "gzip"}), *pieces, END)
    server.answer(http(200, packed, headers={"content-encoding": "gzip"}))
    assert await face.stream(ask()) == [b"one", b"two"]
    assert (await face.send(ask())).content == b"data: one\n\ndata: two\n\n"


async def test_whole_answer_that_cannot_be_decompressed(server, face, ask):
    server.answer(http(200, b"plain", headers={"content-encoding": "gzip"}))
    with pytest.raises(InvalidResponseError, match="could not be decompressed"):
        await face.send(ask())


async def test_a_body_of_blanks_is_no_stream(server, face, ask):
    server.answer(head(), *(chunk(b" " * 65536) for _ in range(17)), END)
    with pytest.raises(InvalidResponseError, match="not a stream"):
        await face.stream(ask())


async def test_stream_that_cannot_be_decompressed(server, face, ask):
    server.answer(head(headers={"content-encoding": "gzip"}), chunk(b"data: plain\n\n"), END)
    with pytest.raises(InvalidResponseError, match="decompressed"):
        await face.stream(ask())


async def test_closing_mid_stream_event_by_cut_is_an_interruption(server, face, ask):
    server.answer(head(), event(b"one"), event(b"two"), Cut())
    with pytest.raises(InterruptedStreamError, match="broke off") as caught:
        await face.stream(ask(max_retries=2))
    assert face.received == [b"one", b"two"]
    assert caught.value.__cause__ is not None
    assert caught.value.partial is None
    assert caught.value.provider == "test"
    assert len(server.requests) == 1  # what was handed out is not asked for again


async def test_closing_in_order_without_the_last_chunk_is_an_interruption(server, face, ask):
    server.answer(head(), event(b"one"), Close())
    with pytest.raises(InterruptedStreamError, match="broke off"):
        await face.stream(ask())
    assert face.received == [b"one"]


async def test_cut_before_the_first_event_is_a_connection_error_and_retried(server, face, ask, waits):
    server.answer(head(), chunk(b": ping\n\n"), Cut())
    server.answer(*event_stream(b"one"))
    assert await face.stream(ask(max_retries=1)) == [b"one", DONE]

    server.answer(head(), Cut())
    with pytest.raises(APIConnectionError, match="broke"):
        await face.stream(ask())


@pytest.mark.usefixtures("patient_connect")
async def test_silence_before_the_first_event_is_a_timeout(server, face, ask, waits):
    server.always(head(), UntilClosed())
    with pytest.raises(APITimeoutError, match=r"did not answer within .* Raise timeout="):
        await face.stream(ask(timeout=0.1, max_retries=1))
    assert len(server.wait_requests(2)) == 2


@pytest.mark.usefixtures("patient_connect")
async def test_comments_do_not_hide_that_the_first_event_does_not_come(server, face, ask):
    server.answer(head(), Repeat(chunk(b": ping\n\n")))
    with pytest.raises(APITimeoutError):
        await face.stream(ask(timeout=0.2))
    assert server.wait_closed()


async def test_first_event_may_take_longer_than_a_stall(server, face, ask):
    server.answer(head(), chunk(b": ping\n\n"), Delay(0.3), chunk(b": ping\n\n"), event(b"one") + END)
    assert await face.stream(ask(timeout=PATIENCE, stall_timeout=0.1)) == [b"one"]


async def test_comments_do_not_hide_a_stalled_stream(server, face, ask):
    server.answer(head(), event(b"one"), Repeat(chunk(b": ping\n\n")))
    with pytest.raises(InterruptedStreamError, match=r"stalled: no event for 0\.\d s"):
        await face.stream(ask(stall_timeout=0.2))
    assert face.received == [b"one"]
    assert server.wait_closed()


# The same timeout bounds the wait for the first event. Where a busy machine misses that, the call is made again.


async def test_timeout_bounds_the_silence_between_events_unless_stall_timeout_is_set(server, face, ask, waits):
    server.always(head(), event(b"one"), Repeat(chunk(b": ping\n\n")))
    with pytest.raises(InterruptedStreamError, match="stalled"):
        await face.stream(ask(timeout=0.2, max_retries=100))


async def test_silence_within_a_stream(server, face, ask, waits):
    server.always(head(), event(b"one"), UntilClosed())
    with pytest.raises(InterruptedStreamError, match="stalled: no event for 0"):
        await face.stream(ask(timeout=0.1, max_retries=100))


async def test_pieces_of_an_event_do_not_hide_that_it_never_ends(server, face, ask):
    server.answer(head(), event(b"one"), chunk(b"data: "), Repeat(chunk(b"x")))
    with pytest.raises(InterruptedStreamError, match="stalled"):
        await face.stream(ask(stall_timeout=0.2))


async def test_time_that_the_reader_takes_does_not_count(server, face, ask, clock):
    go = {b"one": threading.Event(), b"two": threading.Event()}
    ping = chunk(b": ping\n\n")
    server.answer(
        head(), event(b"one"), Until(go[b"one"]), event(b"two"), ping, Until(go[b"two"]), event(b"three"), END
    )

    def think(received):
        clock.ahead += 1000  # longer than may pass between two events
        if received in go:
            go[received].set()
        return False

    assert await face.stream(ask(stall_timeout=PATIENCE), stop=think) == [b"one", b"two", b"three"]


async def test_each_event_starts_the_time_anew(server, face, ask, clock):
    go = [threading.Event() for _ in range(5)]
    server.answer(head(), *(step for number, one in enumerate(go) for step in (event(b"%d" % number), Until(one))), END)

    def pass_time(received):
        # Before the next read, as if the time had passed while it waited.
        clock.ahead += PATIENCE / 2
        go[int(received)].set()
        return False

    assert len(await face.stream(ask(stall_timeout=PATIENCE), stop=pass_time)) == 5  # longer than that in all


async def test_connection_reads_as_usual_after_a_stream_with_a_stall_timeout(server, face, ask):
    server.answer(b"".join(event_stream(b"one")))
    server.answer(Delay(0.3), http(200, b"late"))
    await face.stream(ask(stall_timeout=0.1))
    answer = await face.send(ask(timeout=PATIENCE))
    assert answer.content == b"late"
    assert server.connections == 1


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/json", b'{"choices":[]}'),
        ("application/json", b"{}"),
        ("text/html", b"<html>maintenance</html>"),
        ("text/event-stream", b'{"error":"not a stream at all"}'),
        ("text/event-stream", b'\n\n{"error":"not a stream at all"}\n'),
        ("text/plain", b"database is down"),
        ("text/plain", b"da"),
        (None, b"Bad gateway"),
    ],
)
async def test_something_else_where_a_stream_was_asked_for(server, face, ask, content_type, body):
    server.answer(http(200, body, content_type))
    with pytest.raises(InvalidResponseError) as caught:
        await face.stream(ask())
    assert caught.value.body == body.decode()


@pytest.mark.parametrize("body", [b"", b"\n\n", b": only a comment\n\n", b"event: ping\n\n"])
async def test_stream_without_any_event(server, face, ask, body):
    server.answer(http(200, body, "text/event-stream"))
    with pytest.raises(InvalidResponseError):
        await face.stream(ask())


@pytest.mark.parametrize("content_type", ["text/plain", "application/json", "application/octet-stream", None])
async def test_events_under_another_content_type(server, face, ask, content_type):
    server.answer(head(content_type=content_type), chunk(b"\r\nd"), chunk(b"ata: one\n\n"), END)
    assert await face.stream(ask()) == [b"one"]


async def test_byte_order_mark_before_the_first_event(server, face, ask):
    server.answer(head(), chunk(b"\xef"), chunk(b"\xbb\xbfdata: one\n\n"), END)
    assert await face.stream(ask()) == [b"one"]


async def test_foreign_body_without_end_is_read_only_so_far(server, face, ask):
    server.answer(head(content_type="application/json"), chunk(b'{"a":"'), Repeat(chunk(b"x" * 65536), every=0.0))
    with pytest.raises(InvalidResponseError) as caught:
        await face.stream(ask())
    assert len(caught.value.body) == 1024 * 1024
    assert server.wait_closed()


async def test_error_status_whose_body_breaks_off_is_still_that_status(server, face, ask):
    server.answer(head(500, "application/json"), chunk(b'{"error":'), Cut())
    with pytest.raises(ServerError) as caught:
        await face.stream(ask())
    assert caught.value.status_code == 500


async def test_compressed_error_body_of_a_stream(server, face, ask):
    body = gzip.compress(b"too many")
    server.answer(http(429, body, headers={"content-encoding": "gzip"}))
    with pytest.raises(RateLimitError, match="too many"):
        await face.stream(ask())


async def test_first_event_that_is_an_error_counts_as_a_failed_attempt(server, face, ask, waits):
    def event_error(first):
        return ServerError("overloaded", provider="test") if first == b"error" else None

    server.answer(*event_stream(b"error", done=None))
    server.answer(*event_stream(b"one", b"error"))
    assert await face.stream(ask(event_error=event_error, max_retries=1)) == [b"one", b"error", DONE]

    server.answer(*event_stream(b"error", done=None))
    with pytest.raises(ServerError, match="overloaded"):
        await face.stream(ask(event_error=event_error))
    assert len(server.requests) == 3


@pytest.fixture
def patient_drain(monkeypatch):
    monkeypatch.setattr("linkspan.transport.streams.DRAIN_SECONDS", PATIENCE)


async def test_five_drained_streams_use_one_connection(server, face, ask, patient_drain):
    # The last chunk comes a moment after the end marker, when a reader that stops there has left.
    server.always(head(), event(b"one"), event(DONE), Delay(0.03), END)
    for _ in range(5):
        assert await face.stream(ask(), stop=is_done, drain=True) == [b"one", DONE]
    assert len(server.requests) == 5
    assert server.connections == 1


async def test_five_streams_read_to_their_end_use_one_connection(server, face, ask):
    server.always(*event_stream(b"one"))
    for _ in range(5):
        await face.stream(ask())
    assert server.connections == 1


async def test_compressed_streams_are_drained_too(server, face, ask, patient_drain):
    body = gzip.compress(b"data: one\n\ndata: [DONE]\n\n")
    server.always(head(headers={"content-encoding": "gzip"}), chunk(body), Delay(0.03), END)
    for _ in range(3):
        assert await face.stream(ask(), stop=is_done, drain=True) == [b"one", DONE]
    assert server.connections == 1


@pytest.mark.parametrize("after", [UntilClosed(), Repeat(event(b"more"))])
async def test_stream_that_does_not_end_after_its_end_marker_is_closed(server, face, ask, after):
    server.answer(head(), event(b"one"), event(DONE), after)
    assert await face.stream(ask(), stop=is_done, drain=True) == [b"one", DONE]
    assert server.wait_closed()


async def test_draining_a_broken_stream_is_no_error(server, face, ask):
    server.answer(head(), event(b"one"), event(DONE), Cut())
    assert await face.stream(ask(), stop=is_done, drain=True) == [b"one", DONE]


async def test_draining_twice_and_after_the_end(server, face, ask):
    server.always(*event_stream(b"one"))
    if face.name == "sync":
        with face.client.stream(ask()) as events:
            assert len([item for batch in events.batches() for item in batch]) == 2
            events.drain()
            events.drain()
            assert [item for batch in events.batches() for item in batch] == []
    else:
        async with face.client.astream(ask()) as events:
            assert len([item async for batch in events.batches() for item in batch]) == 2
            await events.drain()
            await events.drain()
            assert [item async for batch in events.batches() for item in batch] == []


async def test_leaving_the_loop_closes_the_stream(server, face, ask):
    server.answer(head(), event(b"one"), Repeat(event(b"more")))
    assert await face.stream(ask(), stop=lambda _: True) == [b"one"]
    assert server.wait_closed()


async def test_an_exception_of_the_reader_closes_the_stream(server, face, ask):
    server.answer(head(), event(b"one"), Repeat(event(b"more")))

    def fail(_):
        raise KeyError("reader")

    with pytest.raises(KeyError, match="reader"):
        await face.stream(ask(), stop=fail)
    assert server.wait_closed()


def test_a_generator_that_is_closed_or_dropped_closes_the_stream(server, ask):
    server.always(head(), event(b"one"), Repeat(event(b"more")))
    client = HttpClient()

    def answer():
        with client.stream(ask()) as events:
            for batch in events.batches():
                yield from batch

    with closing(answer()) as generator:
        assert next(generator) == b"one"
    assert server.wait_closed(0)

    for _ in answer():
        break
    assert server.wait_closed(1)
    client.close()


async def test_an_async_generator_left_by_break_closes_the_stream(server, ask):
    server.answer(head(), event(b"one"), Repeat(event(b"more")))
    client = HttpClient()

    async def answer():
        async with client.astream(ask()) as events:
            async for batch in events.batches():
                for item in batch:
                    yield item

    async for _ in answer():
        break  # nobody calls aclose(): the event loop does
    assert await asyncio.to_thread(server.wait_closed)
    await client.aclose()


async def test_a_cancelled_task_closes_the_stream(server, ask):
    server.answer(head(), event(b"one"), UntilClosed())
    client = HttpClient()
    first = asyncio.Event()

    async def read():
        async with client.astream(ask()) as events:
            async for _ in events.batches():
                first.set()

    task = asyncio.create_task(read())
    await first.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await asyncio.to_thread(server.wait_closed)
    await client.aclose()


async def test_a_task_cancelled_before_the_first_event_closes_the_stream(server, ask):
    server.answer(head(), UntilClosed())
    client = HttpClient()

    async def read():
        async with client.astream(ask(max_retries=3)):
            pytest.fail("there is no first event")

    task = asyncio.create_task(read())
    await asyncio.to_thread(server.wait_requests, 1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await asyncio.to_thread(server.wait_closed)
    assert len(server.requests) == 1
    await client.aclose()


@pytest.mark.parametrize("end", [[END], [UntilClosed()]], ids=["ends", "stalls"])
@pytest.mark.parametrize("name", ["sync", "async"])
async def test_a_finished_stream_of_a_client_that_was_passed_in_is_read_to_its_end_or_closed(
    request, server, ask, name, end
):
    if end == [END]:
        request.getfixturevalue("patient_drain")
    server.always(head(), event(b"one"), event(b"[DONE]"), *end)
    with httpx.Client(trust_env=False) as client:
        async with httpx.AsyncClient(trust_env=False) as async_client:
            face = Face(name, HttpClient(http_client=client, http_async_client=async_client))
            for _ in range(2):
                received = await face.stream(ask(), stop=is_done, drain=True)
                assert received == [b"one", b"[DONE]"]
            assert server.connections == (1 if end == [END] else 2)


async def test_an_error_whose_body_breaks_off_is_told_by_its_status(server, face, ask):
    server.always(b"HTTP/1.1 503 Busy\r\ncontent-length: 50\r\n\r\nhalf of", Close())
    with pytest.raises(ServerError, match="half of") as caught:
        await face.send(ask())
    assert caught.value.status_code == 503
    with pytest.raises(ServerError, match="half of") as caught:
        await face.stream(ask())
    assert caught.value.status_code == 503


@pytest.mark.parametrize("bits", [zlib.MAX_WBITS, -zlib.MAX_WBITS], ids=["with its header", "without"])
async def test_deflate_that_comes_byte_by_byte(server, face, ask, bits):
    squeezed = zlib.compressobj(wbits=bits)
    data = squeezed.compress(b"a linkspan is a bridge") + squeezed.flush()
    steps = [chunk(data[place : place + 1]) for place in range(len(data))]
    server.always(head(content_type="text/plain", headers={"content-encoding": "identity, deflate"}), *steps, END)
    assert (await face.send(ask())).content == b"a linkspan is a bridge"
