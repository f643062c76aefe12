"""Whole and streamed answers, sync and async: content, usage, metadata, tools, v1 content and v3 events."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.callbacks import UsageMetadataCallbackHandler
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_tests.utils.stream_lifecycle import assert_valid_event_stream
from pydantic import BaseModel

from linkspan.conversation import ToolCall, Usage
from linkspan.errors import ConfigurationError, UnsupportedContentError
from linkspan_sandbox import Reply, Sandbox

if TYPE_CHECKING:
    from collections.abc import Callable

    from linkspan.langchain import ChatScaleway

WAYS = ["invoke", "ainvoke", "stream", "astream"]

FULL = Reply(
    reasoning=["Let me", " think."],
    text=["I will", " look."],
    tool_calls=[ToolCall("c1", "weather", '{"city": "Paris"}'), ToolCall("c2", "weather", '{"city": "Köln"}')],
    usage=Usage(11, 7, 18, cached_tokens=4, reasoning_tokens=3),
)


class Weather(BaseModel):
    """Weather in a city."""

    city: str


def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


async def ask(model: Any, way: str, text: Any = "Hello there", **kwargs: Any) -> AIMessage:
    if way == "invoke":
        return model.invoke(text, **kwargs)
    if way == "ainvoke":
        return await model.ainvoke(text, **kwargs)
    if way == "stream":
        chunks = list(model.stream(text, **kwargs))
    else:
        chunks = [chunk async for chunk in model.astream(text, **kwargs)]
    whole = chunks[0]
    for chunk in chunks[1:]:
        whole += chunk
    return whole


@pytest.mark.parametrize("way", WAYS)
async def test_everything_arrives(model: ChatScaleway, sandbox: Sandbox, way: str) -> None:
    sandbox.add_rule(FULL)
    answer = await ask(model, way)
    assert answer.content == "I will look."
    assert answer.additional_kwargs == {"reasoning_content": "Let me think."}
    assert [(call["id"], call["name"], call["args"]) for call in answer.tool_calls] == [
        ("c1", "weather", {"city": "Paris"}),
        ("c2", "weather", {"city": "Köln"}),
    ]
    assert answer.usage_metadata is not None
    assert answer.usage_metadata["input_tokens"] == 11
    assert answer.usage_metadata["output_tokens"] == 7
    assert answer.usage_metadata["total_tokens"] == 18
    metadata = answer.response_metadata
    assert metadata["model_provider"] == "scaleway"
    assert metadata["model_name"] == "llama-3.3-70b-instruct"
    assert metadata["finish_reason"] == "tool_calls"
    assert answer.id is not None
    assert not answer.id.startswith("lc_")
    assert [block["type"] for block in answer.content_blocks] == ["reasoning", "text", "tool_call", "tool_call"]


async def test_whole_and_streamed_answers_are_alike(model: ChatScaleway, sandbox: Sandbox) -> None:
    sandbox.add_rule(FULL)
    answers = [await ask(model, way) for way in WAYS]
    first = answers[0]
    for other in answers[1:]:
        assert other.usage_metadata == first.usage_metadata
        assert [_unnumbered(block) for block in other.content_blocks] == first.content_blocks
        # Core copies the ``llm_output`` of a whole answer into its metadata; a stream has none.
        assert other.response_metadata.keys() - {"token_usage"} == first.response_metadata.keys() - {"token_usage"}


def _unnumbered(block: Any) -> dict[str, Any]:
    return {key: value for key, value in block.items() if key != "index"}


@pytest.mark.parametrize("way", ["stream", "astream"])
async def test_each_chunk_is_clean(model: ChatScaleway, sandbox: Sandbox, way: str) -> None:
    sandbox.add_rule(FULL)
    chunks = list(model.stream("x")) if way == "stream" else [chunk async for chunk in model.astream("x")]
    assert [chunk.chunk_position for chunk in chunks].count("last") == 1
    assert chunks[-1].chunk_position == "last"
    assert [chunk for chunk in chunks if chunk.usage_metadata] == [chunks[-1]]
    assert [chunk for chunk in chunks if "finish_reason" in chunk.response_metadata] == [chunks[-1]]
    assert len({chunk.id for chunk in chunks}) == 1
    assert all(chunk.response_metadata["model_provider"] == "scaleway" for chunk in chunks)


@pytest.mark.parametrize("way", WAYS)
async def test_v1_content(make: Callable[..., ChatScaleway], sandbox: Sandbox, way: str) -> None:
    sandbox.add_rule(FULL)
    answer = await ask(make(output_version="v1"), way)
    assert [_unnumbered(block) for block in answer.content] == [
        {"type": "reasoning", "reasoning": "Let me think."},
        {"type": "text", "text": "I will look."},
        {"type": "tool_call", "id": "c1", "name": "weather", "args": {"city": "Paris"}},
        {"type": "tool_call", "id": "c2", "name": "weather", "args": {"city": "Köln"}},
    ]
    # and it goes back as history
    await ask(make(), "invoke", [HumanMessage("x"), answer, HumanMessage("y")])
    turn = sandbox.last_request.json["messages"][1]
    assert turn["content"] == "I will look."
    assert [call["id"] for call in turn["tool_calls"]] == ["c1", "c2"]


def test_v3_events(model: ChatScaleway, sandbox: Sandbox) -> None:
    sandbox.add_rule(FULL)
    events = list(model.stream_events("x", version="v3"))
    assert_valid_event_stream(events)
    finished = [event["content"] for event in events if event["event"] == "content-block-finish"]
    assert [block["type"] for block in finished] == ["reasoning", "text", "tool_call", "tool_call"]
    assert finished[2]["args"] == {"city": "Paris"}


async def test_v3_events_async(model: ChatScaleway, sandbox: Sandbox) -> None:
    sandbox.add_rule(FULL)
    stream = await model.astream_events("x", version="v3")
    events = [event async for event in stream]
    assert_valid_event_stream(events)
    assert events[-1]["event"] == "message-finish"


@pytest.mark.parametrize("way", ["invoke", "ainvoke"])
async def test_broken_arguments_are_invalid_calls(model: ChatScaleway, sandbox: Sandbox, way: str) -> None:
    sandbox.add_rule(Reply(tool_calls=[ToolCall("c1", "weather", '{"city": ')]))
    answer = await ask(model, way)
    assert answer.tool_calls == []
    assert answer.invalid_tool_calls[0]["args"] == '{"city": '


async def test_chain_batch_and_usage_handler(model: ChatScaleway, sandbox: Sandbox) -> None:
    chain = ChatPromptTemplate.from_messages([("system", "Echo."), ("human", "{text}")]) | model | StrOutputParser()
    assert chain.invoke({"text": "one two"}) == "one two"
    assert "".join(chain.stream({"text": "one two"})) == "one two"
    assert len(list(chain.stream({"text": "one two"}))) > 1
    inputs = [{"text": f"number {number}"} for number in range(5)]
    assert chain.batch(inputs) == [entry["text"] for entry in inputs]
    assert await chain.abatch(inputs) == [entry["text"] for entry in inputs]
    counter = UsageMetadataCallbackHandler()
    model.invoke("one two", config={"callbacks": [counter]})
    list(model.stream("one two", config={"callbacks": [counter]}))
    assert counter.usage_metadata["llama-3.3-70b-instruct"]["input_tokens"] == 4


def test_generate_adds_up_usage(model: ChatScaleway) -> None:
    result = model.generate([[HumanMessage("one two")], [HumanMessage("three")]])
    assert result.llm_output is not None
    assert result.llm_output["token_usage"]["prompt_tokens"] == 3
    assert model._combine_llm_outputs([None, {"token_usage": None}]) == {}
    combined = model._combine_llm_outputs([{"token_usage": {"a": 1, "b": {"c": 2, "d": None}, "f": 0.5}}] * 2)
    assert combined["token_usage"] == {"a": 2, "b": {"c": 4}}
    counts: list[dict[str, Any] | None] = [{"token_usage": {"a": 1, "b": 2}}, {}, None, {"token_usage": {"a": 1}}]
    assert model._combine_llm_outputs(counts)["token_usage"] == {"a": 2}
    details: list[dict[str, Any] | None] = [{"token_usage": {"b": {"c": 1, "d": 2}}}, {"token_usage": {"b": {"c": 3}}}]
    assert model._combine_llm_outputs(details)["token_usage"] == {"b": {"c": 4}}
    assert model._combine_llm_outputs([*counts, {"model_name": "m"}]) == {"model_name": "m", "token_usage": {}}


def test_logprobs_and_alternatives(model: ChatScaleway, sandbox: Sandbox) -> None:
    answer = model.invoke("one two", logprobs=True)
    assert [entry["token"] for entry in answer.response_metadata["logprobs"]["content"]] == ["one", " two"]
    whole = None
    for chunk in model.stream("one two", logprobs=True):
        whole = chunk if whole is None else whole + chunk
    assert whole is not None
    assert whole.response_metadata["logprobs"] == answer.response_metadata["logprobs"]
    with pytest.raises(UnsupportedContentError, match="n=2"):
        list(model.stream("x", n=2))


@pytest.mark.parametrize(
    ("choice", "wire"),
    [
        (None, None),
        ("any", "required"),
        ("required", "required"),
        (True, "required"),
        ("auto", "auto"),
        ("none", "none"),
        ("add", {"type": "function", "function": {"name": "add"}}),
        ({"type": "function", "function": {"name": "add"}}, {"type": "function", "function": {"name": "add"}}),
    ],
)
def test_tool_choice(model: ChatScaleway, sandbox: Sandbox, choice: Any, wire: Any) -> None:
    model.bind_tools([add, Weather], tool_choice=choice).invoke("x")
    body = sandbox.last_request.json
    assert [tool["function"]["name"] for tool in body["tools"]] == ["add", "Weather"]
    assert body.get("tool_choice") == wire
    assert "parallel_tool_calls" not in body
    assert "strict" not in str(body)


def test_tools_at_their_edges(model: ChatScaleway, sandbox: Sandbox) -> None:
    model.bind_tools([]).invoke("x")
    assert "tools" not in sandbox.last_request.json
    model.bind_tools([add], strict=True, parallel_tool_calls=False).invoke("x")
    body = sandbox.last_request.json
    assert body["tools"][0]["function"]["strict"] is True
    assert body["parallel_tool_calls"] is False
    with pytest.raises(ConfigurationError, match="'add'"):
        model.bind_tools([add], tool_choice="subtract")
    with pytest.raises(UnsupportedContentError, match="web_search"):
        model.invoke("x", tools=[{"type": "web_search_preview"}])
    agents_way = {"type": "json_schema", "json_schema": {"name": "W", "schema": Weather.model_json_schema()}}
    model.bind_tools([], response_format=agents_way).invoke("x")
    assert sandbox.last_request.json["response_format"]["json_schema"]["name"] == "W"


@pytest.mark.parametrize("method", ["json_schema", "function_calling", "json_mode"])
@pytest.mark.parametrize("way", ["invoke", "ainvoke", "stream"])
async def test_structured_output(model: ChatScaleway, sandbox: Sandbox, method: Any, way: str) -> None:
    if method == "json_mode":
        sandbox.add_rule('{"city": "Paris"}')
    structured = model.with_structured_output(Weather, method=method)
    if way == "stream":
        assert isinstance(list(structured.stream("x"))[-1], Weather)
    else:
        assert isinstance(await ask(structured, way), Weather)
    raw = model.with_structured_output(Weather, method=method, include_raw=True).invoke("x")
    assert isinstance(raw["parsed"], Weather)
    assert isinstance(raw["raw"], AIMessage)
    assert raw["parsing_error"] is None


def test_structured_output_that_does_not_parse(model: ChatScaleway, sandbox: Sandbox) -> None:
    sandbox.add_rule("no JSON at all")
    raw = model.with_structured_output(Weather, include_raw=True).invoke("x")
    assert raw["parsed"] is None
    assert raw["parsing_error"] is not None


def test_structured_output_of_a_json_schema_and_strict(model: ChatScaleway, sandbox: Sandbox) -> None:
    schema = {"title": "W", "type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    assert "city" in model.with_structured_output(schema, strict=True).invoke("x")
    sent = sandbox.last_request.json["response_format"]["json_schema"]
    assert sent["strict"] is True
    assert sent["name"] == "W"


@pytest.mark.parametrize("way", WAYS)
async def test_a_tool_loop(model: ChatScaleway, sandbox: Sandbox, way: str) -> None:
    sandbox.add_rule(Reply(text="Let me see.", tool_calls=[ToolCall(None, "add", '{"a": 2, "b": 3}')]), role="user")
    sandbox.add_rule("It is 5.", role="tool")
    tools = model.bind_tools([add])
    history: list[Any] = [HumanMessage("2+3?")]
    history.append(await ask(tools, way, history))
    call = history[-1].tool_calls[0]
    history.append(ToolMessage(str(add(**call["args"])), tool_call_id=call["id"]))
    answer = await ask(tools, way, history)
    assert answer.content == "It is 5."
    assert sandbox.last_request.json["messages"][2] == {"role": "tool", "tool_call_id": call["id"], "content": "5"}


@pytest.mark.parametrize("output_version", ["v0", "v1"])
@pytest.mark.parametrize("way", ["stream", "astream"])
async def test_a_refusal_is_kept_and_goes_back(
    make: Callable[..., ChatScaleway], sandbox: Sandbox, way: str, output_version: str
) -> None:
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "llama-3.3-70b-instruct"}
    deltas = [{"role": "assistant", "refusal": "I will"}, {"refusal": " not."}]
    events = [{**head, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas]
    events.append({**head, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    sandbox.add_rule(Reply(events=[*events, "[DONE]"]), when="harm")
    model = make(output_version=output_version)
    answer = await ask(model, way, "harm")
    assert answer.additional_kwargs["refusal"] == "I will not."
    assert answer.text == ""
    await ask(model, "invoke", [HumanMessage("harm"), answer, HumanMessage("why?")])
    assert sandbox.last_request.json["messages"][1] == {"role": "assistant", "content": "I will not."}
