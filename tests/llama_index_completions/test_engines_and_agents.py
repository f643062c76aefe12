"""What LlamaIndex builds on the classes: query engines, chat engines, agents."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from llama_index.core import Document, MockEmbedding, SummaryIndex, VectorStoreIndex
from llama_index.core.agent.workflow import AgentStream, FunctionAgent, ReActAgent, ToolCallResult
from llama_index.core.base.llms.types import ChatMessage, ImageBlock, ToolCallBlock
from llama_index.core.callbacks import CallbackManager
from llama_index.core.chat_engine import SimpleChatEngine
from llama_index.core.chat_engine.types import ChatMode
from llama_index.core.tools import FunctionTool
from pydantic import BaseModel

from linkspan.conversation import ToolCall
from linkspan.errors import UnsupportedContentError
from linkspan.llama_index import register_data_prompts
from linkspan_sandbox import Reply
from tests.llama_index_completions.conftest import KINDS, PROMPTS, parameters_of, prompt_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from llama_index.core.callbacks import TokenCountingHandler

    from linkspan_sandbox import Sandbox

DOCUMENTS = [Document(text="The linkspan of Ostra is 60 metres long.")]
PNG = bytes.fromhex("89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c489")


def add(x: int, y: int) -> int:
    """Add two numbers."""
    return x + y


ADD = FunctionTool.from_defaults(add)


class Length(BaseModel):
    """A length."""

    metres: int


@pytest.mark.parametrize("of", ["summary", "vector"])
def test_query_engines(
    make: Callable[..., Any], kind: str, sandbox: Sandbox, counter: TokenCountingHandler, of: str
) -> None:
    sandbox.add_rule("60 metres long")
    llm = make(kind)
    if of == "summary":
        index: Any = SummaryIndex.from_documents(DOCUMENTS)
    else:
        index = VectorStoreIndex.from_documents(DOCUMENTS, embed_model=MockEmbedding(embed_dim=4))

    # Core puts its global callback manager in the place of the class's own: give the counter back.
    def engine(**options: Any) -> Any:
        made = index.as_query_engine(llm=llm, **options)
        llm.callback_manager = CallbackManager([counter])
        return made

    async def in_a_loop() -> list[str]:
        async with llm:
            plain = await engine().aquery("How long?")
            streamed = await engine(streaming=True).aquery("How long?")
            return [str(plain), "".join([piece async for piece in streamed.response_gen])]

    answers = [str(engine().query("How long?")), "".join(engine(streaming=True).query("How long?").response_gen)]
    answers += asyncio.run(in_a_loop())
    assert answers == ["60 metres long"] * 4
    assert "Ostra is 60 metres" in str(sandbox.last_request.json)
    assert len(sandbox.requests) == 4
    assert counter.completion_llm_token_count == 4 * (4 if kind in ("legacy", "container") else 3)


def test_a_query_engine_with_an_output_class(make: Callable[..., Any], kind: str, sandbox: Sandbox) -> None:
    sandbox.add_rule('{"metres": 60}')
    index = SummaryIndex.from_documents(DOCUMENTS)
    answer: Any = index.as_query_engine(llm=make(kind), output_cls=Length).query("How long?")
    assert answer.response == Length(metres=60)
    assert parameters_of(sandbox.last_request).keys() & {"guided_json", "grammar", "response_format"}


@pytest.mark.parametrize("kind", PROMPTS)
def test_a_query_engine_with_a_chat_template(make: Callable[..., Any], kind: str, sandbox: Sandbox) -> None:
    sandbox.add_rule("60 metres")
    index = SummaryIndex.from_documents(DOCUMENTS)
    engine = index.as_query_engine(llm=make(kind, chat_template="llama-2", system_prompt="Be brief"))
    assert str(engine.query("How long?")) == "60 metres"
    prompt = prompt_of(sandbox.last_request)
    assert prompt.startswith("[INST] <<SYS>>\nBe brief\n<</SYS>>")
    assert prompt.count("[INST]") == 1
    assert prompt.endswith("[/INST]")


@pytest.mark.parametrize("kind", PROMPTS)
def test_retrieved_text_as_data(make: Callable[..., Any], kind: str, sandbox: Sandbox) -> None:
    sandbox.add_rule("60 metres")
    index = SummaryIndex.from_documents(DOCUMENTS)
    take_back = register_data_prompts()
    try:
        with pytest.raises(UnsupportedContentError, match="data_role='fenced'"):
            index.as_query_engine(llm=make(kind, callback_manager=None)).query("How long?")
        engine = index.as_query_engine(llm=make(kind, data_role="fenced"))
        assert str(engine.query("How long?")) == "60 metres"
    finally:
        take_back()
    assert "user: How long?\nuser: Untrusted data between the two marks DATA-" in prompt_of(sandbox.last_request)


def test_chat_engines(make: Callable[..., Any], kind: str, sandbox: Sandbox) -> None:
    sandbox.add_rule("It is 60 metres long.")
    llm = make(kind)
    simple = SimpleChatEngine.from_defaults(llm=llm, system_prompt="Be brief")
    assert str(simple.chat("How long is it?")) == "It is 60 metres long."
    assert "".join(simple.stream_chat("Really?").response_gen) == "It is 60 metres long."
    said = str(sandbox.last_request.json)
    assert all(text in said for text in ("Be brief", "How long is it?", "It is 60 metres long.", "Really?"))

    index = VectorStoreIndex.from_documents(DOCUMENTS, embed_model=MockEmbedding(embed_dim=4))
    engine = index.as_chat_engine(chat_mode=ChatMode.CONDENSE_PLUS_CONTEXT, llm=llm)
    assert str(engine.chat("How long is it?")) == "It is 60 metres long."

    async def second_turn() -> str:
        async with llm:
            answer = await engine.astream_chat("Really?")
            return "".join([piece async for piece in answer.async_response_gen()])

    assert asyncio.run(second_turn()) == "It is 60 metres long."
    assert "Ostra is 60 metres" in str(sandbox.last_request.json)


# --------------------------------------------------------------------------- agents


@pytest.mark.parametrize(
    ("kind", "template"), [*((kind, None) for kind in KINDS), *((kind, "llama-2") for kind in PROMPTS)]
)
async def test_a_react_agent(
    make: Callable[..., Any], kind: str, sandbox: Sandbox, counter: TokenCountingHandler, template: str | None
) -> None:
    settings = {} if template is None else {"chat_template": template}
    sandbox.add_rule(
        'Thought: I need to use a tool.\nAction: add\nAction Input: {"x": 30, "y": 4}\n',
        when=lambda call: "Observation: 34" not in str(call.prompt) + str(call.messages),
    )
    sandbox.add_rule("Thought: I can answer without using any more tools.\nAnswer: It is 34.")
    async with make(kind, context_window=4096, **settings) as llm:
        handler = ReActAgent(tools=[ADD], llm=llm, system_prompt="Be exact.").run("30+4?")
        events = [event async for event in handler.stream_events()]
        assert str(await handler) == "It is 34."
    (result,) = [event for event in events if isinstance(event, ToolCallResult)]
    assert (result.tool_kwargs, result.tool_output.content) == ({"x": 30, "y": 4}, "34")
    assert len([event for event in events if isinstance(event, AgentStream)]) > 10
    assert len(sandbox.requests) == 2
    assert "Observation: 34" in str(sandbox.last_request.json)
    assert "Be exact." in str(sandbox.last_request.json)
    assert counter.completion_llm_token_count > 10


@pytest.mark.parametrize("streaming", [True, False])
async def test_a_function_agent(make: Callable[..., Any], chat_kind: str, sandbox: Sandbox, streaming: bool) -> None:
    calls = [ToolCall("a", "add", '{"x": 1, "y": 2}'), ToolCall("b", "add", '{"x": 30, "y": 4}')]
    sandbox.add_rule(Reply(tool_calls=calls), role="user")
    sandbox.add_rule("It is 3 and 34.", role="tool")
    async with make(chat_kind) as llm:
        handler = FunctionAgent(tools=[ADD], llm=llm, streaming=streaming).run("1+2 and 30+4?")
        results = [event async for event in handler.stream_events() if isinstance(event, ToolCallResult)]
        assert str(await handler) == "It is 3 and 34."
    assert sorted(result.tool_output.content for result in results) == ["3", "34"]
    turns = sandbox.last_request.json["messages"]
    assert [turn["role"] for turn in turns] == ["user", "assistant", "tool", "tool"]
    # LlamaIndex runs the tools at once and sends what they return in the order in which they end.
    assert [call["id"] for call in turns[1]["tool_calls"]] == sorted(turn["tool_call_id"] for turn in turns[2:])


def test_a_function_agent_needs_a_chat_class(make: Callable[..., Any], prompt_kind: str) -> None:
    with pytest.raises(ValueError, match="FunctionCallingLLM"):
        asyncio.run(_run(FunctionAgent(tools=[ADD], llm=make(prompt_kind, callback_manager=None))))


async def _run(agent: FunctionAgent) -> None:
    await agent.run("1+2?")


def test_tools_of_the_chat_classes(make: Callable[..., Any], chat_kind: str, sandbox: Sandbox) -> None:
    sandbox.add_rule(Reply(tool_calls=[ToolCall("a", "add", '{"x": 1, "y": 2}')]))
    llm = make(chat_kind)
    assert llm.predict_and_call([ADD], "1+2?").response == "3"
    response = llm.chat_with_tools([ADD], "1+2?", tool_required=True)
    assert sandbox.last_request.json["tool_choice"] == "required"
    assert [block.tool_kwargs for block in response.message.blocks if isinstance(block, ToolCallBlock)] == [
        {"x": 1, "y": 2}
    ]


def test_images_on_the_chat_classes(make: Callable[..., Any], chat_kind: str, sandbox: Sandbox) -> None:
    sandbox.add_rule("a chart")
    assert (
        make(chat_kind, callback_manager=None).chat([ChatMessage([ImageBlock(image=PNG)])]).message.content == "a chart"
    )
    assert "data:image/png;base64," in str(sandbox.last_request.json["messages"])


def test_reasoning_in_tags_on_the_chat_classes(make: Callable[..., Any], chat_kind: str, sandbox: Sandbox) -> None:
    sandbox.add_rule("<think>Let me see.</think>It is 34.")
    for split in (True, False):
        llm = make(chat_kind, split_reasoning=split)
        for message in (llm.chat([ChatMessage("x")]).message, list(llm.stream_chat([ChatMessage("x")]))[-1].message):
            assert message.content == ("It is 34." if split else "<think>Let me see.</think>It is 34.")
            kinds = [block.block_type for block in message.blocks]
            assert kinds == (["thinking", "text"] if split else ["text"])
