"""What LlamaIndex builds on the class: tools, agents, structured output, query engines."""

from __future__ import annotations

import asyncio
import pickle
from typing import TYPE_CHECKING, Any

import pytest
from llama_index.core import Document, MockEmbedding, SummaryIndex, VectorStoreIndex
from llama_index.core.agent.workflow import FunctionAgent, ToolCallResult
from llama_index.core.base.llms.types import ChatMessage, ImageBlock, TextBlock, ToolCallBlock
from llama_index.core.callbacks import CallbackManager
from llama_index.core.prompts import PromptTemplate
from llama_index.core.tools import FunctionTool
from llama_index.core.types import PydanticProgramMode
from pydantic import BaseModel

from linkspan.conversation import ToolCall
from linkspan.errors import ConfigurationError, ContentBlockedError, InvalidResponseError
from linkspan_sandbox import Reply, Sandbox
from tests.llama_index_adapter.test_messages import DATA_URL, PNG, VISION

if TYPE_CHECKING:
    from collections.abc import Callable

    from llama_index.core.callbacks import TokenCountingHandler

    from linkspan.llama_index import Scaleway


def add(x: int, y: int) -> int:
    """Add two numbers."""
    return x + y


ADD = FunctionTool.from_defaults(add)
CALLS = [ToolCall("a", "add", '{"x": 1, "y": 2}'), ToolCall("b", "add", '{"x": 30, "y": 4}')]


@pytest.mark.parametrize(
    ("options", "sent"),
    [
        ({}, None),
        ({"tool_required": True}, "required"),
        ({"tool_required": True, "tool_choice": None}, "required"),
        ({"tool_required": True, "tool_choice": "auto"}, "auto"),
        ({"tool_choice": "none"}, "none"),
        ({"tool_choice": "add"}, {"type": "function", "function": {"name": "add"}}),
        (
            {"tool_choice": {"type": "function", "function": {"name": "add"}}},
            {"type": "function", "function": {"name": "add"}},
        ),
    ],
)
def test_tool_choice(llm: Scaleway, sandbox: Sandbox, options: dict[str, Any], sent: Any) -> None:
    sandbox.add_rule("ok")
    llm.chat_with_tools([ADD], "1+2?", **options)
    body = sandbox.last_request.json
    assert body.get("tool_choice") == sent
    assert body["tools"][0]["function"]["name"] == "add"
    assert "strict" not in body["tools"][0]["function"]
    assert "parallel_tool_calls" not in body


def test_optional_words_are_sent_if_set(llm: Scaleway, sandbox: Sandbox) -> None:
    sandbox.add_rule("ok")
    llm.chat_with_tools([ADD], "1+2?", strict=True, parallel_tool_calls=False)
    body = sandbox.last_request.json
    assert (body["tools"][0]["function"]["strict"], body["parallel_tool_calls"]) == (True, False)
    with pytest.raises(ConfigurationError, match="substract"):
        llm.chat_with_tools([ADD], "1+2?", tool_choice="substract")


def undefined(port: NoSuchType) -> None:  # type: ignore[name-defined]  # noqa: F821
    """Open a port."""


def test_functions_and_dicts_are_tools(llm: Scaleway, sandbox: Sandbox) -> None:
    sandbox.add_rule("ok")
    described = {"type": "function", "function": {"name": "take", "parameters": {"type": "object"}}}
    llm.chat_with_tools([add, described], "1+2?", strict=True)  # type: ignore[list-item]
    functions = [tool["function"] for tool in sandbox.last_request.json["tools"]]
    assert [(function["name"], function["strict"]) for function in functions] == [("add", True), ("take", True)]
    assert "strict" not in described["function"]
    for wrong in (5, undefined, int):
        with pytest.raises(ConfigurationError, match=r"^tools: "):
            llm.chat_with_tools([wrong], "1+2?")  # type: ignore[list-item]


def test_the_history_is_copied_and_a_message_is_taken(llm: Scaleway, sandbox: Sandbox) -> None:
    history = [ChatMessage("before")]
    llm.chat_with_tools([], ChatMessage("now"), chat_history=history)
    assert len(history) == 1
    body = sandbox.last_request.json
    assert [message["content"] for message in body["messages"]] == ["before", "now"]
    assert "tools" not in body


def test_without_parallel_calls_both_places_hold_one(llm: Scaleway, sandbox: Sandbox) -> None:
    sandbox.add_rule(Reply(tool_calls=CALLS))
    one = llm.chat_with_tools([ADD], "?")
    assert [block.tool_call_id for block in one.message.blocks if isinstance(block, ToolCallBlock)] == ["a"]
    assert [call["id"] for call in one.message.additional_kwargs["tool_calls"]] == ["a"]
    both = llm.chat_with_tools([ADD], "?", allow_parallel_tool_calls=True)
    assert [selection.tool_id for selection in llm.get_tool_calls_from_response(both)] == ["a", "b"]
    assert llm.predict_and_call([ADD], "?").response == "3"


@pytest.mark.parametrize("arguments", ['{"x": 1, "y', '{"x": ', "]", "[1]", '"', '{"x": 1}}'])
def test_arguments_that_are_not_whole_raise(llm: Scaleway, arguments: str) -> None:
    block = ToolCallBlock(tool_call_id=None, tool_name="add", tool_kwargs=arguments)
    response = llm.chat([ChatMessage("x")])
    response.message.blocks.append(block)
    with pytest.raises(InvalidResponseError, match="The arguments of add"):
        llm.get_tool_calls_from_response(response)


def test_a_call_without_id_and_arguments_is_a_call(llm: Scaleway) -> None:
    response = llm.chat([ChatMessage("x")])
    response.message.blocks.append(ToolCallBlock(tool_call_id=None, tool_name="add", tool_kwargs=""))
    (selection,) = llm.get_tool_calls_from_response(response)
    assert selection.tool_kwargs == {}
    assert selection.tool_id


def test_no_tool_call_is_an_error_only_if_wanted(llm: Scaleway) -> None:
    response = llm.chat([ChatMessage("x")])
    assert llm.get_tool_calls_from_response(response, error_on_no_tool_call=False) == []
    with pytest.raises(ValueError, match="at least one tool call"):
        llm.get_tool_calls_from_response(response)


@pytest.mark.parametrize(
    ("reply", "kind", "words"),
    [
        (Reply("I had rather not."), InvalidResponseError, r"finish reason stop\)"),
        (Reply("I had", finish_reason="length"), InvalidResponseError, "raise max_tokens"),
        (Reply("I can", finish_reason="content_filter"), ContentBlockedError, r"blocked \(content_filter\)"),
    ],
)
def test_an_answer_without_the_call_says_why(
    llm: Scaleway, sandbox: Sandbox, reply: Reply, kind: type[Exception], words: str
) -> None:
    sandbox.add_rule(reply)
    ways = (lambda: llm.predict_and_call([ADD], "x"), lambda: asyncio.run(llm.apredict_and_call([ADD], "x")))
    for ask in ways:
        with pytest.raises(kind, match=words) as caught:
            ask()
        assert pickle.loads(pickle.dumps(caught.value)).args == caught.value.args


# --------------------------------------------------------------------------- agents


@pytest.mark.parametrize("streaming", [True, False])
async def test_an_agent_runs_parallel_calls(llm: Scaleway, sandbox: Sandbox, streaming: bool) -> None:
    sandbox.add_rule(Reply(tool_calls=CALLS), role="user")
    sandbox.add_rule("It is 3 and 34.", role="tool")
    handler = FunctionAgent(tools=[ADD], llm=llm, streaming=streaming).run("1+2 and 30+4?")
    results = [event async for event in handler.stream_events() if isinstance(event, ToolCallResult)]
    assert str(await handler) == "It is 3 and 34."
    assert {result.tool_id: result.tool_output.content for result in results} == {"a": "3", "b": "34"}
    turns = sandbox.last_request.json["messages"]
    assert [call["id"] for call in turns[-3]["tool_calls"]] == ["a", "b"]
    # LlamaIndex runs the tools at once and sends what they return in the order in which they end.
    assert sorted((turn["role"], turn["tool_call_id"]) for turn in turns[-2:]) == [("tool", "a"), ("tool", "b")]
    await llm.aclose()


def test_an_image_in_a_tool_result_is_delivered(make: Callable[..., Scaleway], sandbox: Sandbox) -> None:
    blocks = [TextBlock(text="a chart"), ImageBlock(image=PNG)]
    call = ToolCallBlock(tool_call_id="c1", tool_name="plot", tool_kwargs={})
    llm = make(model=VISION, callback_manager=None)
    llm.chat(
        [
            ChatMessage("plot it"),
            ChatMessage([call], role="assistant"),
            ChatMessage(blocks, role="tool", additional_kwargs={"tool_call_id": "c1"}),
        ]
    )
    assert DATA_URL in str(sandbox.last_request.json["messages"])


# --------------------------------------------------------------------------- structured output


class Song(BaseModel):
    """A song."""

    title: str
    year: int


PROMPT = PromptTemplate("A song about {topic}")
ANSWER = '{"title": "Over the sea", "year": 1974}'
SONG = Song(title="Over the sea", year=1974)


def four_ways(llm: Scaleway, options: dict[str, Any]) -> list[Any]:
    async def in_a_loop() -> list[Any]:
        stream = await llm.astream_structured_predict(Song, PROMPT, options, topic="ferries")
        return [
            await llm.astructured_predict(Song, PROMPT, options, topic="ferries"),
            [partial async for partial in stream][-1],
        ]

    return [
        llm.structured_predict(Song, PROMPT, options, topic="ferries"),
        list(llm.stream_structured_predict(Song, PROMPT, options, topic="ferries"))[-1],
        *asyncio.run(in_a_loop()),
    ]


def test_structured_output_by_schema_in_four_variants(
    make: Callable[..., Scaleway], sandbox: Sandbox, counter: TokenCountingHandler
) -> None:
    sandbox.add_rule(ANSWER)
    options = {"temperature": 0.5}
    assert four_ways(make(system_prompt="Sing."), options) == [SONG] * 4
    assert options == {"temperature": 0.5}
    assert len(sandbox.requests) == 4
    for request in sandbox.requests:
        body = request.json
        assert body["response_format"]["json_schema"]["name"] == "Song"
        assert body["response_format"]["json_schema"]["schema"]["required"] == ["title", "year"]
        assert body["temperature"] == 0.5
        assert [message["role"] for message in body["messages"]] == ["system", "user"]
        assert "tools" not in body
    assert counter.completion_llm_token_count > 0


def test_structured_output_by_function_where_the_mode_says_so(make: Callable[..., Scaleway], sandbox: Sandbox) -> None:
    sandbox.add_rule(Reply(tool_calls=[ToolCall("a", "Song", ANSWER)]))
    assert four_ways(make(pydantic_program_mode=PydanticProgramMode.FUNCTION), {}) == [SONG] * 4
    assert all("tools" in request.json and "response_format" not in request.json for request in sandbox.requests)


def test_structured_output_in_text_mode(make: Callable[..., Scaleway], sandbox: Sandbox) -> None:
    sandbox.add_rule(ANSWER)
    llm = make(pydantic_program_mode=PydanticProgramMode.LLM)
    assert llm.structured_predict(Song, PROMPT, topic="ferries") == SONG
    assert "response_format" not in sandbox.last_request.json


def test_an_answer_cut_short_is_no_object(make: Callable[..., Scaleway], sandbox: Sandbox) -> None:
    sandbox.add_rule(ANSWER)
    llm = make(max_tokens=2)
    with pytest.raises(InvalidResponseError, match="max_tokens"):
        llm.structured_predict(Song, PROMPT, topic="ferries")
    with pytest.raises(InvalidResponseError, match="max_tokens"):
        list(llm.stream_structured_predict(Song, PROMPT, topic="ferries"))


# --------------------------------------------------------------------------- query engines

DOCUMENTS = [Document(text="The linkspan of Ostra is 60 metres long.")]


@pytest.mark.parametrize("kind", ["summary", "vector"])
def test_query_engines(
    make: Callable[..., Scaleway], sandbox: Sandbox, counter: TokenCountingHandler, kind: str
) -> None:
    sandbox.add_rule("60 metres long")
    llm = make()
    if kind == "summary":
        index: Any = SummaryIndex.from_documents(DOCUMENTS)
    else:
        index = VectorStoreIndex.from_documents(DOCUMENTS, embed_model=MockEmbedding(embed_dim=4))

    # Core puts its global callback manager in the place of the class's own: give the counter back.
    def engine(**options: Any) -> Any:
        made = index.as_query_engine(llm=llm, **options)
        llm.callback_manager = CallbackManager([counter])
        return made

    async def in_a_loop() -> list[str]:
        plain = await engine().aquery("How long?")
        streamed = await engine(streaming=True).aquery("How long?")
        return [str(plain), "".join([piece async for piece in streamed.response_gen])]

    answers = [str(engine().query("How long?")), "".join(engine(streaming=True).query("How long?").response_gen)]
    answers += asyncio.run(in_a_loop())
    assert answers == ["60 metres long"] * 4
    assert "Ostra" in str(sandbox.last_request.json["messages"])
    assert len(sandbox.requests) == 4
    assert counter.completion_llm_token_count == 12


def test_a_query_engine_with_an_output_class(llm: Scaleway, sandbox: Sandbox) -> None:
    sandbox.add_rule(ANSWER)
    index = SummaryIndex.from_documents(DOCUMENTS)
    assert index.as_query_engine(llm=llm, output_cls=Song).query("Which song?").response == SONG
    assert sandbox.last_request.json["response_format"]["type"] == "json_schema"
