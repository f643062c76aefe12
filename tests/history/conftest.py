"""Every chat class of both frameworks before one sandbox, and conversations that both can be given."""

from __future__ import annotations

import asyncio
from contextlib import aclosing, closing
from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from llama_index.core.base.llms.types import ChatMessage, MessageRole, TextBlock, ToolCallBlock

from linkspan import langchain, llama_index

if TYPE_CHECKING:
    from collections.abc import Iterator

    from linkspan_sandbox import Sandbox

#: Name to the arguments of the class and the address that it is led to.
APIS: dict[str, tuple[str, dict[str, Any]]] = {
    "Scaleway": ("scaleway_url", {"model": "llama-3.3-70b-instruct"}),
    "GraySwan": ("gray_swan_url", {}),
    "LLMEngine": ("llm_engine_url", {"model": "llama-3-8b-instruct", "api": "v2"}),
    "DataCrunch": ("tgi_url", {"api": "messages"}),
}
NAMES = {
    "langchain": {name: getattr(langchain, f"Chat{name}") for name in APIS},
    "llama_index": {
        "Scaleway": llama_index.Scaleway,
        "GraySwan": llama_index.GraySwan,
        "LLMEngine": llama_index.ChatLLMEngine,
        "DataCrunch": llama_index.ChatDataCrunch,
    },
}


class Subject:
    """One chat class, asked in the same words whatever its framework."""

    def __init__(self, framework: str, api: str, sandbox: Sandbox) -> None:
        self.framework = framework
        self.api = api
        self.sandbox = sandbox
        self.made: list[Any] = []

    def make(self, **settings: Any) -> Any:
        """Return a model."""
        url, fields = APIS[self.api]
        fields = {key: value for key, value in fields.items() if key != "api" or self.framework == "langchain"}
        where = {"api_key": "any-key", "base_url": getattr(self.sandbox, url), "max_retries": 0, "timeout": 60}
        self.made.append(NAMES[self.framework][self.api](**{**fields, **where, **settings}))
        return self.made[-1]

    def messages(self, *turns: Any) -> list[Any]:
        """Return turns as the framework's messages: a text is the user's, a list holds calls, a pair is a result."""
        return [_langchain(turn) if self.framework == "langchain" else _llama_index(turn) for turn in turns]

    def ask(self, *turns: Any, way: str = "whole", model: Any = None, **keywords: Any) -> Any:
        """Ask, and return the framework's message: of a stream, put together by the framework."""
        model = model or self.make()
        messages = self.messages(*turns)
        if self.framework == "langchain":
            return _ask_langchain(model, messages, way, keywords)
        return _ask_llama_index(model, messages, way, keywords)

    def calls(self, answer: Any) -> list[tuple[str, Any]]:
        """Return name and arguments of each call of an answer."""
        if self.framework == "langchain":
            return [(call["name"], call["args"]) for call in answer.tool_calls]
        return [(block.tool_name, block.tool_kwargs) for block in answer.blocks if isinstance(block, ToolCallBlock)]

    def sent(self) -> list[dict[str, Any]]:
        """Return the messages of the last request."""
        return self.sandbox.last_request.json["messages"]


def _ask_langchain(model: Any, messages: list[Any], way: str, keywords: dict[str, Any]) -> Any:
    tools = keywords.pop("tools", None)
    asked = model.bind_tools(tools, **keywords) if tools else model.bind(**keywords) if keywords else model
    if way == "whole":
        return asked.invoke(messages)
    if way == "async":
        return asyncio.run(asked.ainvoke(messages))
    if way == "stream":
        chunks = list(asked.stream(messages))
    else:

        async def drain() -> list[Any]:
            async with aclosing(asked.astream(messages)) as stream:
                return [chunk async for chunk in stream]

        chunks = asyncio.run(drain())
    whole = chunks[0]
    for chunk in chunks[1:]:
        whole += chunk
    return whole


def _ask_llama_index(model: Any, messages: list[Any], way: str, keywords: dict[str, Any]) -> Any:
    if way == "whole":
        return model.chat(messages, **keywords).message
    if way == "async":
        return asyncio.run(model.achat(messages, **keywords)).message
    if way == "stream":
        with closing(model.stream_chat(messages, **keywords)) as chunks:
            return list(chunks)[-1].message

    async def drain() -> Any:
        async with aclosing(await model.astream_chat(messages, **keywords)) as stream:
            return [chunk async for chunk in stream][-1]

    return asyncio.run(drain()).message


def _langchain(turn: Any) -> Any:
    if isinstance(turn, str):
        return HumanMessage(turn)
    if isinstance(turn, tuple):
        return ToolMessage(turn[1], tool_call_id=turn[0] or "none")
    if not isinstance(turn, list):
        return turn
    good = [{"id": i, "name": name, "args": args} for i, name, args in turn if not isinstance(args, str)]
    broken = [{"id": i, "name": name, "args": args, "error": None} for i, name, args in turn if isinstance(args, str)]
    return AIMessage("", tool_calls=good, invalid_tool_calls=broken)


def _llama_index(turn: Any) -> Any:
    if isinstance(turn, str):
        return ChatMessage(turn)
    if isinstance(turn, tuple):
        extra = {"tool_call_id": turn[0]} if turn[0] else {}
        return ChatMessage(role=MessageRole.TOOL, content=turn[1], additional_kwargs=extra)
    if not isinstance(turn, list):
        return turn
    calls = [ToolCallBlock(tool_call_id=i, tool_name=name, tool_kwargs=args) for i, name, args in turn]
    return ChatMessage(role=MessageRole.ASSISTANT, blocks=[TextBlock(text=""), *calls])


@pytest.fixture(params=list(NAMES))
def framework(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(params=list(APIS))
def api(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def subject(framework: str, api: str, sandbox: Sandbox) -> Iterator[Subject]:
    subject = Subject(framework, api, sandbox)
    yield subject
    for model in subject.made:
        model.close()


@pytest.fixture
def scaleway(framework: str, sandbox: Sandbox) -> Iterator[Subject]:
    """The class of one API in each framework, for what does not depend on the API."""
    subject = Subject(framework, "Scaleway", sandbox)
    yield subject
    for model in subject.made:
        model.close()
