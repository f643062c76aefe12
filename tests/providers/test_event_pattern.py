"""Events read after the pattern of the one before: the same as reading each by itself."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from linkspan.errors import InvalidResponseError
from linkspan.providers.chat_completions.stream import ChatStreamDecoder

if TYPE_CHECKING:
    from linkspan.conversation import Delta

TEXTS = st.text(st.characters(codec="utf-8"), max_size=12) | st.sampled_from(
    ['"', "\\", '\\"', '"content":"x"', "\\u0022", "\n", "\u2028", "\x00probe", '","role":"x']
)
ODDITIES: list[dict[str, Any]] = [
    {},
    {"reasoning_content": "hm"},
    {"role": "assistant"},
    {"refusal": "no"},
    {"content": "other"},
    {"surprise": 1},
]


def event(text: str, *, ascii_only: bool = False, top: dict[str, Any] | None = None, **delta: Any) -> bytes:
    choice = {"index": 0, "delta": {"content": text, **delta}, "logprobs": None, "finish_reason": None}
    chunk = {"id": "c1", "model": "m", "choices": [choice], "usage": None, **(top or {})}
    return json.dumps(chunk, ensure_ascii=ascii_only).encode()


def one_by_one(events: list[bytes]) -> list[Delta]:
    """What decoders make of the events that each see a single one."""
    return [delta for data in events for delta in ChatStreamDecoder("x", {}).feed(data)]


def in_a_row(events: list[bytes]) -> list[Delta]:
    decoder = ChatStreamDecoder("x", {})
    return [delta for data in events for delta in decoder.feed(data)]


@given(st.lists(st.tuples(TEXTS, st.booleans(), st.sampled_from([{}, {}, {}, *ODDITIES])), max_size=12))
@example([("a", False, {}), ('b","role":"tool', False, {}), ("", False, {}), ("c", True, {})])
def test_a_row_of_events_reads_as_each_by_itself(rows: list[tuple[str, bool, dict[str, Any]]]) -> None:
    events = [event(text, ascii_only=ascii_only, **odd) for text, ascii_only, odd in rows]
    assert in_a_row(events) == one_by_one(events)


def test_the_text_may_stand_where_another_key_has_the_same_name() -> None:
    events = [event(text, top={"content": "no text of the answer"}) for text in ("a", "b", "c")]
    assert [delta.text for delta in in_a_row(events)] == ["a", "b", "c"]


def test_a_change_around_the_text_is_seen() -> None:
    decoder = ChatStreamDecoder("x", {})
    decoder.feed(event("a"))
    decoder.feed(event("b"))
    decoder.feed(event("c", top={"model": "another", "usage": {"prompt_tokens": 1, "completion_tokens": 2}}))
    finish = json.loads(event(""))
    finish["choices"][0] = {"index": 0, "delta": {}, "finish_reason": "stop"}
    decoder.feed(json.dumps(finish).encode())
    (last,) = decoder.close()
    assert last.usage is not None
    assert (last.usage.input_tokens, last.usage.output_tokens) == (1, 2)


@pytest.mark.parametrize("broken", [b'"a"b"', b'"a', b'"\xff"', b'"a"}'])
def test_a_broken_event_is_an_error_also_after_good_ones(broken: bytes) -> None:
    decoder = ChatStreamDecoder("x", {})
    for text in ("a", "b", "c"):
        decoder.feed(event(text))
    with pytest.raises(InvalidResponseError):
        decoder.feed(event("@").replace(b'"@"', broken))
