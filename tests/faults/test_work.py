"""What a server sends costs time in proportion to its size. Quadratic work would keep these tests busy for hours."""

from __future__ import annotations

import json
from collections import deque
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from langchain_core.messages import AIMessageChunk
from llama_index.core.base.llms.types import ChatMessage

from linkspan.langchain import ChatScaleway
from linkspan.tool_arguments import WholenessWatch, read_unfinished
from tests.faults.wire import KEY, LANGCHAIN, LLAMA_INDEX, Api, Wire

if TYPE_CHECKING:
    from collections.abc import Iterator

LONG = 300_000


def event(delta: dict[str, Any], finish: str | None = None, **fields: Any) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish, **fields}
    return b"data: " + json.dumps({"id": "chat-1", "choices": [choice]}).encode() + b"\n\n"


def piece(arguments: str, **fields: Any) -> bytes:
    function = {"arguments": arguments, **({"name": "look"} if fields else {})}
    return event({"tool_calls": [{"index": 0, "function": function, **fields}]})


END = event({}, "stop") + b"data: [DONE]\n\n"


class Pieces(httpx.SyncByteStream):
    def __init__(self, *pieces: bytes) -> None:
        self._pieces = pieces

    def __iter__(self) -> Iterator[bytes]:
        yield from self._pieces


def asked(api: Api, *pieces: bytes) -> Any:
    """Return the last chunk of LlamaIndex's stream, or the sum of LangChain's."""
    wire = Wire()
    model = api.make(**wire.clients())
    wire.respond = lambda: httpx.Response(200, stream=Pieces(*pieces))
    if hasattr(model, "stream_chat"):
        return deque(model.stream_chat([ChatMessage("x")]), maxlen=1)[0]
    first, *others = model.stream("x")
    return first + others


CHAT = [pytest.param(apis[0], id=name) for name, apis in (("langchain", LANGCHAIN), ("llama_index", LLAMA_INDEX))]

ODD_ARGUMENTS = {
    "a quote and line breaks": '{"a": ' + '"\n' * (LONG // 2),
    "letters": "x" * LONG,
    "object of letters": '{"a":' + "x" * LONG,
    "quotes": 'b"' * (LONG // 2),
    "commas": '{"a":[' + "," * LONG,
    "brackets": "[" * LONG,
    "line breaks": '{"a": "' + "\n" * LONG,
    "backslashes": '{"a": "' + "\\" * LONG,
}


@pytest.mark.parametrize("arguments", ODD_ARGUMENTS.values(), ids=ODD_ARGUMENTS)
@pytest.mark.parametrize("api", CHAT)
def test_arguments_that_are_no_json(api: Api, arguments: str) -> None:
    answer = asked(api, piece("", id="c"), piece(arguments), END)
    if isinstance(answer, AIMessageChunk):
        assert not answer.tool_calls
        assert [call["args"] for call in answer.invalid_tool_calls] == [arguments]
    else:
        assert answer.message.blocks[-1].tool_kwargs == arguments


@pytest.mark.parametrize("api", CHAT)
def test_arguments_whose_header_comes_with_each_piece(api: Api) -> None:
    begin = '{"a": [' + '{"b": 1},' * (LONG // 9) + "{}"
    answer = asked(api, piece(begin, id="c"), *[piece(",{}", id="c")] * 1_000, piece("]}", id="c"), END)
    arguments = answer.tool_calls[0]["args"] if isinstance(answer, AIMessageChunk) else answer.message.blocks[-1]
    values = (arguments if isinstance(arguments, dict) else arguments.tool_kwargs)["a"]
    assert len(values) == LONG // 9 + 1_001


@pytest.mark.parametrize("api", CHAT)
def test_calls_that_are_read_with_each_chunk(api: Api) -> None:
    # As agents of LlamaIndex do; those of LangChain add the chunks up and read the sum.
    items = '{"b": [1]}'
    pieces = [piece('{"a": [' + f"{items}," * (LONG // 11) + items, id="c"), *[piece(f",{items}")] * 2_000, piece("]}")]
    wire = Wire()
    model = api.make(**wire.clients())
    wire.respond = lambda: httpx.Response(200, stream=Pieces(*pieces, END))
    if hasattr(model, "stream_chat"):
        for chunk in model.stream_chat([ChatMessage("x")]):
            calls = model.get_tool_calls_from_response(chunk, error_on_no_tool_call=False)
        assert len(calls[0].tool_kwargs["a"]) == LONG // 11 + 2_001
    else:
        seen = [chunk.tool_calls for chunk in model.stream("x")]
        assert len(seen[0][0]["args"]["a"]) == LONG // 11 + 1


def test_hundreds_of_calls_and_scores_in_a_sum() -> None:
    scores = {"content": [{"token": "a", "logprob": -0.5}]}
    calls = [
        event({"tool_calls": [{"index": n, "id": f"c{n}", "function": {"name": "f", "arguments": "{}"}}]})
        for n in range(600)
    ]
    answer = asked(LANGCHAIN[0], *calls, *[event({"content": "a"}, logprobs=scores)] * 1_500, END)
    assert [call["id"] for call in answer.tool_calls] == [f"c{n}" for n in range(600)]
    assert len(answer.response_metadata["logprobs"]["content"]) == len(answer.content) == 1_500


@pytest.mark.parametrize("count", [1, 2, 63, 64, 65, 300])
def test_a_sum_of_many_chunks_is_that_of_two_at_a_time(count: int) -> None:
    pieces = ['{"a', '": ', "1}"]
    events = [event({"content": f"{n} ", "reasoning": f"r{n}"}) for n in range(count)]
    events += [
        event({"tool_calls": [{"index": n, **({"id": f"c{n}"} if not p else {}), "function": function}]})
        for p, text in enumerate(pieces)
        for n in (0, 1)
        for function in ({"arguments": text, **({"name": "f"} if not p else {})},)
    ]
    wire = Wire()
    wire.respond = lambda: httpx.Response(200, stream=Pieces(*events, END))
    first, *others = ChatScaleway(model="m", api_key=KEY, max_retries=0, **wire.clients()).stream("x")
    stepwise = first
    for other in others:
        stepwise = stepwise + other
    assert first + others == stepwise
    assert [call["args"] for call in stepwise.tool_calls] == [{"a": 1}, {"a": 1}]


@pytest.mark.parametrize("api", CHAT)
@pytest.mark.parametrize(
    "pieces",
    [[event({"content": "x" * 1_999}) * 600], [b"\n" * (1024 * 1024 - 40), event({"content": "x" * 1_999}) * 600]],
    ids=["events", "blanks"],
)
def test_nothing_of_a_large_first_piece_is_lost(api: Api, pieces: list[bytes]) -> None:
    answer = asked(api, *pieces, event({"content": "END"}), END)
    text = answer.content if isinstance(answer, AIMessageChunk) else answer.message.content
    assert text == "x" * 1_999 * 600 + "END"


# ------------------------------------------------------------------ what reads arguments on their way

_VALUES = st.recursive(
    st.none() | st.integers() | st.text('{}[]"\\x\n', max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text('"}\\a', max_size=3), inner, max_size=3),
    max_leaves=6,
)


def is_json(text: str) -> bool:
    try:
        json.loads(text, strict=False)
    except ValueError:
        return False
    return True


@settings(max_examples=150)
@example(-(10**30), " ", [])
@given(_VALUES, st.sampled_from(["", " ", "x", "{}", "}"]), st.lists(st.integers(0, 80), max_size=6))
def test_a_growing_text_is_whole_when_json_says_so(value: Any, rest: str, cuts: list[int]) -> None:
    text = json.dumps(value) + rest
    watch = WholenessWatch()
    for cut in [*sorted(cuts), len(text)]:
        assert watch.is_whole(text[:cut]) == is_json(text[:cut])


@settings(max_examples=100)
@given(st.dictionaries(st.text(max_size=3), _VALUES, max_size=3), st.integers(0, 200))
def test_half_an_object_is_read_as_far_as_it_goes(value: dict[str, Any], cut: int) -> None:
    text = json.dumps(value)
    read = read_unfinished(text[:cut])
    assert read == value if cut >= len(text) else read is None or list(read) == list(value)[: len(read)]


def test_raw_line_breaks_in_texts_are_read() -> None:
    assert read_unfinished('{\n"a":\t"x\ny') == {"a": "x\ny"}
