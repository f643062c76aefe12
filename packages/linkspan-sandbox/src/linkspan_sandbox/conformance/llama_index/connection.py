"""Points 10 to 17: connections, streams that break, retries, event loops, concurrency and cancellation."""

from __future__ import annotations

import asyncio
import re
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from llama_index.core.base.llms.types import ChatMessage

from linkspan_sandbox import Cut, EndEarly, ErrorEvent, HTTPError, Reply, Stall
from linkspan_sandbox.conformance.llama_index.base import STREAMS, WAYS, LLMSuite, Script, ask, each, last, text_of
from linkspan_sandbox.conformance.llama_index.relay import Relay
from linkspan_sandbox.conformance.needs import needs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["ConnectionTests"]

PIECES = ["Grüße", " vom", " Landesteg", " 🚢"]
TEXT = "".join(PIECES)
AT_ONCE = 20
#: Seconds; more than the usual first delay of half a second, which would prove nothing.
RETRY_AFTER = 0.6


def _byte_by_byte(body: bytes) -> Iterable[bytes]:
    return [body[place : place + 1] for place in range(len(body))]


def _crlf(body: bytes) -> Iterable[bytes]:
    return [body.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")]


def _comments(body: bytes) -> Iterable[bytes]:
    return [b": hello\n\n", re.sub(rb"(?m)^data:", b": a comment\nevent: message\nretry: 5\ndata:", body)]


def _without_spaces(body: bytes) -> Iterable[bytes]:
    return [re.sub(rb"(?m)^data: ", b"data:", body)]


def _without_done(body: bytes) -> Iterable[bytes]:
    return [re.sub(rb"(?m)^data: ?\[DONE\]\r?\n\r?\n", b"", body)]


def _with_broken_json(body: bytes) -> Iterable[bytes]:
    return [re.sub(rb"(?m)^data: ?\{", b'data: {"broken": \n\ndata: {', body, count=1)]


_WRITTEN_OTHERWISE = [_byte_by_byte, _crlf, _comments, _without_spaces, _without_done]


class ConnectionTests(LLMSuite):
    """How the class treats its connections."""

    # ------------------------------------------------------------------ streams

    @each(STREAMS)
    def test_leaving_a_stream_closes_its_connection(self, make: Callable[..., Any], script: Script, way: str) -> None:
        """Point 10: closing a stream early releases the connection, and the server stops."""
        script.reply(Reply(PIECES, fault=Stall(after=2)))
        llm = make()
        subject: Any = [ChatMessage("x")] if way.endswith("chat") else "x"

        async def leave() -> None:
            stream = await getattr(llm, way)(subject)
            await stream.__anext__()
            await stream.aclose()
            assert await asyncio.to_thread(self._first_is_over, script)

        if way.startswith("a"):
            asyncio.run(leave())
        else:
            stream = getattr(llm, way)(subject)
            next(stream)
            stream.close()
            assert self._first_is_over(script)
        assert script.sandbox.requests[0].client_left

    @staticmethod
    def _first_is_over(script: Script) -> bool:
        return script.sandbox.requests[0].wait_finished(60)

    @each(STREAMS)
    @pytest.mark.parametrize(
        "fault",
        [ErrorEvent(after=2), Cut(after=2), pytest.param(EndEarly(after=2), marks=needs("tells_of_early_end"))],
        ids=lambda fault: type(fault).__name__,
    )
    def test_a_broken_stream_raises_after_its_text(
        self, make: Callable[..., Any], script: Script, way: str, fault: Any
    ) -> None:
        """Point 11: an error, a cut and an early end in a stream raise, after the text so far was yielded."""
        script.reply(Reply(PIECES, fault=fault))
        seen = _read_until_it_fails(make(), way)
        assert seen == "".join(PIECES[:2])

    @each(STREAMS)
    @pytest.mark.parametrize("rewrite", _WRITTEN_OTHERWISE, ids=lambda rewrite: rewrite.__name__.strip("_"))
    def test_events_may_be_written_otherwise(
        self, make: Callable[..., Any], script: Script, way: str, rewrite: Callable[[bytes], Iterable[bytes]]
    ) -> None:
        """Point 12: CRLF, comments, other fields, no space, split UTF-8 and no ``[DONE]`` make no difference."""
        script.reply(Reply(PIECES))
        with Relay(script.sandbox.url, rewrite=rewrite) as relay:
            assert text_of(last(make(through=relay.url), way)) == TEXT

    @each(STREAMS)
    def test_a_garbled_event_raises(self, make: Callable[..., Any], script: Script, way: str) -> None:
        """Point 12: an event that is not JSON raises; it does not leave a gap in the text."""
        script.reply(Reply(PIECES))
        with (
            Relay(script.sandbox.url, rewrite=_with_broken_json) as relay,
            pytest.raises(Exception),  # noqa: B017, PT011  # each package has its own
        ):
            ask(make(through=relay.url), way)
        assert script.requests == 1

    # ------------------------------------------------------------------ retries

    @each(WAYS)
    def test_retries_are_as_many_as_said(self, make: Callable[..., Any], script: Script, way: str) -> None:
        """Point 13: ``max_retries=2`` sends exactly three requests to a server that is down."""
        script.reply(Reply(fault=HTTPError(503, headers={"retry-after": "0"})))
        with pytest.raises(Exception):  # noqa: B017, PT011  # each package has its own
            ask(make(max_retries=2), way)
        assert script.requests == 3

    @each(WAYS)
    def test_a_retry_may_succeed(self, make: Callable[..., Any], script: Script, way: str) -> None:
        """Point 13: a request that gets 429 is retried."""
        script.reply(Reply(fault=HTTPError(429, headers={"retry-after": "0"})), times=1)
        script.reply(TEXT)
        assert text_of(last(make(max_retries=1), way)) == TEXT
        assert script.requests == 2

    @pytest.mark.parametrize("way", ["chat", "astream_chat"])
    def test_retry_after_is_obeyed(self, make: Callable[..., Any], script: Script, way: str) -> None:
        """Point 13: retries wait as long as the server says."""
        script.reply(Reply(fault=HTTPError(429, headers={"retry-after": str(RETRY_AFTER)})), times=1)
        script.reply(TEXT)
        start = time.monotonic()
        ask(make(max_retries=1), way)
        assert time.monotonic() - start >= RETRY_AFTER

    @each(WAYS)
    @pytest.mark.parametrize("status", [400, 401, 404])
    def test_what_cannot_succeed_is_not_repeated(
        self, make: Callable[..., Any], script: Script, way: str, status: int
    ) -> None:
        """Point 13: an invalid request is not retried."""
        script.reply(Reply(fault=HTTPError(status)))
        with pytest.raises(Exception):  # noqa: B017, PT011  # each package has its own
            ask(make(max_retries=2), way)
        assert script.requests == 1

    @each(STREAMS)
    def test_no_retry_after_the_first_byte(self, make: Callable[..., Any], script: Script, way: str) -> None:
        """Point 13: a stream that has begun is not retried, because its reader would see the text twice."""
        script.reply(Reply(PIECES, fault=Cut(after=1)))
        assert _read_until_it_fails(make(max_retries=2), way) == PIECES[0]
        assert script.requests == 1

    # ------------------------------------------------------------------ loops, threads, tasks

    @pytest.mark.parametrize("retries", [0, 2])
    def test_one_object_in_two_event_loops(self, make: Callable[..., Any], script: Script, retries: int) -> None:
        """Point 14: an object works in one event loop after another, and each call is sent (and billed) once."""
        script.reply(TEXT)
        llm = make(max_retries=retries)
        for _ in range(2):
            assert asyncio.run(llm.acomplete("x")).text == TEXT
        assert script.requests == 2

    def test_sync_calls_in_a_running_loop(self, make: Callable[..., Any], script: Script) -> None:
        """Point 15: notebooks call sync methods inside a running event loop."""
        script.reply(TEXT)
        llm = make()

        async def main() -> list[str]:
            return [llm.complete("x").text, "".join(chunk.delta for chunk in llm.stream_complete("x"))]

        assert asyncio.run(main()) == [TEXT, TEXT]

    @pytest.mark.parametrize("way", ["achat", "acomplete", "astream_chat", "astream_complete"])
    def test_async_calls_overlap(self, make: Callable[..., Any], script: Script, way: str) -> None:
        """Point 16: twenty async calls run concurrently; the relay answers none before all have arrived."""
        script.reply(TEXT)

        async def one(llm: Any) -> str:
            subject: Any = [ChatMessage("x")] if way.endswith("chat") else "x"
            answer = await getattr(llm, way)(subject)
            if "stream" in way:
                return text_of([chunk async for chunk in answer][-1])
            return text_of(answer)

        async def all_of_them(llm: Any) -> list[str]:
            try:
                return list(await asyncio.gather(*(one(llm) for _ in range(AT_ONCE))))
            finally:
                if hasattr(llm, "aclose"):
                    await llm.aclose()

        with Relay(script.sandbox.url, hold=AT_ONCE) as relay:
            assert asyncio.run(all_of_them(make(through=relay.url))) == [TEXT] * AT_ONCE

    def test_threads_overlap(self, make: Callable[..., Any], script: Script) -> None:
        """Point 16: so do twenty sync calls of one object from threads."""
        script.reply(TEXT)
        with Relay(script.sandbox.url, hold=AT_ONCE) as relay, ThreadPoolExecutor(AT_ONCE) as pool:
            llm = make(through=relay.url)
            texts = list(pool.map(lambda _: llm.complete("x").text, range(AT_ONCE)))
        assert texts == [TEXT] * AT_ONCE

    @pytest.mark.parametrize("way", ["achat", "acomplete", "astream_chat", "astream_complete"])
    def test_cancelling_stops_the_server(self, make: Callable[..., Any], script: Script, way: str) -> None:
        """Point 17: a cancelled task closes its connection at once."""
        script.reply(Reply(PIECES, fault=Stall(after=1)))
        llm = make()

        async def cancel() -> bool:
            task = asyncio.ensure_future(_read(llm, way))
            await asyncio.to_thread(script.sandbox.requests.wait_for, 1)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            return await asyncio.to_thread(self._first_is_over, script)

        assert asyncio.run(cancel())
        assert script.sandbox.requests[0].client_left


async def _read(llm: Any, way: str) -> None:
    subject: Any = [ChatMessage("x")] if way.endswith("chat") else "x"
    answer = await getattr(llm, way)(subject)
    if "stream" in way:
        async for _ in answer:
            pass


def _read_until_it_fails(llm: Any, way: str) -> str:
    """Read a stream that must fail; return the last chunk's text."""
    subject: Any = [ChatMessage("x")] if way.endswith("chat") else "x"
    seen = [""]

    async def aread() -> None:
        async for chunk in await getattr(llm, way)(subject):
            seen[0] = text_of(chunk)

    def read() -> None:
        if way.startswith("a"):
            asyncio.run(aread())
        else:
            for chunk in getattr(llm, way)(subject):
                seen[0] = text_of(chunk)

    with pytest.raises(Exception):  # noqa: B017, PT011  # each package has its own
        read()
    return seen[0]
