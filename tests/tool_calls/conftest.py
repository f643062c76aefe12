"""Every chat class of both frameworks before one scripted server, and what a user sees of the tool calls it answers."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from llama_index.core.base.llms.types import ChatMessage

from linkspan import langchain, llama_index
from linkspan.errors import InvalidResponseError
from linkspan_sandbox import Reply, Sandbox
from tests.support import responses

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from linkspan_sandbox import Call

KEY = "key-of-the-tool-calls"
#: How to ask: whole or streamed, sync or async.
WAYS = ("invoke", "ainvoke", "stream", "astream")
PARAMETERS = {"type": "object", "properties": {"to": {"type": "string"}, "amount": {"type": "integer"}}}
TOOLS = [
    {"type": "function", "function": {"name": name, "description": "A tool.", "parameters": PARAMETERS}}
    for name in ("pay", "look_up")
]


@dataclass
class Seen:
    """What a user sees of an answer: the calls that may run, by id, and what is said of those that may not."""

    calls: list[tuple[str, str, dict[str, Any]]]
    refusal: str
    text: str


@dataclass(frozen=True)
class Chat:
    """One chat class."""

    framework: str
    name: str
    url: str
    settings: tuple[tuple[str, Any], ...] = ()

    def make(self, sandbox: Sandbox, **more: Any) -> Any:
        module = langchain if self.framework == "langchain" else llama_index
        where = {"api_key": KEY, "base_url": getattr(sandbox, self.url), "max_retries": 0, "timeout": 60}
        return getattr(module, self.name)(**{**where, **dict(self.settings), **more})

    def ask(self, model: Any, way: str, history: Sequence[Any] = (), **parameters: Any) -> Seen:
        """Ask with two tools on offer, and look at the answer as the framework's agents do."""
        ask = _ask_langchain if self.framework == "langchain" else _ask_llama_index
        return ask(model, way, history, parameters)


_LLAMA = (("model", "llama-3.3-70b-instruct"),)
_ENGINE = (("model", "llama-3-8b-instruct"),)
CHATS = [
    Chat("langchain", "ChatScaleway", "scaleway_url", _LLAMA),
    Chat("langchain", "ChatGraySwan", "gray_swan_url"),
    Chat("langchain", "ChatLLMEngine", "llm_engine_url", _ENGINE),
    Chat("langchain", "ChatDataCrunch", "tgi_url", (("api", "messages"),)),
    Chat("llama_index", "Scaleway", "scaleway_url", _LLAMA),
    Chat("llama_index", "GraySwan", "gray_swan_url"),
    Chat("llama_index", "ChatLLMEngine", "llm_engine_url", _ENGINE),
    Chat("llama_index", "ChatDataCrunch", "tgi_url"),
]
#: The same over the Responses API.
RESPONSES = [
    Chat(framework, name, "scaleway_url", (*_LLAMA, ("api", "responses")))
    for framework, name in (("langchain", "ChatScaleway"), ("llama_index", "Scaleway"))
]


@pytest.fixture
def sandbox_settings() -> dict[str, Any]:
    return {"api_key": KEY}


def name_of(chat: Chat) -> str:
    """The id of a test's parameter."""
    return "-".join((chat.framework, chat.name, *(value for key, value in chat.settings if key == "api")))


@pytest.fixture(params=CHATS, ids=name_of)
def chat(request: pytest.FixtureRequest) -> Chat:
    return request.param  # type: ignore[no-any-return]  # one of the list above


@pytest.fixture
def make(chat: Chat, sandbox: Sandbox) -> Iterator[Callable[..., Any]]:
    made: list[Any] = []

    def build(**more: Any) -> Any:
        made.append(chat.make(sandbox, **more))
        return made[-1]

    yield build
    for model in made:
        model.close()


def merged(chunks: Sequence[Any]) -> Any:
    """What LangChain's users make of a stream."""
    whole = chunks[0]
    for chunk in chunks[1:]:
        whole += chunk
    return whole


def _ask_langchain(model: Any, way: str, history: Sequence[Any], parameters: dict[str, Any]) -> Seen:
    bound = model.bind_tools(TOOLS, **parameters)
    messages = [*history, ("user", "go")]

    async def stream() -> list[Any]:
        return [chunk async for chunk in bound.astream(messages)]

    if way == "invoke":
        message = bound.invoke(messages)
    elif way == "ainvoke":
        message = asyncio.run(bound.ainvoke(messages))
    else:
        message = merged(list(bound.stream(messages)) if way == "stream" else asyncio.run(stream()))
    refusal = " ".join(call["error"] for call in message.invalid_tool_calls)
    calls = [(call["id"], call["name"], call["args"]) for call in message.tool_calls]
    return Seen(calls, refusal, message.content)


def _ask_llama_index(model: Any, way: str, history: Sequence[Any], parameters: dict[str, Any]) -> Seen:
    messages = [*history, ChatMessage("go")]
    asked = {"tools": TOOLS, **parameters}

    async def stream() -> list[Any]:
        return [chunk async for chunk in await model.astream_chat(messages, **asked)]

    if way == "invoke":
        response = model.chat(messages, **asked)
    elif way == "ainvoke":
        response = asyncio.run(model.achat(messages, **asked))
    else:
        chunks = list(model.stream_chat(messages, **asked)) if way == "stream" else asyncio.run(stream())
        for chunk in chunks[:-1]:
            model.get_tool_calls_from_response(chunk, error_on_no_tool_call=False)
        response = chunks[-1]
    text = response.message.content or ""
    try:
        selected = model.get_tool_calls_from_response(response, error_on_no_tool_call=False)
    except InvalidResponseError as error:
        return Seen([], str(error), text)
    return Seen([(call.tool_id, call.tool_name, call.tool_kwargs) for call in selected], "", text)


# --------------------------------------------------------------------------- what the server says


def piece(arguments: Any = "", *, name: str | None = None, **fields: Any) -> dict[str, Any]:
    """A fragment of a streamed call, or a whole one."""
    function = {"arguments": arguments} if name is None else {"name": name, "arguments": arguments}
    return {"type": "function", "function": function, **fields}


def event(delta: dict[str, Any], finish: str | None = None, index: int = 0) -> dict[str, Any]:
    choice = {"index": index, "delta": delta, "finish_reason": finish}
    return {"id": "c-1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}


def streamed(*deltas: dict[str, Any], finish: str = "tool_calls") -> Reply:
    """A stream of these deltas; the last event has the finish reason alone."""
    return Reply(events=[*(event(delta) for delta in deltas), event({}, finish), "[DONE]"])


def whole(*calls: dict[str, Any], finish: str = "tool_calls") -> Reply:
    """A whole answer that makes these calls."""
    message = {"role": "assistant", "content": None, "tool_calls": list(calls)}
    choice = {"index": 0, "message": message, "finish_reason": finish}
    usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
    body = {"id": "c-1", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice], "usage": usage}
    return Reply(body=body)


def answer_with(sandbox: Sandbox, *calls: dict[str, Any], finish: str = "tool_calls") -> None:
    """Answer each question with these calls: whole, or each call in one event of a stream."""
    deltas = [{"tool_calls": [{"index": place, **call}]} for place, call in enumerate(calls)]

    def reply(asked: Call) -> Reply:
        if sandbox.requests[-1].path.endswith("/responses"):
            return _responded(calls, finish, stream=asked.stream)
        return streamed(*deltas, finish=finish) if asked.stream else whole(*calls, finish=finish)

    sandbox.add_rule(reply)


def _responded(calls: Sequence[dict[str, Any]], finish: str, *, stream: bool) -> Reply:
    reason = {"length": "max_output_tokens", "content_filter": "content_filter"}.get(finish)
    items = [
        responses.call(call["function"]["arguments"], call["function"]["name"], call["id"], f"fc_{place}")
        for place, call in enumerate(calls)
    ]
    if not stream:
        return Reply(body=responses.response(*items, reason=reason))
    pieces = [responses.said(item, item["arguments"] or "", place=place) for place, item in enumerate(items)]
    events = [one for several in pieces for one in several]
    return Reply(events=[responses.created(), *events, responses.ended(*items, reason=reason)])
