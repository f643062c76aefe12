"""A call runs only if its arguments are one whole JSON object: every chat class, whole and streamed, sync and async."""

from __future__ import annotations

import itertools
import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from linkspan.conversation import ChatRequest
from linkspan.errors import InvalidResponseError
from linkspan.langchain.chunks import ChunkBuilder as LangChainChunks
from linkspan.llama_index.answers import ResponseBuilder as LlamaIndexChunks
from linkspan.llama_index.tool_calls import tool_selections
from linkspan.providers.scaleway import ScalewayChatCodec
from tests.support.streams import assemble
from tests.tool_calls.conftest import CHATS, RESPONSES, WAYS, answer_with, event, merged, name_of, piece

if TYPE_CHECKING:
    from collections.abc import Callable

    from linkspan_sandbox import Sandbox
    from tests.tool_calls.conftest import Chat

#: Arguments that are not one whole JSON object, and what is said of them when the answer did not end at a limit.
BROKEN = {
    '{"to": "Ada", "amount": 12': "max_tokens",
    '{"to": "Ad': "max_tokens",
    "{": "max_tokens",
    '{"to": "Ada"}}': "one whole JSON object",
    '{"to": "say "hi""}': "one whole JSON object",
    '{"to": "C:\\Users\\ada"}': "one whole JSON object",
    '{"to": "Ada"}{"to": "Ben"}': "one whole JSON object",
    '["Ada", 12]': "type list",
    '"Ada"': "type str",
    "12": "type int",
    '{"amount": NaN}': "JSON has no number NaN",
    '{"amount": [-1e999]}': "JSON has no number -1e999",
    f'{{"to": {"[" * 100}{"]" * 100}}}': "more than 100 levels",
}
#: Arguments that are: what servers send for none, and text as models write it.
SOUND: dict[Any, dict[str, Any]] = {
    '{"to": "Ada", "amount": 12}': {"to": "Ada", "amount": 12},
    ' {"to": "Ada"} \n': {"to": "Ada"},
    '{"to": "two\nlines"}': {"to": "two\nlines"},
    "": {},
    None: {},
    "{}": {},
    "null": {},
    '""': {},
    '"null"': {},
    '"{\\"to\\": \\"Ada\\"}"': {"to": "Ada"},
    '{"to": "\\ud83d Ada \\ud83d\\ude42"}': {"to": "\ufffd Ada 🙂"},  # half a pair has no UTF-8
}

every = pytest.mark.parametrize("chat", [*CHATS, *RESPONSES], ids=name_of)
#: One of each framework and codec of calls. The rest share their reader of arguments: there, two of each suffice.
READERS = [*(chat for chat in CHATS if chat.url == "scaleway_url"), *RESPONSES]


@every
def test_broken_arguments_never_run(chat: Chat, make: Callable[..., Any], sandbox: Sandbox) -> None:
    model = make()
    cases = [
        (arguments, said, ("length", "tool_calls", "stop")[place % 3])
        for place, (arguments, said) in enumerate(BROKEN.items())
    ]
    for way in WAYS:
        for arguments, said, finish in cases if chat in READERS and way in {"invoke", "astream"} else cases[::4]:
            sandbox.reset()
            answer_with(sandbox, piece(arguments, name="pay", id="call_a"), finish=finish)
            seen = chat.ask(model, way)
            assert seen.calls == [], (way, arguments, finish)
            cut_off = finish == "length" and not said.startswith("type")
            expected = "pay were cut off by max_tokens: raise it" if cut_off else said
            assert expected in seen.refusal, (way, arguments, finish)


@every
def test_sound_arguments_run_whatever_the_finish_reason(chat: Chat, make: Callable[..., Any], sandbox: Sandbox) -> None:
    model = make()
    for way in WAYS:
        every_one = chat in READERS and way in {"invoke", "astream"}
        for arguments, value in list(SOUND.items())[:: 1 if every_one else 4]:
            finish = "length" if value else "stop"
            sandbox.reset()
            answer_with(sandbox, piece(arguments, name="pay", id="call_a"), finish=finish)
            seen = chat.ask(model, way)
            assert (seen.calls, seen.refusal) == ([("call_a", "pay", value)], ""), (way, arguments, finish)


@every
def test_no_arguments_at_the_limit_were_cut_off(chat: Chat, make: Callable[..., Any], sandbox: Sandbox) -> None:
    answer_with(sandbox, piece("", name="pay", id="call_a"), finish="length")
    model = make()
    for way in WAYS:
        seen = chat.ask(model, way)
        assert seen.calls == [], way
        assert "pay were cut off by max_tokens: raise it" in seen.refusal, way


@every
def test_no_arguments_at_another_early_end_may_be_cut_off(
    chat: Chat, make: Callable[..., Any], sandbox: Sandbox
) -> None:
    model = make()
    for way in WAYS:
        for arguments in ("", "{}"):
            sandbox.reset()
            answer_with(sandbox, piece(arguments, name="pay", id="call_a"), finish="content_filter")
            seen = chat.ask(model, way)
            assert seen.calls == ([("call_a", "pay", {})] if arguments else []), way
            assert ("ended early (finish reason 'content_filter')" in seen.refusal) is not bool(arguments), way


@every
def test_a_broken_call_beside_a_whole_one(chat: Chat, make: Callable[..., Any], sandbox: Sandbox) -> None:
    calls = [piece('{"to": "Ada"}', name="look_up", id="a"), piece('{"to": "Ada", "amount": 12', name="pay", id="b")]
    answer_with(sandbox, *calls, finish="length")
    model = make()
    for way in WAYS:
        seen = chat.ask(model, way)
        # LangChain's agents tell the model of the other call; LlamaIndex has no way to, so there nothing runs.
        assert seen.calls == ([("a", "look_up", {"to": "Ada"})] if chat.framework == "langchain" else []), way
        assert "The arguments of pay were cut off by max_tokens: raise it." in seen.refusal, way
        assert "look_up were" not in seen.refusal, way


# --------------------------------------------------------------------------- any object, any pieces, any cut

values = st.recursive(
    st.none() | st.booleans() | st.integers(-99, 99) | st.text(st.characters(exclude_categories=("Cs",)), max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text('ab}{"\\', max_size=3), inner, max_size=3),
    max_leaves=6,
)
objects = st.builds(
    lambda value, indent, ascii_only: json.dumps(value, indent=indent, ensure_ascii=ascii_only),
    st.dictionaries(st.text('ab{"', max_size=3), values, max_size=3),
    st.sampled_from([None, 1]),
    st.booleans(),
)


def is_whole(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except ValueError:
        return False


@settings(max_examples=60, suppress_health_check=list(HealthCheck))
@given(text=objects, cuts=st.lists(st.integers(0, 200), max_size=5), end=st.integers(0, 200), data=st.data())
def test_the_verdict_is_that_of_json(text: str, cuts: list[int], end: int, data: st.DataObject) -> None:
    text = text[: end or None]
    places = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    pieces = [text[begin:stop] for begin, stop in itertools.pairwise(places)]
    head = piece(pieces[0], name="pay", id="call_a", index=0)
    fragments = [head, *(piece(part, index=0) for part in pieces[1:])]
    events, finish = [], data.draw(st.sampled_from(["length", "tool_calls"]))
    while fragments:
        count = data.draw(st.integers(1, len(fragments)))
        events.append(event({"tool_calls": fragments[:count]}))
        fragments = fragments[count:]
    events.append(event({}, finish))
    decoder = ScalewayChatCodec().stream_decoder(ChatRequest("m", []), {})
    deltas = [delta for one in events for delta in decoder.feed(json.dumps(one).encode())] + [*decoder.close()]
    (call,) = assemble(deltas).tool_calls
    assert call.arguments == text
    assert (call.problem is None) is is_whole(text)
    _same_in_langchain(deltas, text)
    _same_in_llama_index(deltas, text)


def _same_in_langchain(deltas: list[Any], text: str) -> None:
    chunks = [chunk.message for chunk in LangChainChunks("scaleway").chunks(deltas)]
    for message in (merged(chunks), chunks[0] + chunks[1:], chunks[0] + merged(chunks[1:])):
        assert [call["args"] for call in message.tool_calls] == ([json.loads(text)] if is_whole(text) else [])
        assert [call["args"] for call in message.invalid_tool_calls] == ([] if is_whole(text) else [text])


def _same_in_llama_index(deltas: list[Any], text: str) -> None:
    builder = LlamaIndexChunks()
    for delta in deltas:
        chunk = builder.chat(delta)
        assert chunk is not None
        if not delta.last:
            assert len(tool_selections(chunk, error_on_no_tool_call=False)) == 1
    if is_whole(text):
        assert [call.tool_kwargs for call in tool_selections(chunk, error_on_no_tool_call=True)] == [json.loads(text)]
    else:
        with pytest.raises(InvalidResponseError, match="arguments of pay"):
            tool_selections(chunk, error_on_no_tool_call=True)
