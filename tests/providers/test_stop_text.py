"""Stop texts enforced on this side."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from linkspan.providers.filters.stops import StopCutter


def cut(pieces: list[str], stops: list[str]) -> tuple[str, str | None]:
    cutter = StopCutter(stops)
    text = "".join(map(cutter.feed, pieces))
    return text + cutter.flush(), cutter.matched


@pytest.mark.parametrize(
    ("pieces", "stops", "text", "matched"),
    [
        (["one two"], [], "one two", None),
        (["one STOP two"], ["STOP"], "one ", "STOP"),
        (["one ST", "OP two"], ["STOP"], "one ", "STOP"),
        (["one ST", "AY"], ["STOP"], "one STAY", None),
        (["one ST"], ["STOP"], "one ST", None),
        (["a\n", "\n", "b"], ["\n\n"], "a", "\n\n"),
        (["xaby"], ["aby", "b"], "xa", "b"),
        (["same"], ["me", "ame"], "s", "ame"),
        (["STOP"], ["STOP"], "", "STOP"),
        (["one"], [""], "one", None),
    ],
)
def test_the_answer_ends_before_the_first_stop_text(
    pieces: list[str], stops: list[str], text: str, matched: str | None
) -> None:
    assert cut(pieces, stops) == (text, matched)


def test_only_what_may_begin_a_stop_text_is_held_back() -> None:
    cutter = StopCutter(["\nHuman:"])
    assert [cutter.feed(piece) for piece in ["Hi", " there\n", "Hum", "us", "\nHuman", ": no", "more"]] == [
        "Hi",
        " there",
        "",
        "\nHumus",
        "",
        "",
        "",
    ]
    assert cutter.matched == "\nHuman:"


@given(st.text("ab\n", max_size=30), st.lists(st.text("ab\n", max_size=4), max_size=3), st.data())
def test_where_the_pieces_break_does_not_matter(text: str, stops: list[str], data: st.DataObject) -> None:
    borders = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=8)))
    pieces = [text[start:end] for start, end in zip([0, *borders], [*borders, len(text)], strict=True)]
    whole = cut([text], stops)
    assert cut(pieces, stops) == whole
    assert text.startswith(whole[0])
    assert not any(stop and stop in whole[0] for stop in stops)
