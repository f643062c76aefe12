"""What must be equal, for any conversation and any answer: streamed and whole, sync and async, one framework and the
other, what goes out and what can be read of it."""

from __future__ import annotations

import asyncio
import functools
import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from llama_index.core.base.llms.types import ChatMessage, MessageRole, TextBlock, ToolCallBlock
from pydantic import SecretStr

from linkspan import langchain, llama_index
from linkspan.conversation import ChatRequest, Completion, Image, Message, PromptRequest, Text, ToolCall, Usage
from linkspan.endpoint import Endpoint, connect
from linkspan.providers.datacrunch import DATACRUNCH, DataCrunchChatCodec, TGICodec
from linkspan.providers.filters.forced_call import ForcedCallCodec
from linkspan.providers.gray_swan import GRAY_SWAN, GraySwanChatCodec
from linkspan.providers.llm_engine import LLM_ENGINE, LLMEngineChatCodec, LLMEnginePromptCodec
from linkspan.providers.scaleway import SCALEWAY, ScalewayChatCodec
from tests.support.streams import assemble, astream_deltas, stream_deltas

if TYPE_CHECKING:
    from collections.abc import Callable

    from linkspan.providers.provider import Provider

URL = "http://127.0.0.1:9"
KEY = "a-key-for-nobody"
quick = settings(max_examples=15, suppress_health_check=list(HealthCheck))

# --------------------------------------------------------------------------- any answer

texts = st.text(st.characters(exclude_categories=("Cs",)), max_size=30)
names = st.from_regex(r"[a-z][a-z_]{0,8}", fullmatch=True)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | texts, lambda v: st.lists(v, max_size=2), max_leaves=4
)
arguments = st.dictionaries(names, values, max_size=3).map(json.dumps)
counts = st.integers(1, 999)


@dataclass
class Answer:
    """An answer in pieces, and how it ends."""

    pieces: list[str]
    thoughts: list[str]
    calls: list[ToolCall]
    finish_reason: str
    usage: tuple[int, int]

    @property
    def text(self) -> str:
        return "".join(self.pieces)


@st.composite
def answers(draw: st.DrawFn, *, thinks: bool) -> Answer:
    calls = draw(st.lists(st.builds(ToolCall, st.none(), names, arguments), max_size=3))
    for number, call in enumerate(calls):
        call.id = f"call_{number}"
    return Answer(
        draw(st.lists(texts, max_size=5)),
        draw(st.lists(texts, max_size=3)) if thinks else [],
        calls,
        draw(st.sampled_from(["stop", "length", "tool_calls"])),
        (draw(counts), draw(counts)),
    )


#: What is answered where the answer does not matter.
ANSWER = Answer(["ok"], [], [], "stop", (1, 1))


def usage_json(answer: Answer) -> dict[str, int]:
    given_, made = answer.usage
    return {"prompt_tokens": given_, "completion_tokens": made, "total_tokens": given_ + made}


def calls_json(answer: Answer) -> list[dict[str, Any]]:
    return [
        {
            "index": place,
            "id": call.id,
            "type": "function",
            "function": {"name": call.name, "arguments": call.arguments},
        }
        for place, call in enumerate(answer.calls)
    ]


def chat_body(answer: Answer) -> bytes:
    message: dict[str, Any] = {"role": "assistant", "content": answer.text or None}
    if answer.calls:
        message["tool_calls"] = calls_json(answer)
    if answer.thoughts:
        message["reasoning_content"] = "".join(answer.thoughts)
    choice = {"index": 0, "message": message, "finish_reason": answer.finish_reason}
    return json.dumps({"id": "1", "model": "m", "choices": [choice], "usage": usage_json(answer)}).encode()


def chat_events(answer: Answer) -> list[dict[str, Any]]:
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
    deltas += [{"reasoning_content": thought} for thought in answer.thoughts]
    deltas += [{"content": piece} for piece in answer.pieces]
    for call in calls_json(answer):
        whole = call["function"]["arguments"]
        half = len(whole) // 2
        deltas.append({"tool_calls": [{**call, "function": {**call["function"], "arguments": whole[:half]}}]})
        deltas.append({"tool_calls": [{"index": call["index"], "function": {"arguments": whole[half:]}}]})
    ended: list[Any] = [(delta, None) for delta in deltas] + [({}, answer.finish_reason)]
    head = {"id": "1", "model": "m"}
    events = [{**head, "choices": [{"index": 0, "delta": d, "finish_reason": why}]} for d, why in ended]
    return [*events, {**head, "choices": [], "usage": usage_json(answer)}]


def tgi_body(answer: Answer) -> bytes:
    return json.dumps({"generated_text": answer.text, "details": tgi_details(answer)}).encode()


def tgi_details(answer: Answer) -> dict[str, Any]:
    made = answer.usage[1]
    return {"finish_reason": "eos_token", "generated_tokens": made, "seed": None, "input_length": answer.usage[0]}


def tgi_events(answer: Answer) -> list[dict[str, Any]]:
    pieces = answer.pieces or [""]
    events: list[dict[str, Any]] = [
        {"token": {"id": 5, "text": piece, "logprob": -0.5, "special": False}, "generated_text": None, "details": None}
        for piece in pieces
    ]
    events[-1] |= {"generated_text": answer.text, "details": tgi_details(answer)}
    return events


def v1_body(answer: Answer) -> bytes:
    given_, made = answer.usage
    output = {"text": answer.text, "num_prompt_tokens": given_, "num_completion_tokens": made, "tokens": None}
    return json.dumps({"request_id": "r", "output": output}).encode()


def v1_events(answer: Answer) -> list[dict[str, Any]]:
    given_, made = answer.usage
    outputs: list[dict[str, Any]] = [
        {"text": piece, "finished": False, "num_prompt_tokens": None, "num_completion_tokens": made}
        for piece in answer.pieces
    ]
    last = {"text": "", "finished": True, "num_prompt_tokens": given_, "num_completion_tokens": made}
    return [{"request_id": "r", "output": {**output, "token": None}, "error": None} for output in [*outputs, last]]


def server(current: list[Answer], body: Any, events: Any) -> Callable[[httpx.Request], httpx.Response]:
    """Give the current answer whole or in events, as the request wants it."""

    def respond(request: httpx.Request) -> httpx.Response:
        asked = json.loads(request.content)
        (answer,) = current
        if not (asked.get("stream") or "stream" in request.url.path):
            return httpx.Response(200, content=body(answer), headers={"content-type": "application/json"})
        lines = [*(json.dumps(event) for event in events(answer)), *(["[DONE]"] if events is chat_events else [])]
        content = "".join(f"data: {line}\n\n" for line in lines)
        return httpx.Response(200, content=content.encode(), headers={"content-type": "text/event-stream"})

    return respond


@dataclass
class API:
    """An API: what its answers look like, and what it is asked."""

    provider: Provider
    codec: Callable[[], Any]
    body: Any = chat_body
    events: Any = chat_events
    thinks: bool = True
    calls: bool = True

    def request(self) -> Any:
        if self.calls:
            return ChatRequest("m", [Message("user", [Text("x")])])
        return PromptRequest("m", "x", parameters={"details": True} if self.body is tgi_body else {})


APIS = {
    "scaleway": API(SCALEWAY, ScalewayChatCodec),
    "gray swan": API(GRAY_SWAN, GraySwanChatCodec, thinks=False),
    "llm engine v2": API(LLM_ENGINE, lambda: ForcedCallCodec(LLMEngineChatCodec(), LLM_ENGINE.title)),
    "tgi messages": API(DATACRUNCH, DataCrunchChatCodec, thinks=False),
    "llm engine v1": API(LLM_ENGINE, LLMEnginePromptCodec, v1_body, v1_events, thinks=False, calls=False),
    "tgi generate": API(DATACRUNCH, TGICodec, tgi_body, tgi_events, thinks=False, calls=False),
}


@functools.cache
def endpoint_for(name: str) -> tuple[Endpoint[Any], list[Answer]]:
    """An endpoint of the API, and the answer that it gives, to be put in."""
    api, current = APIS[name], [ANSWER]
    transport = httpx.MockTransport(server(current, api.body, api.events))
    endpoint = connect(
        api.codec(),
        api.provider,
        api_key=SecretStr(KEY),
        base_url=URL,
        http_client=httpx.Client(transport=transport, trust_env=False),
        http_async_client=httpx.AsyncClient(transport=transport, trust_env=False),
    )
    return endpoint, current


def four_completions(endpoint: Endpoint[Any], request: Any) -> list[Completion]:
    """Whole and streamed, sync and async."""

    async def in_a_loop() -> list[Completion]:
        whole = await endpoint.acomplete(request)
        return [whole, assemble([delta async for delta in astream_deltas(endpoint, request)])]

    return [endpoint.complete(request), assemble(stream_deltas(endpoint, request)), *asyncio.run(in_a_loop())]


def comparable(completion: Completion) -> Completion:
    """Without what only a whole answer has, or only a stream: the body, and each token by itself."""
    usage = completion.usage
    counted = None if usage is None else Usage(usage.input_tokens, usage.output_tokens, usage.total_tokens)
    return replace(completion, raw=None, logprobs=None, usage=counted)


@pytest.mark.parametrize("name", list(APIS))
@quick
@given(data=st.data())
def test_streamed_is_whole_and_sync_is_async(name: str, data: st.DataObject) -> None:
    api = APIS[name]
    answer = data.draw(answers(thinks=api.thinks))
    if not api.calls:
        answer.calls = []
    endpoint, current = endpoint_for(name)
    current[:] = [answer]
    got = [comparable(completion) for completion in four_completions(endpoint, api.request())]
    assert got[0] == got[1] == got[2] == got[3]
    assert got[0].text == answer.text
    assert got[0].reasoning == "".join(answer.thoughts)
    assert [(call.id, call.name, json.loads(call.arguments)) for call in got[0].tool_calls] == [
        (call.id, call.name, json.loads(call.arguments)) for call in answer.calls
    ]
    assert got[0].usage is not None
    assert got[0].usage.output_tokens == answer.usage[1]


# --------------------------------------------------------------------------- any conversation


@dataclass
class Turn:
    """A turn as both frameworks can say it."""

    role: str
    text: str
    calls: list[ToolCall]
    answers: str | None = None


words = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=30).filter(str.strip)


@st.composite
def conversations(draw: st.DrawFn, *, calls: bool) -> list[Turn]:
    turns = [Turn("system", draw(words), [])] if draw(st.booleans()) else []
    for number in range(draw(st.integers(0, 2))):
        turns.append(Turn("user", draw(words), []))
        made = draw(st.lists(st.builds(ToolCall, st.none(), names, arguments), max_size=2)) if calls else []
        for place, call in enumerate(made):
            call.id = f"c{number}_{place}"
        turns.append(Turn("assistant", draw(words if not made else words | st.just("")), made))
        turns += [Turn("tool", draw(words), [], answers=call.id) for call in made]
        if made:
            turns.append(Turn("assistant", draw(words), []))
    return [*turns, Turn("user", draw(words), [])]


def for_langchain(turn: Turn) -> Any:
    if turn.role == "assistant":
        calls = [{"id": call.id, "name": call.name, "args": json.loads(call.arguments)} for call in turn.calls]
        return AIMessage(turn.text, tool_calls=calls)
    if turn.role == "tool":
        return ToolMessage(turn.text, tool_call_id=turn.answers)
    return (SystemMessage if turn.role == "system" else HumanMessage)(turn.text)


def for_llama_index(turn: Turn) -> ChatMessage:
    blocks: list[Any] = [TextBlock(text=turn.text)]
    blocks += [
        ToolCallBlock(tool_call_id=call.id, tool_name=call.name, tool_kwargs=json.loads(call.arguments))
        for call in turn.calls
    ]
    kwargs = {} if turn.answers is None else {"tool_call_id": turn.answers}
    return ChatMessage(role=MessageRole(turn.role), blocks=blocks, additional_kwargs=kwargs)


#: LangChain's class, LlamaIndex's, the settings of each, and how the API answers.
PAIRS: dict[str, tuple[Any, dict[str, Any], Any, dict[str, Any], tuple[Any, Any]]] = {
    "scaleway": (
        langchain.ChatScaleway,
        {"model": "m"},
        llama_index.Scaleway,
        {"model": "m"},
        (chat_body, chat_events),
    ),
    "gray swan": (langchain.ChatGraySwan, {}, llama_index.GraySwan, {}, (chat_body, chat_events)),
    "llm engine v2": (
        langchain.ChatLLMEngine,
        {"model": "m", "api": "v2"},
        llama_index.ChatLLMEngine,
        {"model": "m"},
        (chat_body, chat_events),
    ),
    "tgi messages": (
        langchain.ChatDataCrunch,
        {"model": "m", "api": "messages"},
        llama_index.ChatDataCrunch,
        {"model": "m"},
        (chat_body, chat_events),
    ),
    "llm engine v1": (
        langchain.ChatLLMEngine,
        {"model": "m", "api": "v1", "chat_template": "chatml"},
        llama_index.LLMEngine,
        {"model": "m", "chat_template": "chatml"},
        (v1_body, v1_events),
    ),
    "tgi generate": (
        langchain.ChatDataCrunch,
        {"model": "m", "api": "generate", "chat_template": "llama-3"},
        llama_index.DataCrunch,
        {"model": "m", "chat_template": "llama-3"},
        (tgi_body, tgi_events),
    ),
}


@dataclass
class Pair:
    """Both frameworks' objects for one API, the answer that they get, and the requests that they have sent."""

    chat: Any
    llm: Any
    current: list[Answer]
    seen: list[tuple[str, Any]]

    def reset(self, answer: Answer = ANSWER) -> Pair:
        self.current[:] = [answer]
        self.seen.clear()
        return self


@functools.cache
def pair_for(name: str) -> Pair:
    chat_class, chat_options, llm_class, llm_options, forms = PAIRS[name]
    current, seen = [ANSWER], []
    respond = server(current, *forms)

    def record(request: httpx.Request) -> httpx.Response:
        seen.append((request.url.path, json.loads(request.content)))
        return respond(request)

    client = httpx.Client(transport=httpx.MockTransport(record), trust_env=False)
    common = {"temperature": 0.5, "max_tokens": 9, "base_url": URL, "api_key": KEY, "http_client": client}
    return Pair(chat_class(**common, **chat_options), llm_class(**common, **llm_options), current, seen)


@pytest.mark.parametrize("name", list(PAIRS))
@quick
@given(data=st.data())
def test_both_frameworks_send_the_same(name: str, data: st.DataObject) -> None:
    pair = pair_for(name).reset()
    chat, llm = pair.chat, pair.llm
    conversation = data.draw(conversations(calls=PAIRS[name][-1][0] is chat_body))
    said = [for_langchain(turn) for turn in conversation]
    asked = [for_llama_index(turn) for turn in conversation]
    texts_ = [
        chat.invoke(said).text,
        llm.chat(asked).message.content,
        "".join(str(chunk.text) for chunk in chat.stream(said)),
        list(llm.stream_chat(asked))[-1].message.content,
    ]
    assert texts_ == ["ok"] * 4
    assert pair.seen[0] == pair.seen[1]
    assert pair.seen[2] == pair.seen[3]
    assert len(pair.seen) == 4


@pytest.mark.parametrize("name", ["scaleway", "gray swan", "llm engine v2", "tgi messages"])
@quick
@given(data=st.data())
def test_an_answer_goes_back_as_it_came(name: str, data: st.DataObject) -> None:
    answer = data.draw(answers(thinks=False))
    answer.finish_reason = "tool_calls" if answer.calls else "stop"
    pair = pair_for(name).reset(answer)
    chat, llm = pair.chat, pair.llm
    question = ChatMessage("x")
    chat.invoke([HumanMessage("x"), chat.invoke("x"), HumanMessage("y")])
    merged = None
    for chunk in chat.stream("x"):
        merged = chunk if merged is None else merged + chunk
    chat.invoke([HumanMessage("x"), merged, HumanMessage("y")])
    llm.chat([question, llm.chat([question]).message, ChatMessage("y")])
    llm.chat([question, list(llm.stream_chat([question]))[-1].message, ChatMessage("y")])
    # TGI takes a text and calls as two turns only.
    answered = [body["messages"][1:-1] for _, body in pair.seen if len(body["messages"]) > 1]
    assert len(answered) == 4
    for turns in answered:
        assert all(turn["role"] == "assistant" for turn in turns)
        assert "".join(turn["content"] or "" for turn in turns) == answer.text
        assert [
            (call["id"], call["function"]["name"], json.loads(call["function"]["arguments"]))
            for turn in turns
            for call in turn.get("tool_calls", ())
        ] == [(call.id, call.name, json.loads(call.arguments)) for call in answer.calls]


# --------------------------------------------------------------------------- conversation, wire, conversation


def read(message: dict[str, Any]) -> Message:
    """Read a Chat Completions message as any server does."""
    content = message["content"]
    parts: list[Any] = []
    if isinstance(content, str):
        parts = [Text(content)]
    elif content is not None:
        parts = [
            Text(part["text"])
            if part["type"] == "text"
            else Image(url=part["image_url"]["url"], detail=part["image_url"].get("detail"))
            for part in content
        ]
    calls = [
        ToolCall(c["id"], c["function"]["name"], c["function"]["arguments"]) for c in message.get("tool_calls", ())
    ]
    return Message(
        message["role"], parts, name=message.get("name"), tool_calls=calls, tool_call_id=message.get("tool_call_id")
    )


images = st.builds(Image, st.just("https://example.org/a.png"), detail=st.sampled_from([None, "low", "high"]))


@st.composite
def neutral(draw: st.DrawFn, *, text_alone: bool) -> list[Message]:
    messages = []
    for turn in draw(conversations(calls=True)):
        parts: list[Any] = [Text(turn.text)] if turn.text else []
        if turn.role == "user" and not text_alone and draw(st.booleans()):
            parts.append(draw(images))
        calls = [ToolCall(call.id, call.name, call.arguments) for call in turn.calls]
        name = draw(st.none() | names) if turn.role in {"user", "tool"} and not text_alone else None
        messages.append(Message(turn.role, parts, name=name, tool_calls=calls, tool_call_id=turn.answers))  # type: ignore[arg-type]
    return messages


@pytest.mark.parametrize("name", ["scaleway", "gray swan", "llm engine v2"])
@quick
@given(data=st.data())
def test_a_conversation_can_be_read_off_the_wire(name: str, data: st.DataObject) -> None:
    # Gray Swan's messages are texts and have no names.
    conversation = data.draw(neutral(text_alone=name == "gray swan"))
    body = APIS[name].codec().encode(ChatRequest("m", conversation), stream=False)
    assert [read(message) for message in json.loads(json.dumps(body))["messages"]] == conversation
