"""Cygnet's streams over a real socket: every row of the reference's table (7.1), stop texts and blocked answers."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from linkspan.assembler import Assembler
from linkspan.endpoint import connect
from linkspan.errors import (
    ContentBlockedError,
    InterruptedStreamError,
    InvalidResponseError,
    LinkspanError,
    RateLimitError,
    ServerError,
)
from linkspan.providers.gray_swan import GRAY_SWAN, GraySwanChatCodec
from tests.providers.conftest import Caller, chunk
from tests.providers.gray_swan import connected, cygnet
from tests.support.loopback import END, Cut, Repeat, UntilClosed, event, event_stream, head, http
from tests.support.loopback import chunk as http_chunk
from tests.support.streams import assemble, stream_deltas

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from linkspan.conversation import Completion
    from tests.support.loopback import LoopbackServer

HELLO = [chunk({"role": "assistant", "content": None}), chunk({"content": "Hel"}), chunk({"content": "lo"})]
LAST = chunk({}, finish="stop")


@pytest.fixture(params=["sync", "async"])
async def caller(request: pytest.FixtureRequest, server: LoopbackServer) -> AsyncIterator[Caller]:
    endpoint = connected(server)
    yield Caller(request.param, endpoint, server)
    endpoint.close()
    await endpoint.aclose()


def body_of(*pieces: bytes, content_type: str = "text/event-stream") -> list[bytes]:
    return [head(content_type=content_type), *(http_chunk(piece) for piece in pieces), END]


def events(end: str = "\n", start: str = "data: ", *, done: bool = True) -> bytes:
    lines = [*HELLO, LAST, *([b"[DONE]"] if done else [])]
    return b"".join(start.encode() + line + end.encode() * 2 for line in lines)


FINE = {
    "LF": [events("\n")],
    "CRLF": [events("\r\n")],
    "CR": [events("\r")],
    "one byte at a time": [bytes([byte]) for byte in events("\r\n")],
    "no space after the colon": [events(start="data:")],
    "comments, event names and ids": [b": ping\r\n\r\nevent: message\nid: 7\n" + events(start=": x\ndata: ")],
    "no end mark": [events(done=False)],
    "the end mark without its blank line": [events().removesuffix(b"\n")],
    "the last event without its blank line, and no end mark": [events(done=False).removesuffix(b"\n\n")],
    "an event without data": [b"event: ping\n\n" + events()],
    "a byte-order mark": [b"\xef\xbb\xbf" + events()],
    "something after the end mark": [events() + b"data: nonsense\n\n"],
}


@pytest.mark.parametrize("pieces", FINE.values(), ids=FINE.keys())
async def test_streams_that_are_odd_but_whole(caller: Caller, pieces: list[bytes]) -> None:
    caller.server.answer(*body_of(*pieces))
    answer = assemble(await caller.stream())
    assert (answer.text, answer.finish_reason, answer.model) == ("Hello", "stop", "served-model")
    assert answer.usage is None
    assert caller.server.requests[0].json() == {
        "model": "mistral-small-3.2-24b-instruct-2506",
        "messages": [{"role": "user", "content": "Hi"}],
        "stream": True,
    }


async def test_the_wrong_content_type_does_no_harm(caller: Caller) -> None:
    caller.server.answer(*body_of(events(), content_type="text/plain"))
    assert assemble(await caller.stream()).text == "Hello"


async def test_unusual_separators_inside_the_text_are_text(caller: Caller) -> None:
    text = "a\u2028b\u0085c"
    raw = json.dumps({"choices": [{"delta": {"content": text}, "finish_reason": "stop"}]}, ensure_ascii=False).encode()
    assert (await caller.streamed(raw)).text == text


async def test_usage_and_unknown_fields_are_kept_if_they_come(caller: Caller) -> None:
    usage = {"prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8}
    answer = await caller.streamed(*HELLO, LAST, chunk(None, choices=[], usage=usage, monitor={"score": 0.5}))
    assert answer.usage.total_tokens == 8
    assert answer.extra == {"monitor": {"score": 0.5}}


BROKEN = {
    "lines with single newlines between": ([b"data: " + line + b"\n" for line in [*HELLO, LAST]], "not JSON"),
    "bare JSON lines": ([HELLO[1] + b"\n" + LAST + b"\n"], "a stream was asked for"),
    "one plain JSON body": ([json.dumps({"choices": [{"message": {"content": "x"}}]}).encode()], "a stream was asked"),
    "an empty body": ([], "a stream was asked for"),
    "invalid JSON in an event": ([events(done=False)[:60] + b"\n\n"], "not JSON"),
    "an end mark alone": ([b"data: [DONE]\n\n"], "no answer"),
}


@pytest.mark.parametrize(("pieces", "words"), BROKEN.values(), ids=BROKEN.keys())
async def test_streams_that_are_none(caller: Caller, pieces: list[bytes], words: str) -> None:
    caller.server.answer(*body_of(*pieces))
    with pytest.raises(InvalidResponseError, match=words):
        await caller.stream()


@pytest.mark.parametrize(
    ("error", "cls"),
    [
        ({"error": True, "message": "told so", "detail": "d", "error_code": "E1"}, ServerError),
        ({"error": {"message": "told so", "code": 429}}, RateLimitError),
        ({"detail": "told so"}, ServerError),
    ],
)
@pytest.mark.parametrize("before", [0, 3])
async def test_an_error_event_is_an_error(
    caller: Caller, error: dict[str, Any], cls: type[LinkspanError], before: int
) -> None:
    caller.server.answer(*event_stream(*HELLO[:before], json.dumps(error).encode()))
    with pytest.raises(cls, match="told so") as caught:
        await caller.stream()
    assert caught.value.partial_text == ("Hello" if before else "")


@pytest.mark.parametrize("ending", [[], [Cut()]], ids=["ended", "broken"])
async def test_a_stream_that_ends_too_early_is_an_error(caller: Caller, ending: Sequence[Any]) -> None:
    steps = [head(), *(event(item) for item in HELLO)]
    caller.server.answer(*steps, *(ending or [END]))
    with pytest.raises(InterruptedStreamError) as caught:
        await caller.stream()
    assert caught.value.partial_text == "Hello"


async def test_a_stall_is_an_error(server: LoopbackServer) -> None:
    # In one piece: a busy machine may take longer between two.
    server.answer(head() + b"".join(event(item) for item in HELLO), UntilClosed())
    hasty = replace(GRAY_SWAN, default_stall_timeout=0.05)
    endpoint = connect(GraySwanChatCodec(), hasty, api_key=None, base_url=server.url, max_retries=0)
    with pytest.raises(InterruptedStreamError) as caught:
        list(stream_deltas(endpoint, cygnet()))
    assert caught.value.partial_text == "Hello"


# --------------------------------------------------------------------------- stop texts


async def put_together(caller: Caller, **fields: Any) -> Completion:
    assembler = Assembler()
    for delta in await caller.stream(cygnet(**fields)):
        assembler.add(delta)
    return assembler.completion()


async def test_a_stop_text_across_pieces_ends_a_stream_that_would_go_on(caller: Caller) -> None:
    pieces = [chunk({"content": text}) for text in ("One E", "N", "D Two")]
    more = event(chunk({"content": " and on"}))
    caller.server.answer(head(), *(event(piece) for piece in pieces), Repeat(more))
    answer = await put_together(caller, stop=["END"])
    assert (answer.text, answer.finish_reason) == ("One ", "stop")
    assert (answer.model, answer.id) == ("served-model", "chatcmpl-1")
    assert caller.server.wait_closed()
    assert "stop" not in caller.server.requests[0].json()


async def test_what_only_looks_like_a_stop_text_is_kept(caller: Caller) -> None:
    caller.server.answer(*event_stream(chunk({"content": "The E"}), chunk({"content": "N"}), LAST))
    steps = await caller.stream(cygnet(stop=["END"]))
    assert [step.text for step in steps] == ["The ", "EN", ""]
    assert [step.last for step in steps] == [False, False, True]


async def test_tool_calls_and_reasoning_pass_until_the_stop_text(caller: Caller) -> None:
    call = {"index": 0, "id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"END": 1}'}}
    caller.server.answer(
        *event_stream(
            chunk({"reasoning": "END is near"}),
            chunk({"content": "Ask E"}),
            chunk({"tool_calls": [call]}),
            chunk({}, finish="tool_calls"),
        )
    )
    answer = await put_together(caller, stop=["END"])
    assert (answer.text, answer.reasoning, answer.finish_reason) == ("Ask E", "END is near", "tool_calls")
    assert [call.arguments for call in answer.tool_calls] == ['{"END": 1}']


async def test_log_probabilities_end_with_the_text(caller: Caller) -> None:
    scores = {"content": [{"token": token, "logprob": -1.0} for token in ("One ", "END", " Two")]}
    choice = {"index": 0, "delta": {"content": "One END Two"}, "logprobs": scores}
    caller.server.answer(*event_stream(json.dumps({"choices": [choice]}).encode(), LAST))
    assert [score.token for score in (await put_together(caller, stop=["END"])).logprobs] == ["One "]


def two(one: str | None, other: str | None, finish: str | None = None) -> bytes:
    choices = [
        {"index": index, "delta": {"content": text}, "finish_reason": finish}
        for index, text in enumerate((one, other))
        if text is not None
    ]
    return json.dumps({"id": "x", "model": "m", "choices": choices}).encode()


async def test_each_of_several_answers_ends_at_its_own_stop_text(caller: Caller) -> None:
    fields = {"stop": ["END"], "parameters": {"n": 2}}
    caller.server.answer(*event_stream(two("a END b", "c "), two("late", "d"), two("", "", "length")))
    answer = await put_together(caller, **fields)
    assert (answer.text, answer.finish_reason) == ("a ", "stop")
    assert [(one.text, one.finish_reason) for one in answer.alternatives] == [("c d", "length")]
    caller.server.answer(
        head(), event(two("a", "c END b")), event(two("END", "late")), Repeat(event(two("late", "late")))
    )
    answer = await put_together(caller, **fields)
    assert (answer.text, answer.finish_reason) == ("a", "stop")
    assert [(one.text, one.finish_reason) for one in answer.alternatives] == [("c ", "stop")]


async def test_an_interruption_before_the_stop_text_is_still_one(caller: Caller) -> None:
    caller.server.answer(*event_stream(chunk({"content": "One"}), done=None))
    with pytest.raises(InterruptedStreamError) as caught:
        await caller.stream(cygnet(stop=["END"]))
    assert caught.value.partial_text == "One"


@given(
    st.lists(st.text("abE", min_size=1, max_size=4), min_size=1, max_size=8),
    st.lists(st.text("abE", min_size=1, max_size=3), min_size=1, max_size=3),
)
def test_a_stream_is_cut_where_a_whole_answer_is(pieces: list[str], stops: list[str]) -> None:
    codec, request = GraySwanChatCodec(), cygnet(stop=stops)
    decoder = codec.stream_decoder(request, {})
    deltas: list[Any] = []
    for piece in pieces:
        if not decoder.finished:
            deltas += decoder.feed(chunk({"content": piece}))
    if not decoder.finished:
        deltas += decoder.feed(chunk({}, finish="length"))
    streamed = assemble([*deltas, *decoder.close()])
    body = {"choices": [{"message": {"content": "".join(pieces)}, "finish_reason": "length"}]}
    whole = codec.decode(json.dumps(body).encode(), {}, request)
    assert (streamed.text, streamed.finish_reason) == (whole.text, whole.finish_reason)
    assert not any(stop in whole.text for stop in stops)


# --------------------------------------------------------------------------- blocked answers

BLOCKED = {
    "content_filter": [chunk({}, finish="content_filter")],
    "violation": [chunk({"refusal": "Sorry."}), chunk({}, finish="violation")],
    "refusal": [chunk({"refusal": "Sor"}), chunk({"refusal": "ry."}, finish="stop")],
}


@pytest.mark.parametrize("reason", BLOCKED)
async def test_a_blocked_stream_is_told_apart(caller: Caller, reason: str) -> None:
    answer = await caller.streamed(*HELLO, *BLOCKED[reason])
    assert answer.text == "Hello"
    assert answer.finish_reason == ("stop" if reason == "refusal" else reason)
    assert answer.refusal == ("" if reason == "content_filter" else "Sorry.")


@pytest.mark.parametrize("stop", [[], ["not there"]])
@pytest.mark.parametrize("reason", BLOCKED)
async def test_a_blocked_stream_raises_if_asked(server: LoopbackServer, reason: str, stop: list[str]) -> None:
    endpoint = connected(server, raise_on_block=True)
    for face in ("sync", "async"):
        server.answer(*event_stream(*HELLO, *BLOCKED[reason]))
        with pytest.raises(ContentBlockedError, match=reason) as caught:
            await Caller(face, endpoint, server).stream(cygnet(stop=stop))
        assert caught.value.partial_text == "Hello"
        assert caught.value.completion is not None
        assert caught.value.completion.text == "Hello"
        assert (caught.value.code, caught.value.status_code) == (reason, None)
    await endpoint.aclose()


async def test_a_stream_that_is_not_blocked_passes_where_blocks_raise(server: LoopbackServer) -> None:
    server.answer(*event_stream(*HELLO, LAST))
    endpoint = connected(server, raise_on_block=True)
    assert assemble(stream_deltas(endpoint, cygnet())).text == "Hello"
    server.answer(head(), *(event(item) for item in HELLO), Repeat(event(HELLO[1])))
    assert assemble(stream_deltas(endpoint, cygnet(stop=["lo"]))).text == "Hel"
    assert server.wait_closed()


async def test_an_html_page_in_place_of_a_stream(caller: Caller) -> None:
    caller.server.answer(http(200, b"<html>hi</html>", "text/html"))
    with pytest.raises(InvalidResponseError, match="not one"):
        await caller.stream()
