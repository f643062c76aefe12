"""What is inside the frameworks' objects must be of the types that they say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from llama_index.core.base.llms.types import ChatResponse, CompletionResponse, LogProb, TextBlock, ToolCallBlock

if TYPE_CHECKING:
    from collections.abc import Mapping

_WORDS = ("model_provider", "model_name", "finish_reason", "request_id", "id", "model", "refusal")
_COUNTS = ("prompt_tokens", "completion_tokens", "total_tokens", "cached_tokens", "reasoning_tokens")


def check(answer: Any) -> None:
    """Assert that an answer, or a chunk of one, is sound."""
    if isinstance(answer, str):
        answer.encode()
    elif isinstance(answer, BaseMessage):
        _check_message(answer)
    elif isinstance(answer, (ChatResponse, CompletionResponse)):
        _check_response(answer)
    else:
        pytest.fail(f"{type(answer)} is not an answer")


def _check_message(message: BaseMessage) -> None:
    assert isinstance(message, AIMessage)
    assert isinstance(message.content, str)
    message.content.encode()
    assert isinstance(message.id, str)
    _check_facts(message.response_metadata)
    for name in ("reasoning_content", "refusal"):
        assert isinstance(message.additional_kwargs.get(name, ""), str)
    for call in message.tool_calls:
        assert isinstance(call["name"], str)
        assert isinstance(call["args"], dict)
        # A fragment of a call has the id in its first chunk only.
        assert isinstance(call["id"], (str, type(None)) if isinstance(message, AIMessageChunk) else str)
    for count in _leaves(message.usage_metadata or {}):
        assert type(count) is int
    for entry in (message.response_metadata.get("logprobs") or {}).get("content", ()):
        _check_logprob(entry)
    type(message).model_validate(message.model_dump())


def _check_logprob(entry: Mapping[str, Any]) -> None:
    assert isinstance(entry["token"], str)
    assert entry["logprob"] is None or type(entry["logprob"]) is float
    assert all(type(byte) is int and 0 <= byte <= 255 for byte in entry.get("bytes", ()))
    assert type(entry.get("id", 0)) is int
    assert type(entry.get("special", False)) is bool
    for other in entry["top_logprobs"]:
        _check_logprob(other)


def _check_response(response: ChatResponse | CompletionResponse) -> None:
    assert isinstance(response.raw, dict)
    for name in _COUNTS:
        assert type((response.raw.get("usage") or {}).get(name, 0)) in {int, type(None)}
        assert type(response.additional_kwargs.get(name, 0)) is int
    _check_facts(response.additional_kwargs)
    for likely in response.logprobs or ():
        for one in likely:
            assert isinstance(one, LogProb)
            assert isinstance(one.token, str)
            assert type(one.logprob) is float
            assert all(type(byte) is int for byte in one.bytes)
    if isinstance(response, CompletionResponse):
        assert isinstance(response.text, str)
    else:
        for block in response.message.blocks:
            if isinstance(block, TextBlock):
                assert isinstance(block.text, str)
            if isinstance(block, ToolCallBlock):
                assert isinstance(block.tool_name, str)
                assert isinstance(block.tool_call_id, (str, type(None)))
                assert isinstance(block.tool_kwargs, (dict, str))
    assert isinstance(response.delta, (str, type(None)))
    type(response).model_validate(response.model_dump())


def _check_facts(facts: Mapping[str, Any]) -> None:
    for name in _WORDS:
        assert isinstance(facts.get(name, ""), str), name


def _leaves(value: Mapping[str, Any]) -> list[Any]:
    return [leaf for item in value.values() for leaf in (_leaves(item) if isinstance(item, dict) else [item])]
