"""Sounds, films, files and pictures have a fixed price in tokens: their base64 is no text."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, trim_messages

from linkspan.langchain import ChatScaleway

DATA = "UklGR" + "A" * 400_000
BLOCKS: list[dict[str, Any]] = [
    {"type": "audio", "base64": DATA, "mime_type": "audio/wav"},
    {"type": "input_audio", "input_audio": {"data": DATA, "format": "wav"}},
    {"type": "video", "base64": DATA, "mime_type": "video/mp4"},
    {"type": "file", "base64": DATA, "mime_type": "application/pdf"},
    {"type": "file", "file": {"file_data": DATA, "filename": "a.pdf"}},
    {"type": "image", "base64": DATA, "mime_type": "image/png"},
    {"type": "audio_url", "audio_url": {"url": f"data:audio/wav;base64,{DATA}"}},
    {"type": "document", "source": {"type": "base64", "data": DATA}},
    {"type": "media", "data": DATA, "mime_type": "audio/wav"},
    {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{DATA}"}},
]


def quarter(text: str) -> list[int]:
    return list(range(len(text) // 4))


@pytest.mark.parametrize("tokenize", [None, quarter])
@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block["type"])
def test_each_kind_has_a_price(block: dict[str, Any], tokenize: Any) -> None:
    model = ChatScaleway(model="llama-3.3-70b-instruct", api_key="any", custom_get_token_ids=tokenize)
    text = {"type": "text", "text": "What does she say?"}
    bare = model.get_num_tokens_from_messages([HumanMessage([text])])
    one = model.get_num_tokens_from_messages([HumanMessage([text, block])])
    two = model.get_num_tokens_from_messages([HumanMessage([text, block, block])])
    assert 50 < one - bare <= 1000
    assert two - one == one - bare


def test_a_sound_does_not_push_a_conversation_out() -> None:
    model = ChatScaleway(model="llama-3.3-70b-instruct", api_key="any")
    talk = [
        SystemMessage("Be brief."),
        HumanMessage([{"type": "text", "text": "What does she say?"}, BLOCKS[0]]),
        AIMessage("That it is late."),
        HumanMessage("How late?"),
    ]
    kept = trim_messages(
        talk, max_tokens=30_000, token_counter=model, strategy="last", include_system=True, start_on="human"
    )
    assert kept == talk


@pytest.mark.parametrize("tokenize", [None, quarter])
@pytest.mark.parametrize(
    "block",
    [
        {"type": "redacted_thinking", "data": DATA},
        {"type": "non_standard", "value": {"type": "image_generation_call", "result": DATA}},
        {"type": "web_search_tool_result", "content": [{"encrypted_content": DATA}]},
    ],
    ids=lambda block: block["type"],
)
def test_what_is_not_sent_costs_nothing(block: dict[str, Any], tokenize: Any) -> None:
    model = ChatScaleway(model="llama-3.3-70b-instruct", api_key="any", custom_get_token_ids=tokenize)
    text = {"type": "text", "text": "That it is late."}
    bare = model.get_num_tokens_from_messages([AIMessage([text])])
    assert model.get_num_tokens_from_messages([AIMessage([text, block])]) == bare


@pytest.mark.parametrize("tokenize", [None, quarter])
def test_words_of_a_document_are_counted(tokenize: Any) -> None:
    model = ChatScaleway(model="llama-3.3-70b-instruct", api_key="any", custom_get_token_ids=tokenize)
    words = "It leaves at nine. " * 100
    plain = model.get_num_tokens_from_messages([HumanMessage([{"type": "text-plain", "text": words, "title": "T"}])])
    assert plain >= len(words) // 4
