"""The strict reader by itself: what is one whole JSON value, and what is not, by strict JSON's own verdict."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from linkspan.conversation import Completion, ToolCall
from linkspan.errors import InvalidResponseError
from linkspan.json_answer import JSONAnswerReader, read_json

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
OBJECTS = st.dictionaries(st.text(max_size=5), VALUES, max_size=4)
TEXTS = st.builds(
    lambda value, ascii_only, indent: json.dumps(value, ensure_ascii=ascii_only, indent=indent),
    OBJECTS,
    st.booleans(),
    st.sampled_from([None, 1]),
)
BLANKS = st.text(" \t\r\n", max_size=3)

TEXT = JSONAnswerReader("Thing", json.loads)
CALL = JSONAnswerReader("Thing", json.loads, "thing")


def is_strict_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def answers(text: str, **facts: Any) -> list[tuple[JSONAnswerReader, Completion]]:
    """The text as an answer's text, and as the arguments of a call."""
    return [
        (TEXT, Completion(text=text, **facts)),
        (CALL, Completion(tool_calls=[ToolCall("c", "thing", text)], **facts)),
    ]


@given(TEXTS, BLANKS, BLANKS, st.sampled_from(["stop", "length", "tool_calls", None]))
@settings(max_examples=60)
def test_a_whole_object_is_read_whatever_ended_it(
    text: str, before: str, behind: str, finish_reason: str | None
) -> None:
    for reader, answer in answers(before + text + behind, finish_reason=finish_reason):
        if reader is CALL and finish_reason == "length" and json.loads(text) == {}:
            continue  # a call that was cut before its arguments looks so
        assert reader.read(answer) == json.loads(text)


@given(TEXTS, st.data(), st.sampled_from(["stop", "length", None]))
@settings(max_examples=100)
def test_no_cut_object_is_read(text: str, data: st.DataObject, finish_reason: str | None) -> None:
    cut = text[: data.draw(st.integers(1, len(text) - 1))]
    for fenced in (cut, f"```json\n{cut}", f"```json\n{cut}\n```"):
        for reader, answer in answers(fenced, finish_reason=finish_reason):
            with pytest.raises(InvalidResponseError, match=r"cut off|not JSON") as caught:
                reader.read(answer)
            assert ("raise max_tokens" in str(caught.value)) == (
                finish_reason == "length" or "cut off" in str(caught.value)
            )
            assert caught.value.partial is answer


@given(TEXTS, st.text(max_size=6))
@settings(max_examples=100)
def test_what_follows_is_judged_as_strict_json_does(text: str, suffix: str) -> None:
    whole = is_strict_json((text + suffix).strip("\ufeff \t\r\n"))
    for reader, answer in answers(text + suffix):
        if whole:
            assert reader.read(answer) == json.loads(text)
        else:
            with pytest.raises(InvalidResponseError, match=r"after the JSON|after the first"):
                reader.read(answer)


@given(TEXTS, TEXTS)
@settings(max_examples=30)
def test_two_objects_are_no_object(one: str, other: str) -> None:
    for separator in ("", "\n", " ", ",", "\n```\n"):
        for reader, answer in answers(one + separator + other):
            with pytest.raises(InvalidResponseError, match=r"after the JSON|after the first"):
                reader.read(answer)


@given(TEXTS, st.sampled_from(["```", "````", "~~~"]), st.sampled_from(["", "json", "JSON", " json ", "json5"]))
@settings(max_examples=40)
def test_fences_are_taken_off(text: str, fence: str, language: str) -> None:
    for closing in (f"\n{fence}", fence, "", f"\n{fence}\n\n"):
        assert json.loads(read_json(f"{fence}{language}\n{text}{closing}")) == json.loads(text)


@given(st.text(st.characters(max_codepoint=0x1F), min_size=1, max_size=4))
@settings(max_examples=30)
def test_raw_control_characters_in_texts_are_read(raw: str) -> None:
    assert json.loads(read_json(f'{{"a": "x{raw}y"}}')) == {"a": f"x{raw}y"}


@pytest.mark.parametrize("text", ["12", "1.5", "true", "null", "-1"])
def test_a_number_that_the_limit_ended_may_be_half_of_one(text: str) -> None:
    assert read_json(text) == text
    with pytest.raises(ValueError, match="may be incomplete"):
        read_json(text, is_cut=True)


def test_half_a_surrogate_pair_is_a_replacement_character() -> None:
    assert json.loads(read_json('{"a\\udc00": "\\ud83d \\ud83d\\ude42"}')) == {"a\ufffd": "\ufffd 🙂"}
    for reader, answer in answers('{"a": "\\ud83d"}'):
        assert reader.read(answer) == {"a": "\ufffd"}


def test_a_number_that_json_lacks_is_not_said_to_be_cut_off() -> None:
    for reader, answer in answers('{"a": [1e999]}'):
        with pytest.raises(InvalidResponseError, match="JSON has no number 1e999") as caught:
            reader.read(answer)
        assert "cut" not in str(caught.value)


def test_values_that_python_reads_and_json_has_not() -> None:
    for text in (
        *('{"a": NaN}', '{"a": Infinity}', '{"a": -Infinity}', '{"a": 1e999}', "{'a': 1}", '{"a": 1,}', "{a: 1}"),
        "[" * 100_000,
    ):
        for reader, answer in answers(text):
            with pytest.raises(InvalidResponseError):
                reader.read(answer)


def test_arguments_that_were_encoded_twice() -> None:
    twice = json.dumps('{"a": 1}')
    assert CALL.read(Completion(tool_calls=[ToolCall("c", "thing", twice)])) == {"a": 1}
