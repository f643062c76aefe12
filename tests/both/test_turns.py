"""``join_turns``: conversations as frameworks make them, for models whose chat template wants turns to alternate."""

from __future__ import annotations

from typing import Any

import pytest

from linkspan.errors import InvalidRequestError, LinkspanError
from tests.both.subjects import SUBJECTS, Server, Subject

CHATS = [subject for subject in SUBJECTS if subject.kind in {"chat", "template"}]
TURNS = [
    ("system", "Be brief."),
    ("user", "Hello."),
    ("user", "How long is it?"),
    ("assistant", "Sixty"),
    ("assistant", "metres."),
    ("system", "Be kind."),
    ("user", "Why?"),
]


def conversation(framework: str, turns: list[tuple[str, str]]) -> list[Any]:
    if framework == "langchain":
        return [({"user": "human", "assistant": "ai"}.get(role, role), text) for role, text in turns]
    from llama_index.core.llms import ChatMessage

    return [ChatMessage(text, role=role) for role, text in turns]


def ask(subject: Subject, model: Any, *, turns: list[tuple[str, str]] = TURNS, **kwargs: Any) -> None:
    messages = conversation(subject.framework, turns)
    if subject.framework == "langchain":
        model.invoke(messages, **kwargs)
    else:
        model.chat(messages, **kwargs)


@pytest.mark.parametrize("per_call", [False, True])
@pytest.mark.parametrize("subject", CHATS, ids=lambda subject: subject.id)
def test_turns_of_one_speaker_are_joined_where_asked_for(subject: Subject, per_call: bool) -> None:
    server = Server()
    settings = {"chat_template": "llama-2"} if subject.kind == "template" else {}
    with subject.make(server, **settings, join_turns=not per_call) as model:
        ask(subject, model, **({"join_turns": True} if per_call else {}))
    if subject.kind == "chat":
        turns = server.body.get("messages") or server.body["input"]
        sent = [(turn["role"], _text(turn["content"])) for turn in turns]
        assert sent == [
            ("system", "Be brief.\n\nBe kind."),
            ("user", "Hello.\n\nHow long is it?"),
            ("assistant", "Sixty\n\nmetres."),
            ("user", "Why?"),
        ]
    else:
        prompt = server.body.get("prompt") or server.body["inputs"]
        assert prompt.count("[INST]") == 2
        assert "Hello.\n\nHow long is it?" in prompt


def _text(content: Any) -> str:
    return content if isinstance(content, str) else "".join(part["text"] for part in content)


@pytest.mark.parametrize(
    "subject", [subject for subject in CHATS if subject.kind == "template"], ids=lambda subject: subject.id
)
def test_without_it_a_strict_template_says_what_to_do(subject: Subject) -> None:
    server = Server()
    with subject.make(server, chat_template="llama-2") as model, pytest.raises(LinkspanError, match="join_turns"):
        ask(subject, model)
    assert not server.requests


@pytest.mark.parametrize("subject", CHATS, ids=lambda subject: subject.id)
def test_a_conversation_without_messages_is_refused(subject: Subject) -> None:
    server = Server()
    with subject.make(server) as model, pytest.raises(InvalidRequestError, match="at least one message"):
        ask(subject, model, turns=[])
    assert not server.requests


@pytest.mark.parametrize("template", ["llama-2", "chatml"])
@pytest.mark.parametrize("subject", [one for one in SUBJECTS if one.kind == "template"], ids=lambda subject: subject.id)
def test_a_template_has_one_system_turn_for_all_that_come_first(subject: Subject, template: str) -> None:
    server = Server()
    with subject.make(server, chat_template=template) as model:
        ask(subject, model, turns=[("system", "Be brief."), ("system", "Be kind."), ("user", "Why?")])
    prompt = server.body.get("prompt") or server.body["inputs"]
    assert "Be brief.\n\nBe kind." in prompt


def test_what_would_change_the_meaning_is_not_joined() -> None:
    from linkspan.conversation import Message, Text, ToolCall
    from linkspan.turns import join_turns

    ann, bob = Message("user", [Text("a")], "ann"), Message("user", [Text("b")], "bob")
    calls = Message("assistant", [], tool_calls=[ToolCall("1", "f", "{}")])
    result = Message("tool", [Text("r")], tool_call_id="1")
    said = Message("assistant", [Text("so")])
    assert join_turns([ann, bob, said, calls, result, result]) == [
        ann,
        bob,
        Message("assistant", [Text("so")], tool_calls=calls.tool_calls),
        result,
        result,
    ]
