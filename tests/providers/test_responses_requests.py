"""What both frameworks send over the Responses API, when it is chosen, and what it cannot carry."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from llama_index.core.base.llms.types import ChatMessage, ImageBlock, TextBlock
from pydantic import BaseModel

from linkspan.conversation import ToolCall
from linkspan.errors import ConfigurationError, InvalidRequestError, LinkspanError, UnsupportedContentError
from linkspan.langchain import ChatScaleway
from linkspan.llama_index import Scaleway
from linkspan_sandbox import Reply
from tests.support.examples import run_example

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from linkspan_sandbox import Sandbox

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
TOOL = {
    "type": "function",
    "function": {"name": "look", "description": "Look.", "parameters": {"type": "object", "properties": {}}},
}
FLAT_TOOL = {"type": "function", **TOOL["function"]}  # type: ignore[dict-item]  # the value is a dict
CALL = {"name": "look", "args": {"at": "sea"}, "id": "call_1"}


class Place(BaseModel):
    city: str


FORMAT = {"type": "json_schema", "json_schema": {"name": "place", "schema": Place.model_json_schema()}}


@pytest.fixture(params=["langchain", "llama_index"])
def framework(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def make(framework: str, sandbox: Sandbox) -> Iterator[Callable[..., Any]]:
    made: list[Any] = []

    def build(**settings: Any) -> Any:
        where = {"base_url": sandbox.scaleway_url, "api_key": "any", "max_retries": 0}
        cls = ChatScaleway if framework == "langchain" else Scaleway
        made.append(cls(**{"model": "gpt-oss-120b", "api": "responses", **where, **settings}))
        return made[-1]

    yield build
    for model in made:
        model.close()


def ask(model: Any, messages: Any = "hi", **options: Any) -> str:
    if isinstance(model, ChatScaleway):
        return str(model.invoke(messages, **options).content)
    turns = [ChatMessage(messages)] if isinstance(messages, str) else messages
    return str(model.chat(turns, **options).message.content)


def history(framework: str) -> list[Any]:
    if framework == "langchain":
        return [
            SystemMessage("Be brief."),
            HumanMessage("Look."),
            AIMessage("I look.", tool_calls=[CALL], additional_kwargs={"reasoning_content": "Hm."}),
            ToolMessage("no sea", tool_call_id="call_1", status="error"),
            HumanMessage(
                [{"type": "text", "text": "And this?"}, {"type": "image", "base64": PIXEL, "mime_type": "image/png"}]
            ),
        ]
    call = {"id": "call_1", "type": "function", "function": {"name": "look", "arguments": '{"at": "sea"}'}}
    result = {"tool_call_id": "call_1", "is_error": True}
    return [
        ChatMessage(role="system", content="Be brief."),
        ChatMessage(role="user", content="Look."),
        ChatMessage(role="assistant", content="I look.", additional_kwargs={"tool_calls": [call]}),
        ChatMessage(role="tool", content="no sea", additional_kwargs=result),
        ChatMessage(role="user", blocks=[TextBlock(text="And this?"), ImageBlock(image=PIXEL.encode())]),
    ]


def test_the_whole_history_is_sent_as_items(framework: str, make: Callable[..., Any], sandbox: Sandbox) -> None:
    assert ask(make(), history(framework)) == "And this?"
    assert sandbox.requests[-1].path.endswith("/responses")
    image = f"data:image/png;base64,{PIXEL}"
    assert sandbox.requests[-1].json == {
        "model": "gpt-oss-120b",
        "store": False,
        "input": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Look."},
            {"type": "message", "role": "assistant", "content": "I look."},
            {"type": "function_call", "call_id": "call_1", "name": "look", "arguments": '{"at": "sea"}'},
            {"type": "function_call_output", "call_id": "call_1", "output": "Error: no sea"},
            {
                "role": "user",
                "content": [
                    {"type": "input_text", "text": "And this?"},
                    {"type": "input_image", "image_url": image, "detail": "auto"},
                ],
            },
        ],
    }


def test_parameters_have_the_names_of_the_api(make: Callable[..., Any], sandbox: Sandbox) -> None:
    model = make(temperature=0.5, top_p=0.9, max_tokens=9, reasoning_effort="low", extra_body={"metadata": {"a": "b"}})
    ask(model, tools=[TOOL], tool_choice="look", parallel_tool_calls=False, logprobs=True, top_logprobs=2, n=1)
    body = sandbox.requests[-1].json
    del body["input"], body["model"]
    assert body == {
        "store": False,
        "temperature": 0.5,
        "top_p": 0.9,
        "max_output_tokens": 9,
        "reasoning": {"effort": "low"},
        "include": ["message.output_text.logprobs"],
        "top_logprobs": 2,
        "parallel_tool_calls": False,
        "tools": [FLAT_TOOL],
        "tool_choice": {"type": "function", "name": "look"},
        "metadata": {"a": "b"},
    }


def test_the_extra_body_leaves_what_parameters_set(make: Callable[..., Any], sandbox: Sandbox) -> None:
    extra = {
        "include": ["reasoning.encrypted_content"],
        "reasoning": {"summary": "auto"},
        "text": {"verbosity": "low"},
        "store": True,
    }
    model = make(reasoning_effort="low", extra_body=extra)
    ask(model, logprobs=True, response_format=FORMAT)
    body = sandbox.last_request.json
    assert body["include"] == ["message.output_text.logprobs", "reasoning.encrypted_content"]
    assert body["reasoning"] == {"effort": "low", "summary": "auto"}
    assert (body["text"]["format"]["name"], body["text"]["verbosity"]) == ("place", "low")
    assert body["store"] is True
    ask(model, extra_body={"reasoning": {"effort": "high"}, "include": None})
    assert (sandbox.last_request.json["reasoning"], sandbox.last_request.json["include"]) == ({"effort": "high"}, None)


@pytest.mark.parametrize("name", ["seed", "presence_penalty", "frequency_penalty", "n", "logit_bias", "top_k"])
def test_a_parameter_that_the_api_has_not_is_refused(make: Callable[..., Any], sandbox: Sandbox, name: str) -> None:
    value: Any = {"5": 1} if name == "logit_bias" else 2
    with pytest.raises(UnsupportedContentError, match=f"'{name}'.*api=\"chat\".*extra_body"):
        ask(make(), **{name: value})
    if name in ChatScaleway.parameter_fields:
        with pytest.raises(ConfigurationError, match=name):
            make(**{name: value})
        model = make(api="chat", **{name: value})
        with pytest.raises(ConfigurationError, match=name):
            model.api = "responses"
    assert not sandbox.requests


def test_stop_texts_are_enforced_on_this_side(framework: str, make: Callable[..., Any], sandbox: Sandbox) -> None:
    model = make(stop=["three"])
    assert ask(model, "one two three four") == "one two "
    if framework == "langchain":
        pieces = [chunk.content for chunk in model.stream("one two three four")]
    else:
        pieces = [chunk.delta for chunk in model.stream_complete("one two three four")]
    assert "".join(pieces) == "one two "
    assert all("stop" not in request.json for request in sandbox.requests)


def test_objects(framework: str, make: Callable[..., Any], sandbox: Sandbox) -> None:
    model = make()
    sandbox.add_rule('{"city": "Lille"}')
    if framework == "langchain":
        assert model.with_structured_output(Place, strict=True).invoke("x") == Place(city="Lille")
        wanted = sandbox.requests[-1].json["text"]["format"]
        assert (wanted["type"], wanted["name"], wanted["strict"]) == ("json_schema", "Place", True)
        assert model.with_structured_output(Place, method="json_mode").invoke("x") == Place(city="Lille")
        assert sandbox.requests[-1].json["text"] == {"format": {"type": "json_object"}}
    else:
        assert model.as_structured_llm(Place).complete("x").raw == Place(city="Lille")
        assert sandbox.requests[-1].json["text"]["format"]["type"] == "json_schema"


@pytest.mark.parametrize(
    ("block", "hint"),
    [
        ({"type": "audio", "base64": "AAAA", "mime_type": "audio/wav"}, 'api="chat"'),
        ({"type": "file", "base64": "AAAA", "mime_type": "application/pdf"}, "OCR"),
        ({"type": "video", "url": "https://example.org/a.mp4"}, "frames"),
    ],
)
def test_what_the_api_cannot_carry_is_refused(sandbox: Sandbox, block: dict[str, Any], hint: str) -> None:
    model = ChatScaleway(model="m", api="responses", base_url=sandbox.scaleway_url, api_key="any")
    with pytest.raises(UnsupportedContentError, match=hint):
        model.invoke([HumanMessage([block])])
    image = {"type": "image", "base64": PIXEL, "mime_type": "image/png"}
    with pytest.raises(UnsupportedContentError, match="Only user messages can hold images"):
        model.invoke([AIMessage("", tool_calls=[CALL]), ToolMessage([image], tool_call_id="call_1")])
    with pytest.raises(UnsupportedContentError, match="name of a speaker"):
        model.invoke([HumanMessage("hi", name="ada")])
    assert not sandbox.requests


@pytest.mark.parametrize(
    ("settings", "tools", "route"),
    [
        ({"api": None}, True, "responses"),
        ({"api": None}, False, "completions"),
        ({"api": None, "model": "openai/gpt-oss-120b"}, True, "responses"),
        # What a deployment of one's own takes is not known.
        ({"api": None, "model": "openai/gpt-oss-120b:fp4"}, True, "completions"),
        ({"api": None, "model": "qwen3.8-27b"}, True, "completions"),
        ({"api": "chat"}, True, "completions"),
        ({"api": "responses", "model": "qwen3.8-27b"}, False, "responses"),
    ],
)
def test_which_api_answers(
    make: Callable[..., Any], sandbox: Sandbox, settings: dict[str, Any], tools: bool, route: str
) -> None:
    sandbox.add_rule(Reply("Hi"))
    try:
        ask(make(**settings), **({"tools": [TOOL]} if tools else {}))
    except LinkspanError as error:  # The sandbox knows no such names.
        assert "openai/" in str(error)  # noqa: PT017  # where it was sent is what counts
    assert sandbox.requests[-1].path.endswith(route)


def test_a_history_of_tools_stays_with_the_api_of_its_tools(
    framework: str, make: Callable[..., Any], sandbox: Sandbox
) -> None:
    model = make(api=None)
    sandbox.add_rule(Reply("It rains."), role="tool")
    ask(model, history(framework)[:4])
    assert sandbox.requests[-1].path.endswith("responses")


def test_a_round_of_tools_by_itself(framework: str, make: Callable[..., Any], sandbox: Sandbox) -> None:
    sandbox.add_rule(Reply("It rains."), role="tool")
    sandbox.add_rule(Reply(tool_calls=[ToolCall(None, "weather", '{"city": "Lille"}')]))

    def weather(city: str) -> str:
        """Tell the weather."""
        return f"rain in {city}"

    model = make(api=None)
    if framework == "langchain":
        asked: list[Any] = [HumanMessage("The weather in Lille?")]
        called = model.bind_tools([weather]).invoke(asked)
        results = [ToolMessage(weather(**one["args"]), tool_call_id=one["id"]) for one in called.tool_calls]
        assert model.bind_tools([weather]).invoke([*asked, called, *results]).content == "It rains."
    else:
        from llama_index.core.tools import FunctionTool

        tool = FunctionTool.from_defaults(weather)
        called = model.chat_with_tools([tool], user_msg="The weather in Lille?")
        (call,) = model.get_tool_calls_from_response(called)
        result = ChatMessage(
            role="tool", content=weather(**call.tool_kwargs), additional_kwargs={"tool_call_id": call.tool_id}
        )
        answer = model.chat([ChatMessage("The weather in Lille?"), called.message, result], tools=[TOOL])
        assert answer.message.content == "It rains."
    first, second = sandbox.requests
    assert [request.path.rpartition("/")[2] for request in (first, second)] == ["responses"] * 2
    assert [item["type"] for item in second.json["input"][1:]] == ["function_call", "function_call_output"]
    assert second.json["input"][-1]["output"] == "rain in Lille"


@pytest.mark.filterwarnings("ignore::linkspan.errors.ModelRetiredWarning")
def test_a_model_without_the_route_says_so(make: Callable[..., Any]) -> None:
    with pytest.raises(InvalidRequestError, match='not support the Responses API: choose api="chat"') as caught:
        ask(make(model="glm-5.2"))
    assert caught.value.status_code == 422


@pytest.mark.parametrize("with_key", [False, True])
def test_the_example(sandbox: Sandbox, with_key: bool) -> None:
    sandbox.add_rule("So says the service.")
    where = {"SCW_SECRET_KEY": "any", "SCALEWAY_BASE_URL": sandbox.scaleway_url} if with_key else {}
    outcome = run_example("langchain_gpt_oss", **where)
    assert (outcome.returncode, outcome.stderr) == (0, "")
    lines = outcome.stdout.splitlines()
    if with_key:
        assert lines == ["So says the service."] * 2
        assert [request.path.rpartition("/")[2] for request in sandbox.requests] == ["responses", "completions"]
    else:
        assert lines[0] == "(Two things are wanted: a time and a price.)"
        assert lines[-2] == "The next ferry to Ostra leaves at 09:00, and a car costs 31 euros."
