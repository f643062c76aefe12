"""A conversation that another provider began goes on; what a user sends is never left out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage
from llama_index.core.base.llms.types import (
    CachePoint,
    ChatMessage,
    CitationBlock,
    MessageRole,
    TextBlock,
    ThinkingBlock,
)

from linkspan.errors import UnsupportedContentError
from tests.history.conftest import Subject

if TYPE_CHECKING:
    from linkspan_sandbox import Sandbox

PRIVATE: list[dict[str, Any]] = [
    {"type": "redacted_thinking", "data": "opaque"},
    {"type": "non_standard", "value": {"type": "redacted_thinking", "data": "opaque"}},
    {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {}},
    {"type": "server_tool_call", "id": "s", "name": "web_search", "args": {"query": "q"}},
    {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {"query": "q"}},
    {"type": "web_search_tool_result", "tool_use_id": "s", "content": []},
    {"type": "server_tool_result", "tool_call_id": "s", "status": "success", "output": []},
    {"type": "input_json_delta", "partial_json": '{"a": 1'},
    {"type": "executable_code", "executable_code": "print(1)", "language": "python"},
    {"type": "code_execution_result", "code_execution_result": "1", "outcome": 1},
    {"type": "thinking", "thinking": "hm", "signature": "s"},
    {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "opaque"},
    {"type": "reasoning_content", "reasoning_content": {"redactedContent": "opaque"}},
]
#: A thought as other providers spell it.
THOUGHTS: list[dict[str, Any]] = [
    {"type": "reasoning", "reasoning": "hm"},
    {"type": "thinking", "thinking": "hm", "signature": "s"},
    {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]},
    {"type": "reasoning_content", "reasoning_content": {"text": "hm", "signature": "s"}},
    {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "hm"}]},
    {"type": "reasoning", "id": "rs_1", "content": [{"type": "reasoning_text", "text": "hm"}]},
]
WORDS: list[dict[str, Any]] = [
    {"type": "output_text", "text": "b", "annotations": []},
    {"type": "non_standard", "value": {"type": "output_text", "text": "b"}},
    {"text": "b"},
]


@pytest.mark.parametrize("block", PRIVATE, ids=lambda block: block["type"])
def test_private_records_are_left_out_of_assistant_turns(sandbox: Sandbox, api: str, block: dict[str, Any]) -> None:
    subject = Subject("langchain", api, sandbox)
    subject.ask("a", AIMessage([block, {"type": "text", "text": "b"}]), "c")
    assert [message["content"] for message in subject.sent()] in (
        ["a", "b", "c"],
        ["a", [{"type": "text", "text": "b"}], "c"],
    )


def test_a_turn_of_private_records_alone_says_nothing(sandbox: Sandbox) -> None:
    subject = Subject("langchain", "Scaleway", sandbox)
    subject.ask("a", AIMessage(PRIVATE[:4]), "c")
    assert [message["content"] for message in subject.sent()] == ["a", "", "c"]


@pytest.mark.parametrize("block", WORDS, ids=["output_text", "non_standard", "untyped"])
def test_words_are_carried_whatever_their_block_is_called(sandbox: Sandbox, block: dict[str, Any]) -> None:
    subject = Subject("langchain", "Scaleway", sandbox)
    subject.ask("a", AIMessage([block]), "c")
    assert subject.sent()[1]["content"] == "b"


def test_a_text_block_without_a_text_is_left_out(sandbox: Sandbox, api: str) -> None:
    # What is left of a text when another provider's chunks are merged.
    subject = Subject("langchain", api, sandbox)
    subject.ask("a", AIMessage([{"type": "text", "text": None, "index": 0}, {"type": "text", "text": "b"}]), "c")
    assert subject.sent()[1]["content"] in ("b", [{"type": "text", "text": "b"}])


def test_a_call_from_before_tools_is_a_call(sandbox: Sandbox, api: str) -> None:
    subject = Subject("langchain", api, sandbox)
    function = {"name": "fare", "arguments": '{"port": "Ostra"}'}
    subject.ask("a", AIMessage("", additional_kwargs={"function_call": function}), "c")
    (call,) = subject.sent()[1]["tool_calls"]
    assert call["function"] == function
    assert call["id"]


@pytest.mark.parametrize("block", THOUGHTS, ids=str)
def test_thoughts_of_other_providers_are_thoughts(sandbox: Sandbox, block: dict[str, Any]) -> None:
    subject = Subject("langchain", "Scaleway", sandbox)
    turns = ("a", AIMessage([block, {"type": "text", "text": "b"}]), "c")
    subject.ask(*turns, send_reasoning=True)
    assert subject.sent()[1]["reasoning_content"] == "hm"
    subject.ask(*turns)
    assert subject.sent()[1] == {"role": "assistant", "content": "b"}


CALL = {"type": "tool_use", "id": "t", "name": "fare", "input": {}}


@pytest.mark.parametrize("block", [*PRIVATE[:10], CALL], ids=lambda block: block["type"])
def test_what_a_user_sends_is_refused_by_name(sandbox: Sandbox, block: dict[str, Any]) -> None:
    subject = Subject("langchain", "Scaleway", sandbox)
    with pytest.raises(UnsupportedContentError, match=block["type"]):
        subject.ask(HumanMessage([block, {"type": "text", "text": "b"}]))


def test_a_text_that_is_no_text_is_refused(sandbox: Sandbox) -> None:
    subject = Subject("langchain", "Scaleway", sandbox)
    with pytest.raises(UnsupportedContentError, match="'text'"):
        subject.ask("a", AIMessage([{"type": "text", "text": {"value": "b"}}]), "c")


def test_an_image_of_an_assistant_is_no_private_record(sandbox: Sandbox) -> None:
    subject = Subject("langchain", "Scaleway", sandbox)
    picture = {"type": "image", "base64": "iVBORw0KGgo=", "mime_type": "image/png"}
    with pytest.raises(UnsupportedContentError, match=r"'image' in a assistant message"):
        subject.ask("a", AIMessage([picture]), "c")


def test_blocks_of_llama_index(sandbox: Sandbox, api: str) -> None:
    subject = Subject("llama_index", api, sandbox)
    cited = CitationBlock(
        cited_content=TextBlock(text="from the source"), source="s", title="t", additional_location_info={}
    )
    blocks = [
        ThinkingBlock(content=None, additional_information={"data": "opaque"}),
        ThinkingBlock(content="hm", additional_information={"signature": "s"}),
        TextBlock(text="b"),
        cited,
        CachePoint(cache_control={"type": "ephemeral"}),
    ]
    subject.ask("a", ChatMessage(role=MessageRole.ASSISTANT, blocks=blocks), "c")
    assert [message["content"] for message in subject.sent()] == ["a", "b", "c"]
    with pytest.raises(UnsupportedContentError, match="CitationBlock"):
        subject.ask(ChatMessage(role=MessageRole.USER, blocks=[TextBlock(text="a"), cited]))
