"""Tool calls as servers stream them, in every shape that the references list: what comes out is always the same."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from linkspan.errors import InvalidResponseError
from linkspan.tool_arguments import parse_arguments
from tests.providers.conftest import chunk

if TYPE_CHECKING:
    from tests.providers.conftest import Caller


def fragment(arguments: Any = "", *, name: str | None = None, **fields: Any) -> dict[str, Any]:
    function = {"arguments": arguments} if name is None else {"name": name, "arguments": arguments}
    return {"type": "function", "function": function, **fields}


def delta(*fragments: dict[str, Any]) -> bytes:
    return chunk({"tool_calls": list(fragments)})


TWO_CALLS = [("a", "weather", {"city": "Oslo"}), ("b", "time", {"zone": "CET"})]
SAME_TOOL = [("a", "weather", {"city": "Oslo"}), ("b", "weather", {"city": "Bergen"})]

SHAPES: dict[str, tuple[list[bytes], list[tuple[str, str, dict[str, Any]]]]] = {
    "one after the other": (
        [
            delta(fragment("", name="weather", index=0, id="a")),
            delta(fragment('{"city":', index=0)),
            delta(fragment(' "Oslo"}', index=0)),
            delta(fragment("", name="time", index=1, id="b")),
            delta(fragment('{"zone": "CET"}', index=1)),
        ],
        TWO_CALLS,
    ),
    "both whole in one delta": (
        [
            delta(
                fragment('{"city": "Oslo"}', name="weather", index=0, id="a"),
                fragment('{"zone": "CET"}', name="time", index=1, id="b"),
            )
        ],
        TWO_CALLS,
    ),
    "interleaved": (
        [
            delta(fragment("", name="weather", index=0, id="a"), fragment("", name="time", index=1, id="b")),
            delta(fragment('{"city": ', index=0), fragment('{"zone": ', index=1)),
            delta(fragment('"CET"}', index=1)),
            delta(fragment('"Oslo"}', index=0)),
        ],
        TWO_CALLS,
    ),
    "id and name repeated in each fragment": (
        [
            delta(fragment('{"city": ', name="weather", index=0, id="a")),
            delta(fragment('"Oslo"}', name="weather", index=0, id="a")),
            delta(fragment('{"zone": ', name="time", index=1, id="b")),
            delta(fragment('"CET"}', name="time", index=1, id="b")),
            delta(fragment("", name="time", index=1, id="b")),
        ],
        TWO_CALLS,
    ),
    "name null in later fragments": (
        [
            delta(fragment("", name="weather", index=0, id="a")),
            delta({"index": 0, "id": None, "function": {"name": None, "arguments": '{"city": "Oslo"}'}}),
            delta(fragment('{"zone": "CET"}', name="time", index=1, id="b")),
        ],
        TWO_CALLS,
    ),
    "no index, ids given": (
        [
            delta(fragment('{"city": ', name="weather", id="a")),
            delta(fragment('"Oslo"}', id="a")),
            delta(fragment('{"zone": "CET"}', name="time", id="b")),
        ],
        TWO_CALLS,
    ),
    "one index for all": (
        [
            delta(fragment('{"city": "Oslo"}', name="weather", index=0, id="a")),
            delta(fragment('{"city": "Bergen"}', name="weather", index=0, id="b")),
        ],
        SAME_TOOL,
    ),
    "no index, whole calls of one tool in one delta": (
        [
            delta(
                fragment('{"city": "Oslo"}', name="weather", id="a"),
                fragment('{"city": "Bergen"}', name="weather", id="b"),
            )
        ],
        SAME_TOOL,
    ),
    "arguments null first, then text": (
        [
            delta(fragment(None, name="weather", index=0, id="a")),
            delta(fragment('{"city": "Oslo"}', index=0)),
            delta(fragment('{"zone": "CET"}', name="time", index=1, id="b")),
        ],
        TWO_CALLS,
    ),
    "no arguments key beside the name": (
        [
            delta({"index": 0, "id": "a", "type": "function", "function": {"name": "weather"}}),
            delta(fragment('{"city": "Oslo"}', index=0)),
            delta(fragment('{"zone": "CET"}', name="time", index=1, id="b")),
        ],
        TWO_CALLS,
    ),
    "arguments as objects": (
        [
            delta(
                fragment({"city": "Oslo"}, name="weather", index=0, id="a"),
                fragment({"zone": "CET"}, name="time", index=1, id="b"),
            )
        ],
        TWO_CALLS,
    ),
    "arguments encoded twice": (
        [
            delta(fragment('"{\\"city\\":', name="weather", index=0, id="a")),
            delta(fragment(' \\"Oslo\\"}"', index=0)),
            delta(fragment('{"zone": "CET"}', name="time", index=1, id="b")),
        ],
        TWO_CALLS,
    ),
    "name after the first arguments": (
        [
            delta({"index": 0, "id": "a", "function": {"arguments": '{"city": '}}),
            delta({"index": 0, "function": {"name": "weather", "arguments": '"Oslo"}'}}),
            delta(fragment('{"zone": "CET"}', name="time", index=1, id="b")),
        ],
        TWO_CALLS,
    ),
    "empty arguments": ([delta(fragment("", name="now", index=0, id="a"))], [("a", "now", {})]),
    "null arguments": ([delta(fragment(None, name="now", index=0, id="a"))], [("a", "now", {})]),
}


@pytest.mark.parametrize("shape", SHAPES)
async def test_every_shape_gives_the_same_calls(caller: Caller, shape: str) -> None:
    events, expected = SHAPES[shape]
    answer = await caller.streamed(*events, chunk({}, finish="tool_calls"))
    assert [(call.id, call.name, parse_arguments(call.arguments)) for call in answer.tool_calls] == expected


@pytest.mark.parametrize("shape", SHAPES)
async def test_name_and_id_come_once_per_call(caller: Caller, shape: str) -> None:
    events, expected = SHAPES[shape]
    from tests.support.loopback import event_stream

    caller.server.answer(*event_stream(*events, chunk({}, finish="tool_calls")))
    pieces = [piece for step in await caller.stream() for piece in step.tool_calls]
    assert [piece.name for piece in pieces if piece.name is not None] == [name for _, name, _ in expected]
    assert [piece.id for piece in pieces if piece.id is not None] == [identity for identity, _, _ in expected]


async def test_missing_ids_are_made_up_and_differ(caller: Caller) -> None:
    answer = await caller.streamed(
        delta(
            fragment('{"city": "Oslo"}', name="weather"),
            fragment('{"city": "Bergen"}', name="weather"),
        ),
        chunk({}, finish="tool_calls"),
    )
    ids = [call.id for call in answer.tool_calls]
    assert len(set(ids)) == 2
    assert all(ids)


async def test_a_new_id_in_each_fragment_does_not_split_the_call(caller: Caller) -> None:
    answer = await caller.streamed(
        delta(fragment('{"city": ', name="weather", index=0, id="a")),
        delta(fragment('"Oslo"}', index=0, id="other")),
        chunk({}, finish="tool_calls"),
    )
    assert [(call.id, call.arguments) for call in answer.tool_calls] == [("a", '{"city": "Oslo"}')]


async def test_a_call_without_a_name_is_an_error(caller: Caller) -> None:
    with pytest.raises(InvalidResponseError, match="names no function"):
        await caller.streamed(delta(fragment("{}", index=0, id="a")), chunk({}, finish="tool_calls"))
