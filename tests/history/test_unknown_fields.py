"""Fields that linkspan does not model: a stream's are those of the whole answer, whatever pieces they come in."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from linkspan.assembler import Assembler
from linkspan.conversation import ChatRequest, Completion, Message, Text
from linkspan.providers.scaleway import ScalewayChatCodec
from linkspan_sandbox import Reply

if TYPE_CHECKING:
    from tests.history.conftest import Subject


def event(delta: dict[str, Any], finish: str | None = None, index: int = 0, **around: Any) -> dict[str, Any]:
    choice = {"index": index, "delta": delta, "finish_reason": finish, **around.pop("choice", {})}
    return {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice], **around}


def streamed(events: list[dict[str, Any]]) -> Completion:
    request = ChatRequest("m", [Message("user", [Text("?")])])
    decoder = ScalewayChatCodec().stream_decoder(request, {})
    assembler = Assembler()
    for one in [json.dumps(one).encode() for one in events] + [b"[DONE]"]:
        for delta in decoder.feed(one):
            assembler.add(delta)
    for delta in decoder.close():
        assembler.add(delta)
    return assembler.completion()


def whole(message: dict[str, Any], choice: dict[str, Any], top: dict[str, Any]) -> Completion:
    answer = {
        "index": 0,
        "message": {"role": "assistant", "content": "ab", **message},
        "finish_reason": "stop",
        **choice,
    }
    body = {"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [answer], **top}
    request = ChatRequest("m", [Message("user", [Text("?")])])
    return ScalewayChatCodec().decode(json.dumps(body).encode(), {}, request)


CASES: list[tuple[list[dict[str, Any]], dict[str, Any]]] = [
    # Texts and lists of a message come in pieces.
    ([event({"note": "a"}), event({"note": "b"}), event({"note": ""})], {"note": "ab"}),
    ([event({"marks": [1]}), event({"marks": [1]}), event({"marks": []}), event({"marks": [2]})], {"marks": [1, 1, 2]}),
    ([event({}, choice={"token_ids": [5]}), event({}, choice={"token_ids": [5, 6]})], {"token_ids": [5, 5, 6]}),
    (
        [event({"audio": {"id": "x", "data": "AA"}}), event({"audio": {"data": "BB"}})],
        {"audio": {"id": "x", "data": "AABB"}},
    ),
    (
        [
            event({"details": [{"index": 0, "text": "a"}]}),
            event({"details": [{"index": 0, "text": "b"}, {"index": 1}]}),
        ],
        {"details": [{"index": 0, "text": "ab"}, {"index": 1}]},
    ),
    # A running list is not doubled; nor is what each event repeats.
    ([event({"links": ["u"]}), event({"links": ["u", "v"]}), event({"links": ["u", "v"]})], {"links": ["u", "v"]}),
    ([event({}, citations=["u"]), event({}, citations=["u", "v"])], {"citations": ["u", "v"]}),
    ([event({}, citations=["u"]), event({}, citations=["v"])], {"citations": ["u", "v"]}),
    ([event({}, system_fingerprint="f"), event({}, system_fingerprint="f")], {"system_fingerprint": "f"}),
    ([event({}, choice={"stop_reason": "</s>"}), event({}, choice={"stop_reason": None})], {"stop_reason": "</s>"}),
    # Empty pieces erase nothing, and what is only ever empty stays.
    (
        [event({"links": ["u"]}), event({"links": []}), event({}, system_fingerprint="")],
        {"links": ["u"], "system_fingerprint": ""},
    ),
    # One name on two levels.
    ([event({"seed": 1}, seed=2, choice={"seed": 3})], {"seed": 1, "outer_seed": 2}),
]


@pytest.mark.parametrize(("events", "expected"), CASES)
def test_pieces_are_put_together(events: list[dict[str, Any]], expected: dict[str, Any]) -> None:
    assert streamed([*events, event({"content": "x"}, "stop")]).extra == expected


def test_pieces_beside_equal_texts_are_not_passed_over() -> None:
    """Events that are equal but for their text are read by pattern: what they repeat may be pieces all the same."""
    events = [event({"content": text}, choice={"token_ids": [5]}) for text in "abcd"]
    answer = streamed([*events, event({}, "stop")])
    assert answer.text == "abcd"
    assert answer.extra == {"token_ids": [5, 5, 5, 5]}


def test_each_choice_has_its_own() -> None:
    answer = streamed(
        [event({"note": "a"}), event({"note": "b"}, index=1), event({}, "stop"), event({}, "stop", index=1)]
    )
    assert answer.extra == {"note": "a"}
    assert [other.extra for other in answer.alternatives] == [{"note": "b"}]


names = st.sampled_from(["alpha", "beta", "gamma"])
words = st.text("abc ", min_size=1, max_size=6)
scalars = st.integers(-3, 3) | st.booleans()
values = words | scalars | st.lists(words, min_size=1, max_size=4) | st.lists(st.integers(0, 3), min_size=1, max_size=4)
fields = st.dictionaries(names, values, max_size=3)


@settings(max_examples=100)
@given(fields, fields, fields, st.integers(0, 3))
def test_streams_and_whole_answers_hold_the_same(
    message: dict[str, Any], choice: dict[str, Any], top: dict[str, Any], cut: int
) -> None:
    first, second = {}, {}
    for name, value in message.items():
        if isinstance(value, (str, list)):
            first[name], second[name] = value[:cut], value[cut:]
        else:
            first[name] = value
    repeated = {name: value for name, value in choice.items() if not isinstance(value, list)}
    events = [
        event({"content": "a", **first}, choice=repeated, **top),
        event({"content": "b", **second}, choice=choice, **top),
        event({}, "stop"),
    ]
    if any(isinstance(value, list) and value[cut:][: len(value[:cut])] == value[:cut] for value in message.values()):
        return  # such pieces look like a running list
    assert streamed(events).extra == whole(message, choice, top).extra


@pytest.mark.parametrize("way", ["whole", "stream", "async", "astream"])
def test_users_find_the_same_in_both_frameworks(scaleway: Subject, way: str) -> None:
    events = [event({"content": "x", "links": ["u"]}), event({"links": ["v"]}), event({}, "stop"), "[DONE]"]
    message = {"role": "assistant", "content": "x", "links": ["u", "v"]}
    body = {"id": 7, "model": "m", "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
    scaleway.sandbox.add_rule(lambda call: Reply(events=events) if call.stream else Reply(body=body))
    answer = scaleway.ask("?", way=way)
    if scaleway.framework == "langchain":
        assert answer.response_metadata["extra"] == {"links": ["u", "v"]}
        assert isinstance(answer.id, str)
    else:
        assert answer.content == "x"
