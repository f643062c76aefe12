"""Arguments of earlier calls: always the text of a JSON object on the wire, whatever the history holds."""

from __future__ import annotations

import asyncio
import datetime as dt
import enum
import json
import uuid
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain.agents import create_agent
from llama_index.core.agent.workflow import FunctionAgent

from linkspan.call_history import object_text
from linkspan.conversation import Message, Text, ToolCall
from linkspan.errors import InvalidRequestError
from linkspan.prompts import ChatTemplate
from linkspan_sandbox import Reply

if TYPE_CHECKING:
    from tests.history.conftest import Subject

BROKEN = [
    '{"path": "C:\\Users\\ada"}',
    '{"path": "say "hi" now"}',
    '["b.md"]',
    '{"path": "b.m',
    '{"path": "b.md"}}',
    '{"size": NaN}',
    "not JSON",
    "12",
]


class Port(enum.Enum):
    OSTRA = "ostra"


def arguments_of(subject: Subject) -> list[str]:
    turn = next(message for message in subject.sent() if message.get("tool_calls"))
    return [call["function"]["arguments"] for call in turn["tool_calls"]]


def test_broken_arguments_are_shown_to_the_model_as_what_they_were(subject: Subject) -> None:
    calls = [(f"c{number}", "read", broken) for number, broken in enumerate(BROKEN)]
    subject.ask("?", calls, *[(call_id, "cannot be read") for call_id, _, _ in calls])
    assert [json.loads(text) for text in arguments_of(subject)] == [{"invalid_arguments": broken} for broken in BROKEN]


def test_the_models_own_text_is_kept(scaleway: Subject) -> None:
    own = '{ "b":1.0,"a" : "K\\u00f6ln" }'
    scaleway.ask("?", [("c1", "read", own)], ("c1", "text"))
    assert arguments_of(scaleway) == [own]


@pytest.mark.parametrize("nothing", ["", "  ", "null", "{}"])
def test_no_arguments_are_an_empty_object(scaleway: Subject, nothing: str) -> None:
    scaleway.ask("?", [("c1", "read", nothing)], ("c1", "text"))
    assert arguments_of(scaleway) == ["{}"]


def test_raw_line_breaks_are_written_as_json_writes_them(scaleway: Subject) -> None:
    scaleway.ask("?", [("c1", "read", '{"text": "a\nb"}')], ("c1", "text"))
    assert arguments_of(scaleway) == ['{"text": "a\\nb"}']


def test_half_a_surrogate_pair_is_a_replacement_character(scaleway: Subject) -> None:
    scaleway.ask("?", [("c1", "read", '{"text": "a\\ud83d"}')], ("c1", "text"))
    assert json.loads(arguments_of(scaleway)[0]) == {"text": "a\ufffd"}
    with pytest.raises(InvalidRequestError, match="lone surrogate"):
        scaleway.ask("?", [("c1", "read", '{"text": "a\ud83d"}')], ("c1", "text"))


@settings(max_examples=100)
@given(st.text(max_size=30) | st.text('{}[]":,\\ abn1', max_size=30))
def test_any_text_becomes_one_object(text: str) -> None:
    assert isinstance(json.loads(object_text(text)), dict)


def test_broken_arguments_of_a_stored_chunk_are_shown_as_they_were() -> None:
    assert json.loads(object_text(json.dumps('{"to": "Ad'))) == {"invalid_arguments": '{"to": "Ad'}


def test_arguments_nested_too_deeply_to_be_read_are_shown_as_text() -> None:
    deep = '{"a": ' + "[" * 100_000
    assert json.loads(object_text(deep)) == {"invalid_arguments": deep}


VALUES = {
    "date": (dt.date(2026, 5, 1), "2026-05-01"),
    "moment": (dt.datetime(2026, 5, 1, 9, tzinfo=dt.timezone.utc), "2026-05-01T09:00:00Z"),
    "price": (Decimal("1.50"), "1.50"),
    "id": (uuid.UUID(int=7), "00000000-0000-0000-0000-000000000007"),
    "port": (Port.OSTRA, "ostra"),
    "nested": ([dt.date(2026, 5, 1), {"at": dt.time(9)}], ["2026-05-01", {"at": "09:00:00"}]),
    "number": (1.0, 1.0),
}


def test_values_are_written_as_pydantic_writes_them(subject: Subject) -> None:
    subject.ask("?", [("c1", "book", {name: value for name, (value, _) in VALUES.items()})], ("c1", "booked"))
    assert [json.loads(text) for text in arguments_of(subject)] == [
        {name: written for name, (_, written) in VALUES.items()}
    ]


@pytest.mark.parametrize(
    ("value", "what"),
    [
        ({1, 2}, "a set"),
        (float("nan"), "nan"),
        (float("-inf"), "-inf"),
        (object(), "a object"),
        ("a\ud83d", "surrogate"),
    ],
)
def test_a_value_that_json_cannot_carry_is_named(scaleway: Subject, value: Any, what: str) -> None:
    before = len(scaleway.sandbox.requests)
    with pytest.raises(InvalidRequestError) as raised:
        scaleway.ask("?", [("c1", "book", {"trip": {"seats": [1, value]}})], ("c1", "booked"))
    said = str(raised.value)
    assert "message 1" in said
    assert "'book'" in said
    assert "'trip.seats[1]'" in said
    assert what in said
    assert len(scaleway.sandbox.requests) == before


def test_values_that_contain_themselves_are_refused(scaleway: Subject) -> None:
    ring: dict[str, Any] = {}
    ring["again"] = ring
    with pytest.raises(InvalidRequestError, match="levels deep"):
        scaleway.ask("?", [("c1", "book", ring)], ("c1", "booked"))


# --------------------------------------------------------------------------- ids


def test_a_call_without_an_id_has_the_one_of_its_result(scaleway: Subject) -> None:
    scaleway.ask("?", [(None, "look", {}), ("b", "book", {})], ("r1", "open"), ("b", "booked"))
    _, calls, *results = scaleway.sent()
    assert [call["id"] for call in calls["tool_calls"]] == ["r1", "b"]
    assert [result["tool_call_id"] for result in results] == ["r1", "b"]


def test_calls_of_one_id_get_their_own_with_their_results(subject: Subject) -> None:
    # As of servers that number the calls of each answer "0", through other packages.
    two = [("0", "look", {}), ("0", "book", {})]
    subject.ask("?", two, ("0", "open"), ("0", "booked"), two, ("0", "open"), ("0", "booked"), "Well?")
    sent = [message for message in subject.sent() if message["role"] != "user"]
    for first, second, *results in (
        ([call["id"] for call in calls["tool_calls"]] + [result["tool_call_id"] for result in results])
        for calls, *results in (sent[:3], sent[3:])
    ):
        assert first == "0"
        assert second not in {"0", "", None}
        assert results == [first, second]


def test_calls_without_ids_get_their_own_in_every_api(subject: Subject) -> None:
    subject.ask("?", [(None, "look", {}), (None, "book", {})], "Well?")
    first, second = (call["id"] for call in subject.sent()[1]["tool_calls"])
    assert isinstance(first, str)
    assert first
    assert first != second


def test_a_result_without_an_id_has_the_one_of_its_call() -> None:
    calls = [ToolCall("a", "look", "{}"), ToolCall(None, "book", "{}")]
    turns = [Message("assistant", tool_calls=calls), Message("tool", [Text("1")]), Message("tool", [Text("2")])]
    source = (
        "{% for m in messages %}{% for c in m.tool_calls or [] %}{{ c.id }} {% endfor %}{{ m.tool_call_id }} "
        "{% endfor %}{# tool #}"
    )
    first, *rest = (
        ChatTemplate.from_jinja(source, roles=["assistant", "tool"], control_tokens=["<x>"]).render(turns).split()
    )
    assert first == "a"
    assert rest[0] == rest[-1]
    assert "a" in rest[1:3]


# --------------------------------------------------------------------------- templates


@pytest.mark.parametrize("broken", BROKEN)
def test_a_template_gets_arguments_as_an_object(broken: str) -> None:
    arguments = "{{ c.function.arguments | tojson }}"
    source = f"{{% for m in messages %}}{{% for c in m.tool_calls or [] %}}{arguments}{{% endfor %}}{{% endfor %}}"
    turn = Message("assistant", tool_calls=[ToolCall("c1", "read", broken)])
    assert json.loads(ChatTemplate.from_jinja(source, control_tokens=["<x>"]).render([turn])) == {
        "invalid_arguments": broken
    }


# --------------------------------------------------------------------------- agents

ORDER = {"order": {"inner": {"a": 1}}, "rows": [{"b": 1}], "anything": {"d": [1]}}


def book(order: dict[str, Any], rows: list[Any], anything: Any) -> str:
    """Book."""
    order["inner"]["a"] = 99
    order["new"] = 1
    rows[0]["b"] = 99
    rows.append(7)
    anything["d"].append(99)
    return "booked"


@pytest.mark.parametrize("streaming", [False, True])
def test_a_tool_that_changes_its_arguments_changes_no_history(scaleway: Subject, streaming: bool) -> None:
    scaleway.sandbox.add_rule(Reply(tool_calls=[ToolCall("c1", "book", json.dumps(ORDER))]), role="user")
    scaleway.sandbox.add_rule("Done.", role="tool")
    if scaleway.framework == "langchain":
        model = scaleway.make(streaming=streaming)
        state = create_agent(model, [book]).invoke({"messages": [("user", "?")]})
        assert state["messages"][1].tool_calls[0]["args"] == ORDER
    else:

        async def talk() -> None:
            async with scaleway.make() as llm:
                await FunctionAgent(tools=[book], llm=llm, streaming=streaming).run("?")

        asyncio.run(talk())
    assert [json.loads(text) for text in arguments_of(scaleway)] == [ORDER]


def test_arguments_are_a_dict_like_any_other(sandbox: Any) -> None:
    from langchain_core.load import dumps

    from tests.history.conftest import Subject

    subject = Subject("langchain", "Scaleway", sandbox)
    sandbox.add_rule(Reply(tool_calls=[ToolCall("c1", "book", json.dumps(ORDER))]))
    answer = subject.ask("?")
    arguments = answer.tool_calls[0]["args"]
    assert arguments == ORDER
    assert json.dumps(arguments) == json.dumps(ORDER)
    assert json.loads(dumps(answer))["kwargs"]["tool_calls"][0]["args"] == ORDER
    assert type(answer.model_dump()["tool_calls"][0]["args"]["order"]) is dict
    arguments["order"]["inner"]["a"] = 5
    subject.ask("?", answer, ("c1", "booked"))
    assert json.loads(arguments_of(subject)[0])["order"] == {"inner": {"a": 5}}
