"""Streamed chat answers over a real socket: what arrives, what is held back, and how broken streams end."""

from __future__ import annotations

import asyncio
import json
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from linkspan.errors import (
    ContextOverflowError,
    InterruptedStreamError,
    InvalidResponseError,
    LinkspanError,
    RateLimitError,
    ServerError,
)
from linkspan.providers.scaleway import ScalewayChatCodec
from tests.providers.conftest import KEY, Caller, ask, chunk
from tests.support.loopback import END, PATIENCE, Cut, Repeat, Step, event, event_stream, head, http
from tests.support.loopback import chunk as framed
from tests.support.streams import assemble, astream_deltas, stream_deltas

USAGE = {"prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8}


async def test_finish_usage_and_metadata_come_once_on_the_last_step(caller: Caller) -> None:
    caller.server.answer(
        *event_stream(
            chunk({"role": "assistant", "content": ""}),
            chunk({"content": "Hel"}, system_fingerprint="fp"),
            chunk({"content": "lo"}, system_fingerprint="fp"),
            chunk({}, finish="stop"),
            chunk(None, choices=[], usage=USAGE),
        )
    )
    steps = await caller.stream()
    assert [step.text for step in steps] == ["Hel", "lo", ""]
    assert [step.finish_reason for step in steps] == [None, None, "stop"]
    assert [step.usage.total_tokens if step.usage else None for step in steps] == [None, None, 8]
    assert steps[-1].model == "served-model"
    assert steps[-1].extra == {"system_fingerprint": "fp"}
    assert {step.id for step in steps} == {"chatcmpl-1"}


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        ({"choices": [5]}, "a choice must be an object"),
        ({"choices": [{"index": 0, "delta": "x"}]}, "delta must be an object"),
        ({"choices": [{"index": "one", "delta": {}}]}, "index must be a whole number"),
        ({"choices": [{"index": 0, "delta": {"content": 5}}]}, "part of type .int."),
        ({"choices": [{"index": 0, "delta": {}, "finish_reason": ["x"]}]}, "finish_reason must be text"),
        ({"choices": "none"}, "choices must be a list"),
        ([], "object"),
    ],
)
async def test_an_event_with_a_field_of_another_type_keeps_what_came_before(
    caller: Caller, broken: object, words: str
) -> None:
    caller.server.answer(*event_stream(chunk({"content": "Hel"}), json.dumps(broken).encode()))
    texts: list[str] = []
    with pytest.raises(InvalidResponseError, match=words) as caught:
        await caller.stream(taken=texts)
    assert texts == ["Hel"]
    assert caught.value.partial_text == "Hel"


async def test_running_totals_are_not_summed(caller: Caller) -> None:
    answer = await caller.streamed(
        chunk({"content": "a"}, usage={"prompt_tokens": 5, "completion_tokens": 1, "total_tokens": 6}),
        chunk({"content": "b"}, usage={"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}),
        chunk({"content": "c"}, finish="stop", usage=USAGE),
    )
    assert (answer.usage.input_tokens, answer.usage.output_tokens, answer.usage.total_tokens) == (5, 3, 8)


@pytest.mark.parametrize("field", ["reasoning", "reasoning_content"])
async def test_reasoning_is_kept_from_its_first_piece(caller: Caller, field: str) -> None:
    answer = await caller.streamed(
        chunk({"role": "assistant", field: "First"}), chunk({field: " then"}), chunk({"content": "42"}, finish="stop")
    )
    assert (answer.reasoning, answer.text) == ("First then", "42")


async def test_null_choices_deltas_and_content_are_tolerated(caller: Caller) -> None:
    answer = await caller.streamed(
        chunk(None, choices=None), chunk(None), chunk({"content": None}), chunk({"content": "ok"}, finish="stop")
    )
    assert answer.text == "ok"


async def test_line_separators_inside_text_are_text(caller: Caller) -> None:
    text = "a\u2028b\u2029c\u0085d"
    raw = json.dumps({"choices": [{"delta": {"content": text}, "finish_reason": "stop"}]}, ensure_ascii=False).encode()
    assert (await caller.streamed(raw)).text == text


async def test_a_finish_reason_without_end_mark_is_enough(caller: Caller) -> None:
    caller.server.answer(*event_stream(chunk({"content": "ok"}, finish="stop"), done=None))
    assert assemble(await caller.stream()).text == "ok"


async def test_an_end_mark_without_finish_reason_is_enough(caller: Caller) -> None:
    answer = await caller.streamed(chunk({"content": "ok"}))
    assert (answer.text, answer.finish_reason) == ("ok", None)


async def test_a_stream_that_just_ends_is_interrupted_and_keeps_its_text(caller: Caller) -> None:
    caller.server.answer(*event_stream(chunk({"content": "Hel"}), chunk({"content": "lo"}), done=None))
    with pytest.raises(InterruptedStreamError, match="ended before the answer did") as caught:
        await caller.stream()
    assert caught.value.partial_text == "Hello"
    assert caught.value.is_retryable


async def test_a_cut_connection_keeps_the_text_so_far(caller: Caller) -> None:
    caller.server.answer(head(), event(chunk({"content": "Hel"})), Cut())
    with pytest.raises(InterruptedStreamError) as caught:
        await caller.stream()
    assert caught.value.partial_text == "Hel"


async def test_a_cut_after_the_finish_reason_loses_nothing(caller: Caller) -> None:
    caller.server.answer(head(), event(chunk({"content": "whole"})), event(chunk({}, finish="stop")), Cut())
    answer = assemble(await caller.stream())
    assert (answer.text, answer.finish_reason) == ("whole", "stop")


@pytest.mark.parametrize(
    ("body", "cls", "words"),
    [
        ({"error": {"message": "boom", "type": "internal", "code": 500}}, ServerError, "boom"),
        ({"error": {"message": "slow down", "code": 429}}, RateLimitError, "slow down"),
        ({"error": {"status_code": 500, "content": {"error": "pod died"}}}, ServerError, "pod died"),
        ({"error": "plain words"}, ServerError, "plain words"),
        ({"object": "error", "message": "legacy", "code": 500}, ServerError, "legacy"),
        ({"error": {"message": "m", "code": 500}, "choices": []}, ServerError, "m"),
        (
            {"error": {"message": "This model's maximum context length is 10 tokens", "code": 400}},
            ContextOverflowError,
            "10",
        ),
    ],
)
async def test_an_error_in_mid_stream_raises_with_the_text_so_far(
    caller: Caller, body: dict[str, object], cls: type[LinkspanError], words: str
) -> None:
    caller.server.answer(*event_stream(chunk({"content": "Hel"}), json.dumps(body).encode()))
    with pytest.raises(cls, match=words) as caught:
        await caller.stream()
    assert caught.value.partial_text == "Hel"
    assert caught.value.provider == "scaleway"


def burst(*events: bytes) -> list[Step]:
    """A stream whose events arrive with one read, after the first."""
    first, *rest = events
    return [head(), event(first), framed(b"".join(b"data: %b\n\n" % one for one in rest)), END]


@pytest.mark.parametrize("broken", [b'{"error": {"message": "boom", "code": 500}}', b'{"choices": [{"delta"', b"[1]"])
async def test_what_came_in_a_burst_before_an_error_is_handed_out(caller: Caller, broken: bytes) -> None:
    texts = [chunk({"content": text}) for text in ("a", "b", "c", "d")]
    caller.server.answer(*burst(*texts, broken, chunk({"content": "never"})))
    taken: list[str] = []
    with pytest.raises(LinkspanError) as caught:
        await caller.stream(taken=taken)
    assert taken == ["a", "b", "c", "d"]
    assert caught.value.partial_text == "abcd"


async def test_what_follows_the_end_mark_in_a_burst_is_not_read(caller: Caller) -> None:
    ending = [chunk({}, finish="stop"), b"[DONE]", b"no JSON", chunk({"content": "never"})]
    caller.server.answer(*burst(*(chunk({"content": text}) for text in "abcd"), *ending))
    answer = assemble(await caller.stream())
    assert (answer.text, answer.finish_reason) == ("abcd", "stop")


async def test_an_error_as_first_event_raises(caller: Caller) -> None:
    caller.server.answer(*event_stream(b'{"error": {"message": "no room", "code": 503}}'))
    with pytest.raises(ServerError, match="no room"):
        await caller.stream()


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"{}", "not"),
        (b'{"choices": [{"message": {"content": "whole"}}]}', "a stream was asked for"),
        (b"<html><title>Login</title></html>", "HTML page: Login"),
        (b"", "a stream was asked for"),
    ],
)
async def test_something_else_than_a_stream_is_never_an_empty_success(caller: Caller, body: bytes, words: str) -> None:
    caller.server.answer(http(200, body))
    with pytest.raises(InvalidResponseError, match=words):
        await caller.stream()


async def test_an_end_mark_alone_is_no_answer(caller: Caller) -> None:
    caller.server.answer(*event_stream())
    with pytest.raises(InvalidResponseError, match="held no answer"):
        await caller.stream()


async def test_broken_json_in_an_event_raises(caller: Caller) -> None:
    caller.server.answer(*event_stream(chunk({"content": "a"}), b'{"choices": [{'))
    with pytest.raises(InvalidResponseError, match="not JSON"):
        await caller.stream()


async def test_a_key_that_the_server_repeats_is_blanked_out(caller: Caller) -> None:
    caller.server.answer(*event_stream(chunk({"content": "a"}), json.dumps({"error": f"bad key {KEY}"}).encode()))
    with pytest.raises(ServerError) as caught:
        await caller.stream()
    error = caught.value
    assert KEY not in f"{error} {error!r} {error.body} {error.__dict__}"


async def test_log_probabilities_arrive_with_their_tokens(caller: Caller) -> None:
    scores = {"content": [{"token": "ok", "logprob": -0.5, "bytes": [111, 107], "top_logprobs": []}]}
    answer = await caller.streamed(
        chunk(None, choices=[{"index": 0, "delta": {"content": "ok"}, "logprobs": scores, "finish_reason": "stop"}])
    )
    assert [(score.token, score.logprob) for score in answer.logprobs] == [("ok", -0.5)]


async def test_several_choices_are_kept_apart(caller: Caller) -> None:
    def of(index: int, text: str, finish: str | None = None) -> bytes:
        return chunk(None, choices=[{"index": index, "delta": {"content": text}, "finish_reason": finish}])

    answer = await caller.streamed(of(1, "A"), of(0, "a"), of(1, "B", "length"), of(0, "b", "stop"))
    assert (answer.text, answer.finish_reason) == ("ab", "stop")
    assert [(other.text, other.finish_reason) for other in answer.alternatives] == [("AB", "length")]


def test_two_event_loops_each_send_once(server) -> None:
    from pydantic import SecretStr

    from linkspan.endpoint import connect
    from linkspan.providers.scaleway import SCALEWAY

    server.always(*event_stream(chunk({"content": "ok"}, finish="stop")))
    endpoint = connect(
        ScalewayChatCodec(), SCALEWAY, api_key=SecretStr(KEY), base_url=f"{server.url}/v1", max_retries=0
    )

    async def once() -> str:
        text = assemble([delta async for delta in astream_deltas(endpoint, ask())]).text
        await endpoint.aclose()
        return text

    assert [asyncio.run(once()) for _ in range(2)] == ["ok", "ok"]
    assert len(server.requests) == 2


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
@given(
    text=st.text(alphabet=st.characters(codec="utf-8"), max_size=40),
    reasoning=st.text(alphabet=st.characters(codec="utf-8"), max_size=20),
    cuts=st.lists(st.integers(0, 40), max_size=6),
    finish=st.sampled_from(["stop", "length"]),
)
def test_streamed_and_put_together_equals_not_streamed(text: str, reasoning: str, cuts: list[int], finish: str) -> None:
    codec = ScalewayChatCodec()
    borders = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    pieces = [text[start:end] for start, end in pairwise(borders)]
    decoder = codec.stream_decoder(ask(), {})
    steps = [*decoder.feed(chunk({"role": "assistant", "reasoning": reasoning}))]
    for piece in pieces:
        steps.extend(decoder.feed(chunk({"content": piece})))
    steps.extend(decoder.feed(chunk({}, finish=finish, usage=USAGE)))
    steps.extend(decoder.close())
    streamed = assemble(steps)
    whole = codec.decode(
        json.dumps(
            {
                "id": "chatcmpl-1",
                "model": "served-model",
                "choices": [{"message": {"content": text, "reasoning": reasoning}, "finish_reason": finish}],
                "usage": USAGE,
            }
        ).encode(),
        {},
        ask(),
    )
    whole.raw = None
    assert streamed == whole


async def test_five_streams_in_a_row_share_one_connection(caller: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("linkspan.transport.streams.DRAIN_SECONDS", PATIENCE)
    for _ in range(5):
        await caller.streamed(chunk({"content": "ok"}, finish="stop"))
    assert caller.server.connections == 1


async def test_a_reader_that_stops_closes_the_stream(caller: Caller) -> None:
    caller.server.answer(head(), event(chunk({"content": "a"})), Repeat(event(chunk({"content": "b"}))))
    if caller.face == "sync":
        for _ in stream_deltas(caller.endpoint, ask()):
            break
    else:
        async for _ in astream_deltas(caller.endpoint, ask()):
            break
        await asyncio.sleep(0)  # the event loop closes an abandoned generator in its next round
    assert await asyncio.to_thread(caller.server.wait_closed)


PARTS = [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}, {"type": "text", "text": "yes"}]


async def test_content_in_parts_is_text_and_reasoning(caller: Caller) -> None:
    streamed = await caller.streamed(chunk({"content": PARTS}, finish="stop"))
    whole = await caller.answered({"choices": [{"message": {"content": PARTS}, "finish_reason": "stop"}]})
    assert (streamed.text, streamed.reasoning) == (whole.text, whole.reasoning) == ("yes", "hm")


async def test_a_part_that_nobody_could_be_handed_is_an_error(caller: Caller) -> None:
    parts = [{"type": "hologram"}]
    with pytest.raises(InvalidResponseError, match="hologram"):
        await caller.streamed(chunk({"content": parts}, finish="stop"))
    with pytest.raises(InvalidResponseError, match="hologram"):
        await caller.answered({"choices": [{"message": {"content": parts}}]})
