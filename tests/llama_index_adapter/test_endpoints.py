"""The eight endpoints: what they return, count and announce, and how they end."""

from __future__ import annotations

import asyncio
from collections import Counter
from types import AsyncGeneratorType, GeneratorType
from typing import TYPE_CHECKING, Any

import pytest
from llama_index.core import PromptTemplate
from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    ChatResponseAsyncGen,
    ChatResponseGen,
    CompletionResponse,
    MessageRole,
    TextBlock,
    ThinkingBlock,
    ToolCallBlock,
)
from llama_index.core.callbacks import CallbackManager, LlamaDebugHandler
from llama_index.core.instrumentation import get_dispatcher
from llama_index.core.instrumentation.event_handlers import BaseEventHandler
from llama_index.core.instrumentation.span_handlers import SimpleSpanHandler
from pydantic import BaseModel, SecretStr
from typing_extensions import assert_type

from linkspan.conversation import ToolCall
from linkspan.errors import InterruptedStreamError, RateLimitError
from linkspan.llama_index import Scaleway
from linkspan_sandbox import EndEarly, HTTPError, Reply, Sandbox
from tests.llama_index_adapter.conftest import KEY, MODEL, call_all
from tests.support.loopback import LoopbackServer, Repeat, UntilClosed, chunk, event, head

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from llama_index.core.callbacks import TokenCountingHandler

TEXT = "Hello brave new world"


def text_of(response: Any) -> str:
    return response.message.content if hasattr(response, "message") else response.text


def test_all_eight_agree_and_the_counts_are_the_servers(
    llm: Scaleway, sandbox: Sandbox, counter: TokenCountingHandler
) -> None:
    responses = call_all(llm, TEXT)
    assert [text_of(response) for response in responses] == [TEXT] * 8
    for response in responses:
        assert response.raw["usage"]["prompt_tokens"] == 4
        facts = response.additional_kwargs
        assert (facts["prompt_tokens"], facts["completion_tokens"], facts["total_tokens"]) == (4, 4, 8)
        assert (facts["finish_reason"], facts["model"]) == ("stop", MODEL)
        assert facts["request_id"]
    assert len(sandbox.requests) == 8
    assert counter.prompt_llm_token_count == 32
    assert counter.completion_llm_token_count == 32


def test_streams_are_generators_with_cumulative_text(llm: Scaleway) -> None:
    stream = llm.stream_chat([ChatMessage(TEXT)])
    assert isinstance(stream, GeneratorType)
    chunks = list(stream)
    assert "".join(chunk.delta for chunk in chunks) == TEXT
    assert [chunk.message.content for chunk in chunks][:2] == ["Hello", "Hello brave"]
    assert all([type(block) for block in chunk.message.blocks] == [TextBlock] for chunk in chunks)
    assert all("usage" not in chunk.raw for chunk in chunks[:-1])

    async def check() -> None:
        stream = await llm.astream_complete(TEXT)
        assert isinstance(stream, AsyncGeneratorType)
        assert "".join([chunk.delta async for chunk in stream]) == TEXT

    asyncio.run(check())


def test_an_empty_answer_still_yields(make: Callable[..., Scaleway], sandbox: Sandbox) -> None:
    sandbox.add_rule(Reply(text=""))
    llm = make(callback_manager=None)  # core's counter estimates where the server says 0
    assert [text_of(response) for response in call_all(llm, TEXT)] == [""] * 8


def test_reasoning_comes_first_and_in_the_place_where_agents_look(llm: Scaleway, sandbox: Sandbox) -> None:
    sandbox.add_rule(Reply(reasoning="Let me think", text="Done now"))
    whole = llm.chat([ChatMessage("?")])
    assert [type(block) for block in whole.message.blocks] == [ThinkingBlock, TextBlock]
    assert whole.message.blocks[0].content == "Let me think"
    assert whole.message.content == "Done now"

    async def collect() -> list[Any]:
        return [chunk async for chunk in await llm.astream_chat([ChatMessage("?")])]

    for chunks in (list(llm.stream_chat([ChatMessage("?")])), asyncio.run(collect())):
        thoughts = [chunk.additional_kwargs.get("thinking_delta", "") for chunk in chunks]
        assert "".join(thoughts) == "Let me think"
        assert chunks[0].delta == ""
        assert chunks[-1].message.blocks == whole.message.blocks


def test_tool_calls_in_blocks_and_plain_dicts_streamed_or_not(llm: Scaleway, sandbox: Sandbox) -> None:
    sandbox.add_rule(Reply(tool_calls=[ToolCall("a", "add", '{"x": 1}'), ToolCall("b", "add", '{"x": 2}')]))
    whole = llm.chat([ChatMessage("?")]).message
    last = list(llm.stream_chat([ChatMessage("?")]))[-1].message
    for message in (whole, last):
        calls = [block for block in message.blocks if isinstance(block, ToolCallBlock)]
        assert [(call.tool_call_id, call.tool_kwargs) for call in calls] == [("a", {"x": 1}), ("b", {"x": 2})]
        assert message.additional_kwargs["tool_calls"] == [
            {"id": name, "type": "function", "function": {"name": "add", "arguments": f'{{"x": {number}}}'}}
            for number, name in ((1, "a"), (2, "b"))
        ]


def test_half_written_tool_calls_are_readable_at_every_chunk(llm: Scaleway, sandbox: Sandbox) -> None:
    sandbox.add_rule(Reply(tool_calls=[ToolCall("a", "say", '{"text": "one two three"}')]))
    seen = [
        llm.get_tool_calls_from_response(chunk, error_on_no_tool_call=False)
        for chunk in llm.stream_chat([ChatMessage("?")])
    ]
    assert seen[-1][0].tool_kwargs == {"text": "one two three"}
    assert {selection.tool_id for selections in seen for selection in selections} == {"a"}


def test_log_probabilities(llm: Scaleway) -> None:
    whole = llm.complete("a b", logprobs=True, top_logprobs=1)
    assert [(position[0].token, position[0].logprob) for position in whole.logprobs] == [("a", -0.25), (" b", -0.25)]
    streamed = [chunk.logprobs for chunk in llm.stream_chat([ChatMessage("a b")], logprobs=True)]
    assert [position[0].token for chunk in streamed if chunk for position in chunk] == ["a", " b"]


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


def test_one_start_one_end_and_one_span_per_call(llm: Scaleway, spans: SimpleSpanHandler) -> None:
    call_all(llm, "a b")
    counts = Counter(name for name in _SEEN if "InProgress" not in name)
    assert counts == {
        "LLMChatStartEvent": 4,
        "LLMChatEndEvent": 4,
        "LLMCompletionStartEvent": 4,
        "LLMCompletionEndEvent": 4,
    }
    names = Counter(span.id_.split("-")[0].split(".")[1] for span in spans.completed_spans)
    methods = ["chat", "complete", "stream_chat", "stream_complete"]
    assert names == dict.fromkeys([*methods, *(f"a{method}" for method in methods)], 1)


# --------------------------------------------------------------------------- settings and kwargs


def test_nothing_unset_is_sent_and_the_call_beats_the_instance(make: Callable[..., Scaleway], sandbox: Sandbox) -> None:
    make().chat([ChatMessage("x")])
    assert sandbox.last_request.json == {"model": MODEL, "messages": [{"role": "user", "content": "x"}]}
    llm = make(
        temperature=0.5, top_p=0.9, stop="END", additional_kwargs={"top_k": 3}, extra_body={"a": 1}, max_tokens=9
    )
    llm.complete("x", True, temperature=0.1, top_p=None, stop=["X"], min_p=0.2, extra_body={"b": 2})
    body = sandbox.last_request.json
    del body["messages"], body["model"]
    assert body == {"temperature": 0.1, "max_tokens": 9, "top_k": 3, "min_p": 0.2, "stop": ["X"], "a": 1, "b": 2}
    assert (llm.temperature, llm.top_p, llm.stop, llm.extra_body) == (0.5, 0.9, ["END"], {"a": 1})


def test_stream_usage_can_be_switched_off(make: Callable[..., Scaleway], sandbox: Sandbox) -> None:
    last = list(make(stream_usage=False, callback_manager=None).stream_complete("x", timeout=5))[-1]
    assert last.raw is not None
    assert "usage" not in last.raw
    assert not sandbox.last_request.json.get("stream_options", {}).get("include_usage")


# --------------------------------------------------------------------------- how it ends


def test_errors_pass_through(make: Callable[..., Scaleway], sandbox: Sandbox) -> None:
    sandbox.add_rule(Reply(fault=HTTPError(429)))
    llm = make(max_retries=0)
    with pytest.raises(RateLimitError) as caught:
        llm.chat([ChatMessage("a secret prompt")])
    assert KEY not in repr(caught.value)
    assert "a secret prompt" not in str(caught.value)
    with pytest.raises(RateLimitError):
        list(llm.stream_complete("x"))
    assert len(sandbox.requests) == 2


def test_a_stream_cut_short_raises_with_the_text_so_far(make: Callable[..., Scaleway], sandbox: Sandbox) -> None:
    sandbox.add_rule(Reply(text="one two three", fault=EndEarly(after=2)))
    with pytest.raises(InterruptedStreamError) as caught:
        list(make(max_retries=0).stream_chat([ChatMessage("x")]))
    assert caught.value.partial_text == "one two"


def _endless() -> list[Any]:
    piece = b'{"id":"1","model":"m","choices":[{"index":0,"delta":{"content":"a"},"finish_reason":null}]}'
    return [head(), event(piece), Repeat(chunk(b"data: " + piece + b"\n\n"))]


def test_leaving_a_stream_closes_the_connection() -> None:
    with LoopbackServer() as server:
        server.always(*_endless())
        # The debug handler keeps the exception of the early end, and with it everything that core's wrapper refers to.
        callbacks = CallbackManager([LlamaDebugHandler(print_trace_on_end=False)])
        llm = Scaleway(model="m", base_url=server.url, api_key=KEY, callback_manager=callbacks)
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


def test_cancelling_a_task_closes_the_connection() -> None:
    async def main(server: LoopbackServer) -> None:
        llm = Scaleway(model="m", base_url=server.url, api_key=KEY)
        task = asyncio.ensure_future(llm.achat([ChatMessage("x")]))
        await asyncio.to_thread(server.wait_requests, 1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await asyncio.to_thread(server.wait_closed)

    with LoopbackServer() as server:
        server.always(UntilClosed())
        asyncio.run(main(server))


def test_one_object_in_two_loops_sends_each_request_once(make: Callable[..., Scaleway], sandbox: Sandbox) -> None:
    llm = make(max_retries=0)
    for _ in range(2):
        assert asyncio.run(llm.acomplete("hi")).text == "hi"
    assert len(sandbox.requests) == 2


async def test_sync_calls_inside_a_running_loop(llm: Scaleway) -> None:
    assert llm.complete("hi").text == "hi"
    async with llm:
        assert (await llm.acomplete("hi")).text == "hi"


def test_with_closes_and_a_later_call_works(llm: Scaleway) -> None:
    with llm as same:
        assert same.complete("hi").text == "hi"
    assert llm.complete("hi").text == "hi"


def test_the_callers_list_is_left_alone(llm: Scaleway) -> None:
    messages = [ChatMessage("a", role=MessageRole.SYSTEM), ChatMessage("b")]
    before = [message.model_copy(deep=True) for message in messages]
    llm.chat(messages)
    list(llm.stream_chat(messages))
    assert messages == before


async def test_type_checkers_know_the_key_and_what_the_endpoints_return(llm: Scaleway) -> None:
    class Trip(BaseModel):
        port: str

    prompt = PromptTemplate("x")
    # Constructors take a text; the field is a secret.
    assert isinstance(assert_type(llm.api_key, SecretStr | str | None), SecretStr)
    assert_type(llm.chat([ChatMessage("x")]), ChatResponse)
    assert_type(llm.complete("x"), CompletionResponse)
    assert_type(llm.stream_chat([ChatMessage("x")]), ChatResponseGen)
    assert_type(await llm.astream_chat([ChatMessage("x")]), ChatResponseAsyncGen)
    assert_type(await llm.acomplete("x"), CompletionResponse)
    assert_type(llm.structured_predict(Trip, prompt), Trip)
    assert isinstance(assert_type(await llm.astructured_predict(Trip, prompt), Trip), Trip)
