"""The eight endpoints of each class: what they return, count and announce, and how they end."""

from __future__ import annotations

import asyncio
from collections import Counter
from types import AsyncGeneratorType, GeneratorType
from typing import TYPE_CHECKING, Any

import pytest
from llama_index.core.base.llms.types import ChatMessage, TextBlock
from llama_index.core.callbacks import CallbackManager, LlamaDebugHandler
from llama_index.core.instrumentation.event_handlers import BaseEventHandler
from llama_index.core.instrumentation.span_handlers import SimpleSpanHandler
from llama_index.core.prompts import PromptTemplate
from llama_index_instrumentation import get_dispatcher
from pydantic import BaseModel

from linkspan import errors
from linkspan.llama_index import DataCrunch, LLMEngine
from linkspan_sandbox import EndEarly, ErrorEvent, HTTPError, Reply, Sandbox
from tests.llama_index_completions.conftest import CHATS, KEY, KINDS, PROMPTS, call_all, parameters_of, text_of
from tests.support.loopback import LoopbackServer, Repeat, chunk, event, event_stream, head, http

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from llama_index.core.callbacks import TokenCountingHandler

ANSWER = "brave new world"
#: The word that ends an answer is counted by TGI's generate.
COUNTED = {"llm_engine": 3, "legacy": 4, "container": 4, "chat_llm_engine": 3, "chat_datacrunch": 3}
FINISHED = {
    "llm_engine": None,
    "legacy": "stop",
    "container": "stop",
    "chat_llm_engine": "stop",
    "chat_datacrunch": "stop",
}


def test_all_eight_agree_and_the_counts_are_the_servers(
    make: Callable[..., Any], kind: str, sandbox: Sandbox, counter: TokenCountingHandler
) -> None:
    sandbox.add_rule(ANSWER)
    responses = call_all(make(kind), "Hello there")
    assert [text_of(response) for response in responses] == [ANSWER] * 8
    prompts = 0
    for response in responses:
        facts = response.additional_kwargs
        usage = response.raw["usage"]
        assert facts["completion_tokens"] == usage["completion_tokens"] == COUNTED[kind]
        assert facts["prompt_tokens"] == usage["prompt_tokens"] >= 2
        assert facts["total_tokens"] == facts["prompt_tokens"] + COUNTED[kind]
        assert facts.get("finish_reason") == FINISHED[kind]
        prompts += facts["prompt_tokens"]
    assert len(sandbox.requests) == 8
    assert counter.completion_llm_token_count == 8 * COUNTED[kind]
    assert counter.prompt_llm_token_count == prompts


def test_streams_are_generators_with_cumulative_text(make: Callable[..., Any], kind: str, sandbox: Sandbox) -> None:
    sandbox.add_rule(ANSWER)
    llm = make(kind)
    stream = llm.stream_chat([ChatMessage("x")])
    assert isinstance(stream, GeneratorType)
    chunks = list(stream)
    assert [chunk.delta for chunk in chunks][:3] == ["brave", " new", " world"]
    assert "".join(chunk.delta for chunk in chunks) == ANSWER
    assert [chunk.message.content for chunk in chunks][:2] == ["brave", "brave new"]
    assert all([type(block) for block in chunk.message.blocks] == [TextBlock] for chunk in chunks)
    assert all("usage" not in chunk.raw for chunk in chunks[:-1])

    async def check() -> None:
        async with llm:
            stream = await llm.astream_complete("x")
            assert isinstance(stream, AsyncGeneratorType)
            assert "".join([chunk.delta async for chunk in stream]) == ANSWER

    asyncio.run(check())


def test_an_empty_answer_still_yields(make: Callable[..., Any], kind: str, sandbox: Sandbox) -> None:
    sandbox.add_rule(Reply(text=""))
    llm = make(kind, callback_manager=None)  # core's counter estimates where the server says 0
    assert [text_of(response) for response in call_all(llm, "x")] == [""] * 8


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("llm_engine", {"return_token_log_probs": True}),
        ("legacy", {}),
        ("container", {}),
        ("chat_llm_engine", {"logprobs": True, "top_logprobs": 1}),
        ("chat_datacrunch", {"logprobs": True}),
    ],
)
def test_log_probabilities(make: Callable[..., Any], sandbox: Sandbox, kind: str, options: dict[str, Any]) -> None:
    sandbox.add_rule("a b")
    llm = make(kind)
    for whole in (llm.complete("x", **options), llm.chat([ChatMessage("x")], **options)):
        assert [(position[0].token, position[0].logprob) for position in whole.logprobs][:2] == [
            ("a", -0.25),
            (" b", -0.25),
        ]
    for stream in (llm.stream_complete("x", **options), llm.stream_chat([ChatMessage("x")], **options)):
        found = [position[0].token for chunk in stream if chunk.logprobs for position in chunk.logprobs]
        assert found[:2] == ["a", " b"]


@pytest.mark.parametrize("kind", ["legacy", "container"])
def test_log_probabilities_of_tgi_come_with_their_chunk_for_those_who_asked(
    make: Callable[..., Any], sandbox: Sandbox, kind: str
) -> None:
    sandbox.add_rule("a b")
    llm = make(kind)
    for options, counts in (({}, [0, 0, 3]), ({"details": True}, [1, 1, 1])):
        for stream in (llm.stream_complete("x", **options), llm.stream_chat([ChatMessage("x")], **options)):
            assert [len(chunk.logprobs or ()) for chunk in stream] == counts


def test_llm_engine_says_the_request_id_and_no_finish_reason(make: Callable[..., Any], sandbox: Sandbox) -> None:
    sandbox.add_rule(ANSWER)
    responses = call_all(make("llm_engine"), "Hello there")
    for response in responses:
        assert response.additional_kwargs["request_id"]
        assert "finish_reason" not in response.additional_kwargs
    assert len({response.additional_kwargs["request_id"] for response in responses}) == 8
    assert responses[0].raw["output"]["num_completion_tokens"] == 3
    assert responses[1].raw["request_id"] == responses[1].additional_kwargs["request_id"]


def test_tgi_says_what_details_say_streamed_or_not(make: Callable[..., Any]) -> None:
    seed = 18_446_744_073_709_551_615
    llm = make("container", do_sample=True, seed=seed, top_n_tokens=2)
    whole = llm.complete("one two")
    (*_, last) = llm.stream_complete("one two")
    for response in (whole, last):
        facts = response.additional_kwargs
        assert (facts["finish_reason"], facts["generated_tokens"], facts["seed"]) == ("stop", 3, seed)
        assert len(facts["top_tokens"]) == 3
    assert whole.raw["details"]["seed"] == seed
    assert last.raw["seed"] == seed
    assert last.additional_kwargs["input_length"] == last.raw["usage"]["prompt_tokens"] == 2
    prefill = llm.complete("one two", decoder_input_details=True).additional_kwargs["prefill"]
    assert [token["text"] for token in prefill] == ["one", " two"]


def test_tgi_gives_the_other_answers_of_best_of(make: Callable[..., Any], sandbox: Sandbox) -> None:
    llm = make("legacy", best_of=2, temperature=0.7)
    sandbox.add_rule("first", times=1)
    sandbox.add_rule("the second one")
    answer = llm.complete("x")
    others = answer.additional_kwargs["best_of_sequences"]
    assert {answer.text, others[0]["generated_text"]} == {"first", "the second one"}
    assert answer.raw["details"]["best_of_sequences"] == others
    with pytest.raises(errors.InvalidRequestError, match=r"best_of.*stream"):
        list(llm.stream_complete("x"))
    with pytest.raises(errors.InvalidRequestError, match=r"best_of.*seed"):
        llm.complete("x", seed=1)


def test_a_header_names_the_request_of_tgi() -> None:
    body = b'[{"generated_text": "Hi", "details": {"finish_reason": "length", "generated_tokens": 1, "seed": 7}}]'
    with LoopbackServer() as server:
        server.answer(http(200, body, headers={"x-request-id": "r-7"}))
        with DataCrunch(base_url=server.url, api_key=KEY) as llm:
            answer = llm.complete("x")
    facts = {"request_id": "r-7", "finish_reason": "length", "generated_tokens": 1, "seed": 7, "completion_tokens": 1}
    assert answer.text == "Hi"
    assert answer.additional_kwargs == facts
    # How long the prompt was, nobody said: nothing is made up.
    assert answer.raw is not None
    assert answer.raw["usage"] == {"completion_tokens": 1}


class Song(BaseModel):
    """A song."""

    title: str


class _Events(BaseEventHandler):
    @classmethod
    def class_name(cls) -> str:
        return "events"

    def handle(self, event: Any, **_: Any) -> None:
        _SEEN.append(type(event).__name__)


_SEEN: list[str] = []


@pytest.fixture
def spans() -> Iterator[SimpleSpanHandler]:
    root = get_dispatcher()
    handlers, span_handlers = list(root.event_handlers), list(root.span_handlers)
    _SEEN.clear()
    spans = SimpleSpanHandler()
    root.add_event_handler(_Events())
    root.add_span_handler(spans)
    yield spans
    root.event_handlers, root.span_handlers = handlers, span_handlers


def test_one_start_one_end_and_one_span_per_call(
    make: Callable[..., Any], kind: str, sandbox: Sandbox, spans: SimpleSpanHandler
) -> None:
    sandbox.add_rule("a b")
    call_all(make(kind), "x")
    counts = Counter(name for name in _SEEN if "InProgress" not in name)
    assert counts == dict.fromkeys(
        ("LLMChatStartEvent", "LLMChatEndEvent", "LLMCompletionStartEvent", "LLMCompletionEndEvent"), 4
    )
    names = Counter(span.id_.split("-")[0].split(".")[1] for span in spans.completed_spans)
    methods = ["chat", "complete", "stream_chat", "stream_complete"]
    assert names == dict.fromkeys([*methods, *(f"a{method}" for method in methods)], 1)


def test_one_start_and_one_end_under_predict(
    make: Callable[..., Any], kind: str, sandbox: Sandbox, spans: SimpleSpanHandler
) -> None:
    assert spans.completed_spans == []
    sandbox.add_rule('{"title": "Over the sea"}')
    llm = make(kind)
    prompt = PromptTemplate("A song about {topic}")
    asked = "Completion" if kind in PROMPTS else "Chat"
    for outer, ask in (
        ("LLMPredict", lambda: llm.predict(prompt, topic="ferries")),
        ("LLMPredict", lambda: list(llm.stream(prompt, topic="ferries"))),
        ("LLMStructuredPredict", lambda: llm.structured_predict(Song, prompt, topic="ferries")),
        ("LLMStructuredPredict", lambda: list(llm.stream_structured_predict(Song, prompt, topic="ferries"))),
    ):
        _SEEN.clear()
        ask()
        counts = Counter(name for name in _SEEN if "InProgress" not in name)
        inner = {f"LLM{asked}StartEvent": 1, f"LLM{asked}EndEvent": 1}
        assert {name: count for name, count in counts.items() if not name.startswith(outer)} == inner
        assert counts[f"{outer}StartEvent"] == 1
    assert len(sandbox.requests) == 4


# --------------------------------------------------------------------------- how it ends


@pytest.mark.parametrize(
    ("status", "error"),
    [(401, errors.AuthenticationError), (422, errors.InvalidRequestError), (429, errors.RateLimitError)],
)
def test_errors_are_typed(make: Callable[..., Any], kind: str, sandbox: Sandbox, status: int, error: Any) -> None:
    sandbox.add_rule(Reply(fault=HTTPError(status, headers={"x-request-id": "r-1"})))
    llm = make(kind, callback_manager=None)
    with pytest.raises(error) as caught:
        llm.chat([ChatMessage("a secret prompt")])
    assert caught.value.request_id == "r-1"
    assert KEY not in repr(caught.value)
    assert "a secret prompt" not in str(caught.value)
    with pytest.raises(error):
        list(llm.stream_complete("x"))

    async def in_a_loop() -> None:
        async with llm:
            with pytest.raises(error):
                await llm.acomplete("x")
            with pytest.raises(error):
                async for _ in await llm.astream_chat([ChatMessage("x")]):
                    pass

    asyncio.run(in_a_loop())
    assert len(sandbox.requests) == 4


def test_a_failed_attempt_is_repeated(make: Callable[..., Any], kind: str, sandbox: Sandbox) -> None:
    sandbox.add_rule(Reply(fault=HTTPError(429, headers={"retry-after": "0"})), times=1)
    sandbox.add_rule("there")
    assert make(kind, max_retries=1).complete("x").text == "there"
    assert len(sandbox.requests) == 2


def test_a_stream_that_dies_has_the_text_so_far(make: Callable[..., Any], kind: str, sandbox: Sandbox) -> None:
    sandbox.add_rule(Reply(text="one two three", fault=ErrorEvent(after=2)))
    llm = make(kind, callback_manager=None)
    with pytest.raises(errors.LinkspanError) as caught:
        list(llm.stream_complete("x"))
    assert caught.value.partial_text == "one two"

    async def in_a_loop() -> None:
        async with llm:
            stream = await llm.astream_chat([ChatMessage("x")])
            with pytest.raises(errors.LinkspanError) as caught:
                [chunk async for chunk in stream]
            assert caught.value.partial_text == "one two"

    asyncio.run(in_a_loop())


@pytest.mark.parametrize("kind", ["legacy", "container", *CHATS])
def test_a_stream_cut_short_is_an_error(make: Callable[..., Any], kind: str, sandbox: Sandbox) -> None:
    # Not so on LLM Engine's prompt API: TensorRT-LLM never says that it is done.
    sandbox.add_rule(Reply(text="one two three", fault=EndEarly(after=2)))
    with pytest.raises(errors.InterruptedStreamError) as caught:
        list(make(kind, callback_manager=None).stream_chat([ChatMessage("x")]))
    assert caught.value.partial_text == "one two"


def test_an_error_event_of_llm_engine_names_the_request(sandbox: Sandbox) -> None:
    said = b'{"request_id":"r-2","output":null,"error":{"status_code":500,"content":{"error":"out of memory"}}}'
    first = b'{"request_id":"r-2","output":{"text":"one","finished":false,"num_completion_tokens":1}}'
    with LoopbackServer() as server:
        server.always(*event_stream(first, said))
        llm = LLMEngine(model="m", base_url=server.url, api_key=KEY, max_retries=0)
        with llm, pytest.raises(errors.LinkspanError, match="out of memory") as caught:
            list(llm.stream_complete("x"))
    assert (caught.value.request_id, caught.value.partial_text) == ("r-2", "one")


def _endless(kind: str) -> list[Any]:
    piece = {
        "llm_engine": b'{"request_id":"1","output":{"text":"a","finished":false,"num_completion_tokens":1}}',
        "legacy": b'{"token":{"id":5,"text":"a","logprob":-1,"special":false},"generated_text":null,"details":null}',
    }.get(kind, b'{"id":"1","model":"m","choices":[{"index":0,"delta":{"content":"a"},"finish_reason":null}]}')
    return [head(), event(piece), Repeat(chunk(b"data:" + piece + b"\n\n"))]


@pytest.mark.parametrize("kind", ["llm_engine", "legacy", *CHATS])
def test_leaving_a_stream_closes_the_connection(kind: str) -> None:
    with LoopbackServer() as server:
        server.always(*_endless(kind))
        # The debug handler keeps the exception of the early end, and with it everything that core's wrapper refers to.
        callbacks = CallbackManager([LlamaDebugHandler(print_trace_on_end=False)])
        llm = KINDS[kind][0](model="m", base_url=server.url, api_key=KEY, callback_manager=callbacks)
        for _ in llm.stream_chat([ChatMessage("x")]):
            break
        assert server.wait_closed(0)
        stream = llm.stream_complete("x")
        next(stream)
        stream.close()
        assert server.wait_closed(1)

        async def leave() -> None:
            stream = await llm.astream_chat([ChatMessage("x")])
            await stream.__anext__()
            await stream.aclose()
            assert await asyncio.to_thread(server.wait_closed, 2)
            await llm.aclose()

        asyncio.run(leave())


@pytest.mark.parametrize("kind", ["llm_engine", "container"])
def test_leaving_a_stream_of_objects_closes_the_connection(kind: str) -> None:
    one = '{\\"title\\": \\"Over'
    piece = (
        f'{{"request_id":"1","output":{{"text":"{one}","finished":false,"num_completion_tokens":1}}}}'
        if kind == "llm_engine"
        else f'{{"token":{{"id":5,"text":"{one}","logprob":-1,"special":false}},"generated_text":null,"details":null}}'
    ).encode()
    with LoopbackServer() as server:
        server.always(head(), event(piece), Repeat(chunk(b": still there\n\n")))
        cls, fields, _ = KINDS[kind]
        llm = cls(**{**fields, "model": "m", "base_url": server.url, "api_key": KEY})
        stream = llm.stream_structured_predict(Song, PromptTemplate("Sing"))
        assert next(stream).title == "Over"
        stream.close()
        assert server.wait_closed(0)


def test_one_object_in_two_loops_sends_each_request_once(make: Callable[..., Any], kind: str, sandbox: Sandbox) -> None:
    sandbox.add_rule("there")
    llm = make(kind)
    for _ in range(2):
        assert asyncio.run(llm.acomplete("hi")).text == "there"
    assert len(sandbox.requests) == 2


async def test_sync_calls_inside_a_running_loop(make: Callable[..., Any], kind: str, sandbox: Sandbox) -> None:
    sandbox.add_rule("there")
    llm = make(kind)
    assert llm.complete("hi").text == "there"
    async with llm:
        assert (await llm.acomplete("hi")).text == "there"


@pytest.mark.parametrize("kind", PROMPTS)
def test_what_is_always_sent(make: Callable[..., Any], kind: str, sandbox: Sandbox) -> None:
    make(kind).complete("Hi")
    always = {"max_new_tokens": 256, "temperature": 0.2}
    assert parameters_of(sandbox.last_request) == (
        always if kind == "llm_engine" else {"max_new_tokens": 512, "details": True}
    )


@pytest.mark.parametrize("kind", CHATS)
def test_a_chat_class_sends_nothing_unset(make: Callable[..., Any], kind: str, sandbox: Sandbox) -> None:
    make(kind).chat([ChatMessage("Hi")])
    assert parameters_of(sandbox.last_request) == {}
