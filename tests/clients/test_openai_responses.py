"""The Responses API of Scaleway's dialect as the ``openai`` client sees it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import openai
import pytest
from pydantic import BaseModel, Field

from linkspan.conversation import ToolCall
from linkspan_sandbox import Cut, ErrorEvent, Reply
from tests.clients.conftest import KEY, Served, read_until
from tests.clients.test_openai_scaleway import MODEL, PIECES, QUESTION, async_client, client
from tests.clients.typed import assert_strict

if TYPE_CHECKING:
    from openai.types.responses import Response

    from linkspan_sandbox import Sandbox

SHORT: dict[str, Any] = {
    "model": MODEL,
    "input": QUESTION,
    "max_output_tokens": 7,
    "temperature": 0,
    "store": False,
}
TOOL: Any = {
    "type": "function",
    "name": "weather",
    "description": "The weather in a city.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    "strict": None,
}
CALL = ToolCall(None, "weather", '{"city": "Lille"}')


class Place(BaseModel):
    city: str = Field(max_length=2)


def check_answer(served: Served, answer: Response) -> None:
    assert_strict(answer)
    served.expect_model(answer.model, MODEL)
    served.expect(answer.output_text, "Count from one to five.")
    assert answer.status in (["completed"] if served.exact else ["completed", "incomplete"])
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.input_tokens + answer.usage.output_tokens


def test_whole(served: Served) -> None:
    with client(served.sandbox) as made:
        check_answer(served, made.responses.create(**SHORT))


async def test_streamed_async(served: Served) -> None:
    async with async_client(served.sandbox) as made, made.responses.stream(**SHORT) as stream:
        events = [event async for event in stream]
        answer = await stream.get_final_response()
    assert [event.sequence_number for event in events] == list(range(len(events)))
    served.expect_pieces([event.delta for event in events if event.type == "response.output_text.delta"], PIECES)
    check_answer(served, answer)


def test_every_event_is_of_the_clients_types(scripted: Sandbox) -> None:
    scripted.add_rule(Reply("I look.", reasoning="Hm. So.", tool_calls=[CALL, CALL]))
    with client(scripted) as made:
        events = list(made.responses.create(**{**SHORT, "max_output_tokens": 60}, tools=[TOOL], stream=True))
    for event in events:
        assert_strict(event)
    kinds = list(dict.fromkeys(event.type.removeprefix("response.") for event in events))
    assert kinds == [
        "created",
        "in_progress",
        "output_item.added",
        "content_part.added",
        "reasoning_text.delta",
        "reasoning_text.done",
        "content_part.done",
        "output_item.done",
        "output_text.delta",
        "output_text.done",
        "function_call_arguments.delta",
        "function_call_arguments.done",
        "completed",
    ]
    last: Any = events[-1]
    thought, spoken, *calls = last.response.output
    assert (thought.content[0].text, spoken.content[0].text) == ("Hm. So.", "I look.")
    assert [(call.name, json.loads(call.arguments)) for call in calls] == [("weather", {"city": "Lille"})] * 2
    assert len({call.call_id for call in calls}) == 2


def test_the_limit_makes_it_incomplete(scripted: Sandbox) -> None:
    with client(scripted) as made:
        answer = made.responses.create(**{**SHORT, "max_output_tokens": 2})
    assert answer.status == "incomplete"
    assert answer.incomplete_details is not None
    assert (answer.incomplete_details.reason, answer.output_text) == ("max_output_tokens", "Count from")


def test_log_probabilities(served: Served) -> None:
    with client(served.sandbox) as made:
        answer = made.responses.create(**SHORT, include=["message.output_text.logprobs"], top_logprobs=1)
    part: Any = answer.output[0].content[0]  # type: ignore[union-attr]  # a message
    assert "".join(entry.token for entry in part.logprobs) == answer.output_text
    assert all(len(entry.top_logprobs) == 1 and entry.logprob <= 0 for entry in part.logprobs)


def test_a_schema_is_obeyed_and_parsed(served: Served) -> None:
    with client(served.sandbox) as made:
        answer = made.responses.parse(**{**SHORT, "max_output_tokens": 60}, text_format=Place)
    assert isinstance(answer.output_parsed, Place)


def test_a_tools_result_is_answered(scripted: Sandbox) -> None:
    scripted.add_rule("It rains.", role="tool")
    scripted.add_rule(Reply(reasoning="Hm.", tool_calls=[CALL]))
    with client(scripted) as made:
        asked = made.responses.create(**SHORT, tools=[TOOL], tool_choice="required")
        (call,) = (item for item in asked.output if item.type == "function_call")
        result = {"type": "function_call_output", "call_id": call.call_id, "output": "rain"}
        turns: list[Any] = [*QUESTION, *(item.model_dump(exclude_none=True) for item in asked.output), result]
        answer = made.responses.create(**{**SHORT, "input": turns}, tools=[TOOL])
    assert answer.output_text == "It rains."


def test_an_instruction_and_a_text_are_a_conversation(scripted: Sandbox) -> None:
    scripted.add_rule(lambda asked: str([message["role"] for message in asked.messages]))
    with client(scripted) as made:
        answer = made.responses.create(model=MODEL, input="hi", instructions="Be brief.")
    assert answer.output_text == "['system', 'user']"


@pytest.mark.parametrize(
    ("wrong", "error", "words"),
    [
        ({"model": "glm-5.2"}, openai.UnprocessableEntityError, "'/v1/responses' is not supported"),
        ({"model": "nobody"}, openai.UnprocessableEntityError, "not found"),
        ({"previous_response_id": "resp_1"}, openai.BadRequestError, "previous_response_id"),
        ({"tools": [{"type": "web_search"}]}, openai.BadRequestError, "only tools of type 'function'"),
        ({"input": [{"type": "item_reference", "id": "x"}]}, openai.BadRequestError, "item_reference"),
        ({"extra_body": {"stop": ["x"]}}, openai.BadRequestError, "stop"),
    ],
)
def test_what_the_service_has_not_is_refused(
    scripted: Sandbox, wrong: dict[str, Any], error: type[openai.APIStatusError], words: str
) -> None:
    with client(scripted) as made, pytest.raises(error, match=words):
        made.responses.create(**{**SHORT, **wrong})


def test_the_key_is_checked(scripted: Sandbox) -> None:
    with client(scripted, KEY + "x") as made, pytest.raises(openai.PermissionDeniedError):
        made.responses.create(**SHORT)


def test_a_stream_that_fails(scripted: Sandbox) -> None:
    scripted.add_rule(Reply("one two three four", fault=ErrorEvent(after=2)))
    with client(scripted) as made:
        *read, last = made.responses.create(**SHORT, stream=True)
    assert_strict(last)
    assert last.type == "error"
    assert [event.delta for event in read if event.type == "response.output_text.delta"] == ["one", " two"]


def test_a_stream_that_is_cut(scripted: Sandbox) -> None:
    scripted.add_rule(Reply("one two three four", fault=Cut(after=2)))
    with client(scripted) as made:
        read, _ = read_until(Exception, iter(made.responses.create(**SHORT, stream=True)))
    assert [event.delta for event in read if event.type == "response.output_text.delta"] == ["one", " two"]
