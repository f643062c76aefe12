"""TGI's answers over a real socket, whole and streamed, sync and async."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from linkspan.conversation import (
    Delta,
    TokenLogprob,
    Usage,
)
from linkspan.errors import (
    InterruptedStreamError,
)
from linkspan.providers.datacrunch import TGICodec
from tests.providers.tgi import HEADERS, KEY, ask, event, last, step, stream, token, whole
from tests.support.loopback import Cut, chunk, head
from tests.support.streams import assemble

if TYPE_CHECKING:
    from tests.providers.tgi import Caller


# --------------------------------------------------------------------------- whole answers


async def test_a_whole_answer_with_all_its_details(tgi: Caller) -> None:
    tokens = [token("</s>", number=2, special=True), token(" Bonjour", number=9, logprob=None), token("!", number=3)]
    body = whole(
        " Bonjour!",
        finish="eos_token",
        tokens=tokens,
        seed=2**64 - 1,
        prefill=[{"id": 1, "text": "Hi", "logprob": None}],
        top_tokens=[[token("a"), token("b")], [token("c"), token("d"), token("e")], []],
    )
    answer = await tgi.answered(body, ask(top_n_tokens=2, decoder_input_details=True), x_prompt_tokens="4")
    assert answer.text == " Bonjour!"
    assert (answer.finish_reason, answer.extra["tgi_finish_reason"]) == ("stop", "eos_token")
    assert answer.usage == Usage(4, 3, 7)
    assert answer.request_id == "req-7"
    assert answer.extra == {
        "generated_tokens": 3,
        "seed": 2**64 - 1,
        "tgi_finish_reason": "eos_token",
        "prefill": [{"id": 1, "text": "Hi", "logprob": None}],
        "top_tokens": body["details"]["top_tokens"],
    }
    assert answer.logprobs is not None
    assert [(entry.token, entry.id, entry.logprob, entry.special) for entry in answer.logprobs] == [
        ("</s>", 2, -0.5, True),
        (" Bonjour", 9, None, False),
        ("!", 3, -0.5, False),
    ]
    assert [[other.token for other in entry.top] for entry in answer.logprobs] == [["a", "b"], ["c", "d", "e"], []]
    request = tgi.server.requests[-1]
    assert request.path == "/mine/generate"
    assert request.headers["authorization"] == f"Bearer {KEY}"


async def test_best_of_sequences_are_kept(tgi: Caller) -> None:
    others = [{"generated_text": "second", "finish_reason": "length", "generated_tokens": 1, "tokens": []}]
    answer = await tgi.answered(whole("first", best_of_sequences=others), ask(best_of=2, do_sample=True))
    assert answer.extra["best_of_sequences"] == others


async def test_a_list_of_one_is_an_answer_too(tgi: Caller) -> None:
    answer = await tgi.answered([{"generated_text": "Hello"}])
    assert (answer.text, answer.finish_reason, answer.usage, answer.logprobs) == ("Hello", None, None, None)


async def test_input_tokens_are_counted_by_the_prefill_if_nothing_else_says_them(tgi: Caller) -> None:
    body = whole("x", prefill=[{"id": 1, "text": "H", "logprob": None}, {"id": 2, "text": "i", "logprob": -1}])
    assert (await tgi.answered(body)).usage == Usage(2, 1, 3)
    assert (await tgi.answered(whole("x"))).usage == Usage(None, 1, None)


@pytest.mark.parametrize(
    ("generated", "stop", "text", "finish"),
    [
        ("one STOP", ["STOP"], "one ", "length"),
        ("one STOP two", ["STOP"], "one ", "stop"),
        ("one two", ["STOP"], "one two", "length"),
        ("one ST", ["STOP"], "one ST", "length"),
        ("a\n\nb", ["b", "\n"], "a", "stop"),
    ],
)
async def test_the_text_ends_before_the_first_stop_text(
    tgi: Caller, generated: str, stop: list[str], text: str, finish: str
) -> None:
    answer = await tgi.answered(whole(generated), ask(stop=stop))
    assert (answer.text, answer.finish_reason) == (text, finish)


async def test_tokens_behind_a_stop_text_are_not_part_of_the_answer(tgi: Caller) -> None:
    tokens = [token("one"), token(" ST"), token("OP"), token(" two")]
    answer = await tgi.answered(whole("one STOP two", tokens=tokens), ask(stop=["STOP"]))
    assert [entry.token for entry in answer.logprobs or ()] == ["one", " ST", "OP"]


async def test_the_prompt_is_repeated_if_asked_for_and_never_cut(tgi: Caller) -> None:
    asked = ask("STOP it", return_full_text=True, stop=["STOP"])
    assert (await tgi.answered(whole("STOP it now STOP"), asked)).text == "STOP it now "
    streamed = await tgi.streamed(step(" now"), last(" STOP", "STOP it now STOP"), request=asked)
    assert streamed.text == "STOP it now "


# --------------------------------------------------------------------------- streams


@pytest.mark.parametrize("prefix", [b"data:", b"data: "])
async def test_a_stream_as_old_and_new_servers_frame_it(tgi: Caller, prefix: bytes) -> None:
    tgi.server.answer(
        head(headers=HEADERS),
        chunk(b":\n\n"),
        chunk(prefix + step("Gr\u2028ü") + b"\n\n"),
        chunk(prefix + step("") + b"\n\n"),
        chunk(prefix + step("<s>", special=True) + b"\n\n"),
        chunk(prefix + step("👩‍👩‍👧") + b"\n\n"),
        chunk(prefix + last("</s>", "Gr\u2028ü👩‍👩‍👧", special=True) + b"\n\n"),
        b"0\r\n\r\n",
    )
    steps = await tgi.stream(ask())
    assert [delta.text for delta in steps] == ["Gr\u2028ü", "👩‍👩‍👧", ""]
    assert [delta.last for delta in steps] == [False, False, True]
    answer = assemble(steps)
    assert answer.finish_reason == "length"
    assert answer.usage == Usage(4, 2, 6)
    assert answer.extra == {"generated_tokens": 2, "input_length": 4}
    assert answer.request_id == "req-7"
    assert [entry.token for entry in answer.logprobs or ()] == ["Gr\u2028ü", "", "<s>", "👩‍👩‍👧", "</s>"]
    assert tgi.server.requests[-1].path == "/mine/generate_stream"


async def test_without_details_the_last_event_is_known_by_its_text(tgi: Caller) -> None:
    answer = await tgi.streamed(step("Hi"), last("!", "Hi!", details=None), request=ask(details=False))
    assert (answer.text, answer.finish_reason, answer.usage, answer.logprobs) == ("Hi!", None, None, None)


async def test_text_that_may_begin_a_stop_text_is_held_back(tgi: Caller) -> None:
    tgi.server.answer(*stream(step("one ST"), step("AY ST"), last("OP", "one STAY STOP")))
    steps = await tgi.stream(ask(stop=["STOP"]))
    assert [delta.text for delta in steps] == ["one ", "STAY ", ""]
    tgi.server.answer(*stream(step("one ST"), last("", "one ST")))
    assert "".join(delta.text for delta in await tgi.stream(ask(stop=["STOP"]))) == "one ST"


async def test_a_stop_text_that_the_server_did_not_notice_closes_the_stream(tgi: Caller) -> None:
    tgi.server.answer(head(headers=HEADERS), chunk(b"data: " + step("one STOP two") + b"\n\n"))
    answer = assemble(await tgi.stream(ask(stop=["STOP"])))
    assert (answer.text, answer.finish_reason, answer.usage) == ("one ", "stop", None)
    assert tgi.server.wait_closed()


async def test_a_tail_that_no_token_brought_is_added_once(tgi: Caller) -> None:
    answer = await tgi.streamed(step("Hi "), last("", "Hi \ufffd"))
    assert answer.text == "Hi \ufffd"
    # A tokenizer that drops the first blank of a whole text: nothing is missing.
    answer = await tgi.streamed(step(" Hi"), last(" you", "Hi you"))
    assert answer.text == " Hi you"


async def test_a_stream_without_its_last_event_was_cut(tgi: Caller) -> None:
    ended, marked = stream(step("Hel"), step("lo")), stream(step("Hel"), step("lo"), b"[DONE]")
    for steps in (ended, marked, [*ended[:-1], Cut()]):
        tgi.server.answer(*steps)
        with pytest.raises(InterruptedStreamError) as caught:
            await tgi.stream(ask())
        assert caught.value.partial_text == "Hello"


async def test_top_tokens_come_with_their_token(tgi: Caller) -> None:
    row = [token("a"), token("b")]
    one = event({"index": 1, "token": token("a"), "top_tokens": row, "generated_text": None, "details": None})
    answer = await tgi.streamed(one, last("b", "ab", top_tokens=row[:1], index=2), request=ask(top_n_tokens=2))
    assert [[other.token for other in entry.top] for entry in answer.logprobs or ()] == [["a", "b"], ["a"]]
    assert answer.extra["top_tokens"] == [row, row[:1]]


_TEXTS = st.lists(st.tuples(st.text(st.sampled_from("ab \nSTé"), max_size=3), st.booleans()), max_size=8)


@given(_TEXTS, st.lists(st.text("ab\nST", min_size=1, max_size=3), max_size=2), st.booleans())
def test_streamed_and_put_together_equals_not_streamed(
    pieces: list[tuple[str, bool]], stops: list[str], full: bool
) -> None:
    codec = TGICodec()
    request = ask("The aSb prompt", stop=stops, **({"return_full_text": True} if full else {}))
    tokens = [token(text, number=number, special=special) for number, (text, special) in enumerate(pieces)]
    tokens.append(token("</s>", special=True))
    generated = (request.prompt if full else "") + "".join(text for text, special in pieces if not special)
    counts = {"finish_reason": "eos_token", "generated_tokens": len(tokens), "seed": 5}
    decoder = codec.stream_decoder(request, HEADERS)
    steps: list[Delta] = []
    for number, one in enumerate(tokens, start=1):
        ending = number == len(tokens)
        body = {
            "index": number,
            "token": one,
            "generated_text": generated if ending else None,
            "details": counts if ending else None,
        }
        steps.extend(decoder.feed(event(body)))
        if decoder.finished:
            break
    steps.extend(decoder.close())
    streamed = assemble(steps)
    answer = codec.decode(
        event({"generated_text": generated, "details": {**counts, "prefill": [], "tokens": tokens}}), HEADERS, request
    )
    assert streamed.text == answer.text
    assert sum(delta.last for delta in steps) == 1
    assert not any(stop in streamed.text.removeprefix(request.prompt if full else "") for stop in stops)
    if decoder.cut_short:  # the connection was closed before the server could say its counts
        assert streamed.extra["tgi_finish_reason"] == "stop_sequence"
    else:
        answer.raw = None
        assert streamed == answer


def test_a_token_without_a_logprob_is_read() -> None:
    decoder = TGICodec().stream_decoder(ask(details=True), {})
    (delta,) = decoder.feed(step("a", logprob=None))
    assert delta.logprobs == [TokenLogprob("a", None, id=7, special=False)]
