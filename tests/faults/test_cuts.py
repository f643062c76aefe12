"""A stream that is cut at any byte ends in an error or is the whole answer, never a short one."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from llama_index.core.base.llms.types import ChatMessage

from linkspan.errors import LinkspanError
from tests.faults.wire import CHAT_EVENTS, LANGCHAIN, LLAMA_INDEX, Api, Body, Wire

if TYPE_CHECKING:
    from collections.abc import Callable

#: Bytes between two cuts within events: of several classes that share a decoder, each tries others.
STRIDE = 37
#: Cuts around the end of each event: within its last bytes, its line breaks, and the name of the next field.
AROUND = (-3, -2, -1, 0, 1, 5)


def cuts(api: Api, read: Callable[[Any], str], *, start: int) -> None:
    wire = Wire()
    model = api.make(**wire.clients())
    data = api.body(api.events)
    wire.respond = lambda: httpx.Response(200, stream=Body(data))
    whole = read(model)
    assert whole.startswith("Hello wörld 🙂, a linkspan is a bridge.")
    ends = [match.end() for match in re.finditer(rb"\n\n", data)]
    around = {end + offset for end in ends for offset in AROUND}
    within = range(start, len(data), STRIDE)
    for place in sorted({*within, *(place for place in around if place < len(data))}):
        # Within an event one place is like the next: there, both ways to end take turns.
        for breaks in (False, True) if place in around else (bool(within.index(place) % 2),):
            part = Body(data[:place], breaks=breaks)
            wire.respond = lambda part=part: httpx.Response(200, stream=part)  # type: ignore[misc]
            try:
                text = read(model)
            except LinkspanError as error:
                assert whole.startswith(error.partial_text)  # noqa: PT017  # both outcomes are right
            else:
                assert text == whole, (place, breaks)


@pytest.mark.parametrize(("number", "api"), list(enumerate(LANGCHAIN)), ids=[api.name for api in LANGCHAIN])
def test_langchain(number: int, api: Api) -> None:
    def read(model: Any) -> str:
        return "".join(chunk if isinstance(chunk, str) else chunk.content for chunk in model.stream("x"))

    cuts(api, read, start=2 * number)


@pytest.mark.parametrize(("number", "api"), list(enumerate(LLAMA_INDEX)), ids=[api.name for api in LLAMA_INDEX])
def test_llama_index(number: int, api: Api) -> None:
    cuts(
        api,
        lambda model: "".join(chunk.delta or "" for chunk in model.stream_chat([ChatMessage("x")])),
        start=2 * number + 19,
    )


CHOICES = [api for api in LLAMA_INDEX if api.name in {"scaleway", "gray_swan", "llm_engine_chat"}]


@pytest.mark.parametrize("breaks", [False, True], ids=["ended", "broken"])
@pytest.mark.parametrize("api", CHOICES, ids=lambda api: api.name)
def test_every_choice_must_finish(api: Api, breaks: bool) -> None:
    wire = Wire()
    model = api.make(**wire.clients())
    other = {**CHAT_EVENTS[3]["choices"][0], "index": 1}
    events = [CHAT_EVENTS[1], {**CHAT_EVENTS[3], "choices": [{**other, "finish_reason": "stop"}]}]
    data = b"".join(b"data: " + raw for raw in api.body(events).removesuffix(api.end).split(b"data: ")[1:])
    wire.respond = lambda: httpx.Response(200, stream=Body(data, breaks=breaks))
    with pytest.raises(LinkspanError) as caught:
        list(model.stream_chat([ChatMessage("x")], n=2))
    assert caught.value.partial_text == "Hello "


def choice(index: int, text: str = "", finish: str | None = None) -> dict[str, Any]:
    delta = {"content": text} if text else {}
    return {**CHAT_EVENTS[1], "choices": [{"index": index, "delta": delta, "finish_reason": finish}]}


@pytest.mark.parametrize("breaks", [False, True], ids=["ended", "broken"])
@pytest.mark.parametrize("api", CHOICES, ids=lambda api: api.name)
def test_two_choices_cut_behind_any_event(api: Api, breaks: bool) -> None:
    wire = Wire()
    model = api.make(**wire.clients())
    events = [choice(0, "Hello "), choice(1, "Good "), choice(0, "world"), choice(0, finish="stop")]
    data = api.body([*events, choice(1, "day"), choice(1, finish="stop")])
    for end in [match.end() for match in re.finditer(rb"\n\n", data)][: len(events) + 1]:
        part = Body(data[:end], breaks=breaks)
        wire.respond = lambda part=part: httpx.Response(200, stream=part)  # type: ignore[misc]
        with pytest.raises(LinkspanError) as caught:
            list(model.stream_chat([ChatMessage("x")], n=2))
        assert "Hello world".startswith(caught.value.partial_text), end


@pytest.mark.parametrize(
    "api", [api for api in LANGCHAIN if api.name.startswith("llm_engine")][1:], ids=lambda a: a.name
)
def test_tensorrt_llm_never_says_that_it_has_finished(api: Api) -> None:
    wire = Wire()
    model = api.make(**wire.clients(), inference_framework="tensorrt_llm")
    data = api.body(api.events[:2])
    wire.respond = lambda: httpx.Response(200, stream=Body(data))
    text = "".join(chunk if isinstance(chunk, str) else chunk.content for chunk in model.stream("x"))
    assert text == "Hello wörld 🙂, "
