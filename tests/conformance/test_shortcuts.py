"""What nearly every message is, one text, takes a shorter way to the wire. It has to say what the general way says.

The general way is taken here by what means the same but is no plain message: a subclass, a keyword that says nothing.
"""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from typing import Any

import httpx
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from llama_index.core.base.llms.types import ChatMessage, MessageRole, TextBlock

from linkspan.conversation import ChatRequest, Message, Text
from linkspan.langchain import ChatScaleway
from linkspan.llama_index import Scaleway
from linkspan.providers.scaleway import ScalewayChatCodec

URL = "http://127.0.0.1:9"
quick = settings(max_examples=40, suppress_health_check=list(HealthCheck))

texts = st.text(st.characters(exclude_categories=("Cs",)), max_size=20)
names = st.none() | st.sampled_from(["", "ada"])
#: All roles but those of tools' results, which need the id of their call.
SPEAKERS = [role for role in MessageRole if role not in {MessageRole.TOOL, MessageRole.FUNCTION}]


class Users(HumanMessage):
    """Somebody's own kind of a user's turn."""


class Models(AIMessage):
    """Somebody's own kind of a model's turn."""


class Rules(SystemMessage):
    """Somebody's own kind of a system turn."""


@dataclass(slots=True)
class TextOfItsOwn(Text):
    """A text that is not the class itself."""


_ANSWER = {"choices": [{"index": 0, "message": {"role": "assistant", "content": "ok"}, "finish_reason": "stop"}]}


@functools.cache
def models() -> tuple[ChatScaleway, Scaleway, list[Any]]:
    """A model of each framework, and the bodies that they sent."""
    sent: list[Any] = []

    def respond(request: httpx.Request) -> httpx.Response:
        sent.append(json.loads(request.content))
        return httpx.Response(200, json=_ANSWER)

    client = httpx.Client(transport=httpx.MockTransport(respond), trust_env=False)
    settings_ = {"model": "m", "api_key": "a-key-for-nobody", "base_url": URL, "http_client": client}
    return ChatScaleway(**settings_), Scaleway(**settings_), sent


@st.composite
def langchain_turns(draw: st.DrawFn) -> tuple[type, type, dict[str, Any]]:
    """A class, a subclass of it, and what to make both of."""
    plain, own = draw(st.sampled_from([(HumanMessage, Users), (AIMessage, Models), (SystemMessage, Rules)]))
    fields: dict[str, Any] = {"content": draw(texts), "name": draw(names)}
    if plain is AIMessage:
        said = st.sampled_from([None, "", "no"])
        words = st.sampled_from(["refusal", "reasoning_content", "other"])
        fields["additional_kwargs"] = draw(st.dictionaries(words, said, max_size=2))
        call = {"id": "c1", "name": "add", "args": {"a": 1}, "type": "tool_call"}
        broken = {"id": "c2", "name": "add", "args": "{", "error": None, "type": "invalid_tool_call"}
        fields["tool_calls"] = draw(st.lists(st.just(call), max_size=1))
        fields["invalid_tool_calls"] = draw(st.lists(st.just(broken), max_size=1))
    return plain, own, fields


@quick
@given(turns=st.lists(langchain_turns(), min_size=1, max_size=4), send_reasoning=st.booleans())
def test_langchains_own_classes_say_what_their_subclasses_say(
    turns: list[tuple[type, type, dict[str, Any]]], send_reasoning: bool
) -> None:
    model, _, sent = models()
    sent.clear()
    model.invoke([plain(**fields) for plain, _, fields in turns], send_reasoning=send_reasoning)
    model.invoke([own(**fields) for _, own, fields in turns], send_reasoning=send_reasoning)
    assert sent[0] == sent[1]
    assert len(sent[0]["messages"]) == len(turns)


@quick
@given(turns=st.lists(st.tuples(st.sampled_from(SPEAKERS), texts), min_size=1, max_size=4))
def test_llama_index_messages_say_what_those_with_idle_keywords_say(turns: list[tuple[MessageRole, str]]) -> None:
    _, model, sent = models()
    sent.clear()
    model.chat([ChatMessage(role=role, blocks=[TextBlock(text=text)]) for role, text in turns])
    model.chat([ChatMessage(role=role, content=text, additional_kwargs={"mine": 1}) for role, text in turns])
    assert sent[0] == sent[1]
    assert [message["content"] for message in sent[0]["messages"]] == [text for _, text in turns]


@quick
@given(data=st.data())
def test_plain_turns_are_written_as_all_are(data: st.DataObject) -> None:
    roles = st.sampled_from(["system", "user", "assistant", "tool"])
    draws = st.tuples(roles, texts, names, st.none() | st.sampled_from(["", "c1"]), st.booleans())
    # A tool's result has the id of its call.
    turns = data.draw(st.lists(draws.filter(lambda turn: turn[0] != "tool" or turn[3]), max_size=4))

    def body(kind: type[Text]) -> dict[str, Any]:
        messages = [
            Message(role, [kind(text)], name=name, tool_call_id=call, is_error=role == "tool" and failed)
            for role, text, name, call, failed in turns
        ]
        return ScalewayChatCodec().encode(ChatRequest("m", messages), stream=False)

    assert body(Text) == body(TextOfItsOwn)
    assert [list(message) for message in body(Text)["messages"]] == [
        ["role", "content", *(["name"] if name is not None else []), *(["tool_call_id"] if call is not None else [])]
        for _, _, name, call, _ in turns
    ]
