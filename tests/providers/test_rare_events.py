"""What servers send seldom: events that only look like the one before, and error bodies of unusual shapes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from linkspan.errors import InvalidResponseError, LinkspanError
from tests.providers.conftest import chunk

if TYPE_CHECKING:
    from tests.providers.conftest import Caller

HELLO = [chunk({"content": "Hello"}), chunk({"content": " there"})]
END = chunk({}, finish="stop")


@pytest.mark.parametrize(
    ("event", "text"),
    [
        (chunk({"content": ' "content": "quoted" \\ \n ü'}), ' "content": "quoted" \\ \n ü'),
        (chunk({"content": None}), ""),
        (chunk({"content": ""}), ""),
        (chunk({"content": "x", "role": "assistant"}), "x"),
        (chunk({"content": " there"}).replace(b": ", b":"), " there"),
        (chunk({"content": " there"}).replace(b'"content": ', b'"content":   '), " there"),
    ],
)
async def test_an_event_like_the_one_before(caller: Caller, event: bytes, text: str) -> None:
    answer = await caller.streamed(*HELLO, event, *HELLO, END)
    assert answer.text == f"Hello there{text}Hello there"
    assert answer.finish_reason == "stop"


@pytest.mark.parametrize("content", [b"5", b'"a" "b"', b'"a', b'"\\x"'])
async def test_an_event_like_the_one_before_that_is_broken(caller: Caller, content: bytes) -> None:
    broken = chunk({"content": "MARK"}).replace(b'"MARK"', content)
    with pytest.raises(LinkspanError):
        await caller.streamed(*HELLO, broken, END)


async def test_a_key_that_comes_twice_is_read_as_json_reads_it(caller: Caller) -> None:
    twice = chunk({"content": "one"}).replace(b'"content": "one"', b'"content": "one", "content": "two"')
    assert (await caller.streamed(twice, twice, *HELLO, END)).text == "twotwoHello there"


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        ([{"error": {"message": "too warm"}}], "too warm"),
        ({"detail": {"error": {"message": "too warm"}}}, "too warm"),
        ({"detail": {"message": "too warm"}}, "too warm"),
        ({"detail": 7}, "7"),
        ({"detail": ["too warm", {"loc": ["body", "n"], "msg": "too many"}, {"msg": "and more"}]}, "body.n: too many"),
    ],
)
async def test_errors_of_unusual_shapes(caller: Caller, body: Any, shown: str) -> None:
    with pytest.raises(LinkspanError) as caught:
        await caller.answered(body, status=422)
    assert shown in str(caught.value)


async def test_a_whole_answer_that_is_no_object(caller: Caller) -> None:
    with pytest.raises(InvalidResponseError):
        await caller.answered(json.loads("[1, 2]"))
