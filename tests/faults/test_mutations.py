"""Whatever a server sends, only LinkspanErrors leave, and what is inside the frameworks' objects is sound.

Run with ``LINKSPAN_MUTATIONS=10000`` for so many mutations of each kind and class instead of 25.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from langchain_core.document_loaders import Blob
from llama_index.core.base.llms.types import ChatMessage

from linkspan.errors import InvalidResponseError, LinkspanError
from linkspan.langchain import (
    ChatLLMEngine,
    ChatScaleway,
    DataCrunch,
    ScalewayEmbeddings,
    ScalewayOCRParser,
    ScalewayRerank,
    ScalewayTranscriptionParser,
)
from tests.faults.mutation import mutated
from tests.faults.soundness import check
from tests.faults.wire import ERRORS, KEY, LANGCHAIN, LLAMA_INDEX, Api, Wire

if TYPE_CHECKING:
    from collections.abc import Callable

MUTATIONS = os.environ.get("LINKSPAN_MUTATIONS")

many = settings(
    max_examples=int(MUTATIONS or 25),
    # Others each time, if so many are asked for.
    derandomize=not MUTATIONS,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.data_too_large],
)
#: Headers that codecs read.
_HEADERS = st.fixed_dictionaries(
    {},
    optional={
        "x-request-id": st.sampled_from(["", "r" * 5000, "é"]),
        "x-prompt-tokens": st.sampled_from(["5" * 5000, "-1", "x", "٣"]),
        "retry-after": st.sampled_from(["nan", "-1", "1e400", "x"]),
        "x-ratelimit-limit-requests": st.just("0"),
        "content-type": st.sampled_from(["text/html", "application/json", "\0"]),
    },
)


@st.composite
def responses(draw: st.DrawFn, api: Api, *, stream: bool) -> httpx.Response:
    """Return an answer of an API, mutated somewhere: its body, one of its events, or an error's body."""
    headers = [(name.encode(), value.encode()) for name, value in draw(_HEADERS).items()]
    kind = draw(st.sampled_from(["good", "good", "good", "error", "error under 200"]))
    if kind != "good":
        status = 200 if kind == "error under 200" else draw(st.sampled_from([400, 401, 404, 422, 424, 429, 500, 503]))
        body = draw(mutated(draw(st.sampled_from(ERRORS))))
        if stream and draw(st.booleans()):
            body = b"data: " + body + b"\n\n"
        return httpx.Response(status, headers=headers, content=body)
    if not stream:
        return httpx.Response(200, headers=headers, content=draw(mutated(api.whole)))
    events: list[Any] = list(api.events)
    for _ in range(draw(st.integers(1, 2))):
        place = draw(st.integers(0, len(events) - 1))
        if not isinstance(events[place], bytes):
            events[place] = draw(mutated(events[place])).replace(b"\n", b" ")
    if draw(st.integers(0, 9)) == 0:
        events.insert(draw(st.integers(0, len(events))), draw(mutated(draw(st.sampled_from(ERRORS)))))
    return httpx.Response(200, headers=headers, content=api.body(events))


def answers(call: Callable[[], list[Any]]) -> None:
    """Make a call that may fail, but not otherwise than by a LinkspanError."""
    failure: LinkspanError | None = None
    try:
        for one in call():
            check(one)
    except LinkspanError as error:
        failure = error
    if failure is not None:
        assert str(failure)
        assert failure.provider
        assert isinstance(failure.code, (str, type(None)))
        assert isinstance(failure.request_id, (str, type(None)))


@pytest.mark.parametrize("api", LANGCHAIN, ids=lambda api: api.name)
class TestLangChain:
    @many
    @given(st.data())
    def test_whole_answers(self, api: Api, data: st.DataObject) -> None:
        wire = Wire()
        model = api.make(**wire.clients())
        response = data.draw(responses(api, stream=False))
        wire.respond = lambda: response
        answers(lambda: [model.invoke("x")])

    @many
    @given(st.data())
    def test_streams(self, api: Api, data: st.DataObject) -> None:
        wire = Wire()
        model = api.make(**wire.clients())
        response = data.draw(responses(api, stream=True))
        wire.respond = lambda: response
        answers(lambda: list(model.stream("x")))


@pytest.mark.parametrize("api", LLAMA_INDEX, ids=lambda api: api.name)
class TestLlamaIndex:
    @many
    @given(st.data(), st.booleans())
    def test_whole_answers(self, api: Api, data: st.DataObject, chat: bool) -> None:
        wire = Wire()
        model = api.make(**wire.clients())
        response = data.draw(responses(api, stream=False))
        wire.respond = lambda: response
        answers(lambda: [model.chat([ChatMessage("x")]) if chat else model.complete("x")])

    @many
    @given(st.data(), st.booleans())
    def test_streams(self, api: Api, data: st.DataObject, chat: bool) -> None:
        wire = Wire()
        model = api.make(**wire.clients())
        response = data.draw(responses(api, stream=True))
        wire.respond = lambda: response
        answers(lambda: list(model.stream_chat([ChatMessage("x")]) if chat else model.stream_complete("x")))


# ------------------------------------------------------------------ what is beside chat

_VECTORS = {"data": [{"index": 0, "embedding": [0.5, 1.5]}], "model": "m", "usage": {"prompt_tokens": 5}}
_RANKS = {"results": [{"index": 0, "relevance_score": 0.5}], "model": "m", "usage": {"total_tokens": 5}}
_SPOKEN = {
    "text": "a",
    "language": "en",
    "duration": 1.0,
    "segments": [{"id": 0, "start": 0.0, "end": 1.0, "text": "a"}],
    "words": [{"word": "a", "start": 0.0, "end": 1.0}],
}
_PAGES = {"pages": [{"index": 0, "markdown": "a", "images": []}], "model": "m", "usage_info": {"pages_processed": 1}}
_LIST = {"object": "list", "data": [{"id": "m", "object": "model", "created": 1, "owned_by": "o"}]}
_ENDPOINT = {
    "id": "e",
    "name": "n",
    "model_name": "m",
    "inference_framework": "vllm",
    "spec": {"endpoint_type": "sync"},
}
_INFO = {"model_id": "m", "version": "3", "max_input_tokens": 5, "max_total_tokens": 9, "max_best_of": 2}
_BASE: dict[str, Any] = {"api_key": KEY, "max_retries": 0, "base_url": "http://127.0.0.1:1"}

BESIDE: dict[str, tuple[Any, Callable[[dict[str, Any]], Any]]] = {
    "embeddings": (_VECTORS, lambda fields: ScalewayEmbeddings(model="m", **fields).embed_query("x")),
    "rerank": (_RANKS, lambda fields: ScalewayRerank(**fields).rerank(["x"], "y")),
    "transcription": (
        _SPOKEN,
        lambda fields: ScalewayTranscriptionParser(split_segments=True, **fields).parse(Blob.from_data(b"fLaC")),
    ),
    "ocr": (_PAGES, lambda fields: ScalewayOCRParser(**fields).parse(Blob.from_data(b"%PDF-"))),
    "models": (_LIST, lambda fields: ChatScaleway(model="m", **fields).list_models()),
    "endpoints": ({"model_endpoints": [_ENDPOINT]}, lambda fields: ChatLLMEngine(model="m", **fields).list_models()),
    "endpoint": (_ENDPOINT, lambda fields: ChatLLMEngine(model="m", **fields).get_model("n")),
    "info": (_INFO, lambda fields: DataCrunch(**fields).info()),
    "health": ({}, lambda fields: DataCrunch(**fields).health()),
}


@pytest.mark.parametrize("name", BESIDE)
@many
@given(st.data())
def test_what_is_beside_chat(name: str, data: st.DataObject) -> None:
    good, ask = BESIDE[name]
    status = data.draw(st.sampled_from([200, 200, 200, 400, 503]))
    body = data.draw(mutated(good if status == 200 else data.draw(st.sampled_from(ERRORS))))
    wire = Wire()
    wire.respond = lambda: httpx.Response(status, content=body)
    try:
        ask({**_BASE, **wire.clients()})
    except LinkspanError as error:
        str(error)


# ------------------------------------------------------------------ what the guards say


@pytest.mark.parametrize("api", LANGCHAIN, ids=lambda api: api.name)
def test_a_malformed_answer_says_what_is_wrong(api: Api) -> None:
    wire = Wire()
    wire.respond = lambda: httpx.Response(200, content=b'{"choices": [null], "output": [1], "generated_text": 5}')
    with pytest.raises(InvalidResponseError) as caught:
        api.make(**wire.clients()).invoke("x")
    assert caught.value.status_code == 200
    assert "generated_text" in caught.value.body
    assert str(caught.value).startswith(f"{caught.value.provider}: ")


@pytest.mark.parametrize("api", LANGCHAIN, ids=lambda api: api.name)
def test_a_malformed_event_keeps_the_answer_so_far(api: Api) -> None:
    wire = Wire()
    bad = b'{"choices": [5], "output": 5, "token": {"text": 5}}'
    wire.respond = lambda: httpx.Response(200, content=api.body([*api.events[: api.opening], bad]))
    with pytest.raises(InvalidResponseError) as caught:
        list(api.make(**wire.clients()).stream("x"))
    assert caught.value.partial_text.startswith("Hello ")
    assert caught.value.body == bad.decode()


def test_half_a_surrogate_pair_is_a_replacement_character() -> None:
    wire = Wire()
    chat = ChatScaleway(model="m", api_key=KEY, max_retries=0, **wire.clients())
    choice = rb'{"index": 0, "delta": {"content": "a\ud83d \ud83d\ude42 \\ud83d"}, "finish_reason": "stop"}'
    wire.respond = lambda: httpx.Response(200, content=b'data: {"choices": [%b]}\n\n' % choice)
    assert "".join(str(chunk.content) for chunk in chat.stream("x")) == "a\ufffd 🙂 \\ud83d"
