"""The contract of both frameworks' classes: what a call may say, and that it is checked as the constructor checks."""

from __future__ import annotations

from typing import Any

import pytest

from linkspan.call_keywords import read_tool_choice
from linkspan.conversation import NamedTool
from linkspan.errors import ConfigurationError, LinkspanError, UnsupportedContentError
from tests.both.subjects import CHATS, SUBJECTS, Server, Subject, refused_as

every = pytest.mark.parametrize("subject", SUBJECTS, ids=lambda subject: subject.id)
chats = pytest.mark.parametrize("subject", CHATS, ids=lambda subject: subject.id)
conversing = pytest.mark.parametrize(
    "subject", [one for one in SUBJECTS if one.kind != "prompt"], ids=lambda subject: subject.id
)
TOOL = {
    "type": "function",
    "function": {"name": "look", "description": "Look.", "parameters": {"type": "object", "properties": {}}},
}


# ------------------------------------------------------------------ parameters


@every
async def test_a_call_beats_the_object(subject: Subject, server: Server) -> None:
    model = subject.make(server, temperature=0.5, max_tokens=9)
    assert subject.ask(model) == "there"
    assert server.sent["temperature"] == 0.5
    assert subject.ask(model, temperature=0.25) == "there"
    assert server.sent["temperature"] == 0.25
    await subject.aask(model, temperature=0.75)
    assert server.sent["temperature"] == 0.75
    assert model.temperature == 0.5


@every
def test_none_drops_the_objects_value(subject: Subject, server: Server) -> None:
    model = subject.make(server, top_p=0.5)
    subject.ask(model, top_p=None)
    assert "top_p" not in server.sent


WRONG_VALUES: list[tuple[str, Any]] = [
    ("temperature", "hot"),
    ("max_tokens", 0),
    ("max_tokens", "many"),
    ("timeout", 0),
    ("timeout", float("nan")),
    ("extra_body", ["a"]),
    ("stop", [1]),
    ("stop", 5),
    ("model", " "),
    ("model", "half a pair: \ud800"),
]


@every
def test_a_wrong_value_is_refused_before_anything_is_sent(subject: Subject, server: Server) -> None:
    model = subject.make(server)
    for name, value in WRONG_VALUES:
        with refused_as(name, name, value):
            subject.ask(model, **{name: value})
    assert not server.requests


@every
def test_no_parameter_takes_what_the_constructor_refuses(subject: Subject, server: Server) -> None:
    model = subject.make(server)
    for name in model.parameter_fields:
        wrong = object()  # no field takes it
        with pytest.raises(ConfigurationError, match=name):
            subject.make(**{name: wrong})
        with pytest.raises(ConfigurationError, match=name):
            subject.ask(model, **{name: wrong})
    assert not server.requests


@conversing
@pytest.mark.parametrize(
    ("name", "value"), [("tool_results", "Data"), ("data_role", "fence"), ("stream_usage", "perhaps")]
)
def test_a_wrong_choice_is_refused_by_call_constructor_and_change(
    subject: Subject, name: str, value: Any, server: Server
) -> None:
    model = subject.make(server)
    with pytest.raises(ConfigurationError, match=name):
        subject.ask(model, **{name: value})
    with pytest.raises(ConfigurationError, match=name):
        subject.make(**{name: value})
    with pytest.raises(ConfigurationError, match=name):
        setattr(model, name, value)
    assert not server.requests


@every
def test_a_typo_is_refused_with_the_known_word(subject: Subject, server: Server) -> None:
    model = subject.make(server)
    with pytest.raises(ConfigurationError, match=r"'temprature'\. Did you mean 'temperature'\?"):
        subject.ask(model, temprature=1)
    assert not server.requests


@every
def test_what_belongs_to_the_object_is_refused(subject: Subject, server: Server) -> None:
    model = subject.make(server)
    for name in ("api_key", "base_url", "max_retries", "http_client", "default_headers"):
        with refused_as(f"{name} is an argument of {subject.name}", name, "x"):
            subject.ask(model, **{name: "x"})
    assert not server.requests


@every
def test_the_model_of_a_call(subject: Subject, server: Server) -> None:
    model = subject.make(server)
    subject.ask(model, model="other")
    asked = server.body.get("model") or str(server.requests[-1].url)
    assert "other" in asked
    subject.ask(model, model_name="third")
    assert "third" in (server.body.get("model") or str(server.requests[-1].url))


@every
def test_two_names_in_a_call_are_refused(subject: Subject, server: Server) -> None:
    with pytest.raises(ConfigurationError, match="two names"):
        subject.ask(subject.make(server), model="a", model_name="b")


@every
def test_extra_body_is_merged_call_over_object(subject: Subject, server: Server) -> None:
    model = subject.make(server, extra_body={"one": 1, "two": 1})
    subject.ask(model, extra_body={"two": 2})
    assert (server.body["one"], server.body["two"]) == (1, 2)


# ------------------------------------------------------------------ stop texts


@every
def test_stop_texts_of_object_and_call(subject: Subject, server: Server) -> None:
    model = subject.make(server, stop="he")
    assert model.stop == ["he"]
    subject.ask(model)
    api = subject.settings.get("api")
    if api in {"v2", "openai"} or (subject.name.endswith("Scaleway") and api != "responses"):
        # These servers enforce them.
        assert server.body["stop"] == ["he"]
        subject.ask(model, stop="r")
        assert server.body["stop"] == ["r"]
        return
    assert subject.ask(model) == "t"
    assert subject.ask(model, stop=["er"]) == "th"
    assert subject.ask(model, stop="r") == "the"
    assert subject.ask(model, stop=[]) == "there"


# ------------------------------------------------------------------ tools


@pytest.mark.parametrize(
    ("choice", "meant"),
    [
        (None, None),
        (False, None),
        ("auto", "auto"),
        ("none", "none"),
        ("any", "required"),
        ("required", "required"),
        (True, "required"),
        ("look", NamedTool("look")),
        (NamedTool("look"), NamedTool("look")),
        ({"type": "function", "function": {"name": "look"}}, NamedTool("look")),
        ({"type": "tool", "name": "look"}, NamedTool("look")),
        ({"type": "any"}, "required"),
    ],
)
def test_tool_choices(choice: Any, meant: Any) -> None:
    assert read_tool_choice(choice, ["look"]) == meant


@chats
def test_a_choice_without_tools(subject: Subject, server: Server) -> None:
    model = subject.make(server)
    for choice in ("auto", "none", None, False):
        subject.ask(model, tool_choice=choice)
        assert "tool_choice" not in server.body
    asked = len(server.requests)
    for choice in ("required", "any", True, "look"):
        with pytest.raises(ConfigurationError, match="tool_choice"):
            subject.ask(model, tool_choice=choice)
    assert len(server.requests) == asked


@chats
def test_a_choice_among_tools(subject: Subject, server: Server) -> None:
    model = subject.make(server)
    subject.ask(model, tools=[TOOL], tool_choice="look")
    assert "look" in str(server.body["tool_choice"])
    with pytest.raises(ConfigurationError, match="'lok'"):
        subject.ask(model, tools=[TOOL], tool_choice="lok")
    with pytest.raises(ConfigurationError, match="Unknown tool_choice"):
        subject.ask(model, tools=[TOOL], tool_choice=7)


WRONG_FUNCTIONS: list[Any] = [
    5,
    {"name": 5},
    {"name": ""},
    {"name": "look", "description": ["Look."]},
    {"name": "look", "parameters": 5},
    {"name": "look", "strict": "yes"},
]


@chats
def test_a_tool_that_runs_elsewhere_is_refused(subject: Subject, server: Server) -> None:
    model = subject.make(server)
    with pytest.raises(UnsupportedContentError, match="'web_search' runs on its own provider's servers"):
        subject.ask(model, tools=[{"type": "web_search"}])
    assert not server.requests


@chats
def test_what_is_no_tool_is_refused_before_anything_is_sent(subject: Subject, server: Server) -> None:
    model = subject.make(server)
    for tools in (5, "look", TOOL, [5], *([{"type": "function", "function": one}] for one in WRONG_FUNCTIONS)):
        with pytest.raises((ConfigurationError, UnsupportedContentError)):
            subject.ask(model, tools=tools)
    assert not server.requests


@pytest.mark.parametrize("subject", [s for s in SUBJECTS if s.kind != "chat"], ids=lambda subject: subject.id)
@pytest.mark.parametrize("name", ["tools", "tool_choice"])
def test_prompts_have_no_tools(subject: Subject, name: str, server: Server) -> None:
    value: Any = [TOOL] if name == "tools" else "required"
    with pytest.raises(LinkspanError):
        subject.ask(subject.make(server), **{name: value})
    assert not server.requests


# ------------------------------------------------------------------ the shape of an answer


@chats
@pytest.mark.parametrize("wanted", [{"type": "json_schema"}, {"type": "json_schema", "json_schema": {"name": "x"}}, 7])
def test_what_is_no_response_format_is_refused(subject: Subject, wanted: Any, server: Server) -> None:
    with pytest.raises(ConfigurationError):
        subject.ask(subject.make(server), response_format=wanted)
    assert not server.requests


@chats
def test_a_schema_is_sent_or_refused_by_name(subject: Subject, server: Server) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}
    wanted = {"type": "json_schema", "json_schema": {"name": "thing", "schema": schema}}
    try:
        subject.ask(subject.make(server), response_format=wanted)
    except UnsupportedContentError:
        assert not server.requests
        assert "GraySwan" in subject.name
    else:
        assert '"a"' in server.requests[-1].content.decode()


# ------------------------------------------------------------------ answers


@pytest.mark.parametrize(
    "subject", [one for one in SUBJECTS if one.name == "LLMEngine"], ids=lambda subject: subject.id
)
async def test_an_answer_at_the_limit_says_so_where_the_api_does_not(subject: Subject, server: Server) -> None:
    """The server counts one token."""
    for limit, told in ((1, "length"), (2, None)):
        model = subject.make(server, max_tokens=limit)
        if subject.framework == "langchain":
            results = [model.generate(["hi"]), await model.agenerate(["hi"])]
            found = [(result.generations[0][0].generation_info or {}).get("finish_reason") for result in results]
        else:
            answers = [model.complete("hi"), await model.acomplete("hi")]
            found = [answer.additional_kwargs.get("finish_reason") for answer in answers]
        assert found == [told] * 2
