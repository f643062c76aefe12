"""Reasoning between tags, parted from the answer: whole and streamed alike."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from linkspan.conversation import Completion, Delta, TokenLogprob, ToolCallDelta
from linkspan.providers.filters.thinking import ThinkTagDecoder, ThinkTagSplitter, split_completion, split_think_tags
from tests.support.streams import assemble

if TYPE_CHECKING:
    from collections.abc import Sequence


class Script:
    """A decoder whose events are numbers of deltas; the last one comes at the close."""

    finished = False
    complete = True
    cut_short = False

    def __init__(self, *deltas: Delta) -> None:
        self.deltas = deltas

    def feed(self, data: bytes) -> Sequence[Delta]:
        return (self.deltas[int(data)],)

    def close(self) -> Sequence[Delta]:
        return (Delta(finish_reason="stop", last=True),)


def stream(*deltas: Delta, inside: bool = False) -> list[Delta]:
    decoder = ThinkTagDecoder(Script(*deltas), inside=inside)
    seen = [delta for number in range(len(deltas)) for delta in decoder.feed(str(number).encode())]
    return [*seen, *decoder.close()]


@pytest.mark.parametrize(
    ("answer", "inside", "text", "reasoning"),
    [
        ("<think>\nhm\n</think>\n\nYes.", False, "Yes.", "hm"),
        ("\n <think>hm</think>Yes.", False, "Yes.", "hm"),
        ("<think>\n\n</think>\n\nYes.", False, "Yes.", ""),
        ("  Yes, <think> is a tag.</think>\n", False, "  Yes, <think> is a tag.</think>\n", ""),
        ("<thin ice", False, "<thin ice", ""),
        ("<thin", False, "<thin", ""),
        ("<think>hm </thi", False, "", "hm </thi"),
        ("<think>hm\n", False, "", "hm"),
        ("hm\n\nhm</think>Yes.</think>", True, "Yes.</think>", "hm\n\nhm"),
        ("<think>\nhm</think>Yes.", True, "Yes.", "hm"),
        ("hm", True, "", "hm"),
        ("<th", True, "", "<th"),
        ("", True, "", ""),
        ("  ", False, "  ", ""),
        ("<think>a</think><think>b</think>", False, "<think>b</think>", "a"),
    ],
)
def test_reasoning_is_the_block_that_begins_the_answer(answer: str, inside: bool, text: str, reasoning: str) -> None:
    assert split_think_tags(answer, inside=inside) == (text, reasoning)


PIECES = st.lists(
    st.sampled_from(["<think>", "</think>", "<th", "ink>", "</", "think", ">", "<", " ", "\n", "a", "b "])
)


@given(PIECES, st.booleans())
@example(["<think>", "a", " ", "\n", "</thi", "nk>", "\n", "b"], False)
@example([" ", "a ", "</think>"], True)
def test_streamed_equals_whole_for_any_chunks(pieces: list[str], inside: bool) -> None:
    whole = split_think_tags("".join(pieces), inside=inside)
    for chunks in (pieces, list("".join(pieces))):
        splitter = ThinkTagSplitter(inside=inside)
        parts = [*map(splitter.feed, chunks), splitter.flush()]
        assert ("".join(text for text, _ in parts), "".join(thought for _, thought in parts)) == whole
        streamed = assemble(stream(*(Delta(text=chunk) for chunk in chunks if chunk), inside=inside))
        assert (streamed.text, streamed.reasoning) == whole


def test_text_is_handed_out_as_soon_as_it_is_decided() -> None:
    splitter = ThinkTagSplitter()
    steps = [splitter.feed(piece) for piece in ("<think>", "a", " b", "\n", "</think>", "\n", "Y", "es")]
    assert steps == [("", ""), ("", "a"), ("", " b"), ("", ""), ("", ""), ("", ""), ("Y", ""), ("es", "")]


def test_a_whole_answer_and_its_alternatives_are_split() -> None:
    answer = Completion("<think>a</think>b", alternatives=[Completion("c"), Completion("<think>d</think>e")])
    split_completion(answer)
    assert [(one.text, one.reasoning) for one in (answer, *answer.alternatives)] == [("b", "a"), ("c", ""), ("e", "d")]


def test_reasoning_that_the_server_parted_stays() -> None:
    assert split_completion(Completion("Yes.", reasoning="hm")).reasoning == "hm"
    deltas = stream(Delta(reasoning="hm"), Delta(text="Yes."))
    assert (assemble(deltas).text, assemble(deltas).reasoning) == ("Yes.", "hm")


def test_what_travels_with_the_text_is_kept() -> None:
    score = TokenLogprob("<think>", -0.5)
    deltas = stream(Delta(text="<think>", logprobs=[score]), Delta(text="a</think>b"))
    answer = assemble(deltas)
    assert (answer.text, answer.reasoning, answer.logprobs, answer.finish_reason) == ("b", "a", [score], "stop")


def test_what_was_held_back_comes_before_the_end_and_the_end_stays_last() -> None:
    deltas = stream(Delta(text="<thi"))
    assert [(delta.text, delta.last) for delta in deltas] == [("<thi", False), ("", True)]
    deltas = stream(Delta(text="<think>a </thi"))
    assert [(delta.reasoning, delta.last) for delta in deltas] == [("a", False), (" </thi", False), ("", True)]


def test_a_tool_call_does_not_overtake_held_text() -> None:
    deltas = stream(Delta(text="a <"), Delta(tool_calls=[ToolCallDelta(0, "1", "f")]))
    assert [bool(delta.tool_calls) for delta in deltas] == [False, True, False]
    held = stream(Delta(text="<"), Delta(tool_calls=[ToolCallDelta(0, "1", "f")]))
    assert [(delta.text, bool(delta.tool_calls)) for delta in held] == [("<", False), ("", True), ("", False)]


def test_choices_have_their_own_state() -> None:
    deltas = stream(
        Delta(text="<think>a"), Delta(text="b", choice=1), Delta(text="</think>c"), Delta(text="<t", choice=1)
    )
    answer = assemble(deltas)
    assert (answer.text, answer.reasoning) == ("c", "a")
    assert (answer.alternatives[0].text, answer.alternatives[0].reasoning) == ("b<t", "")
    assert deltas[-1].last
