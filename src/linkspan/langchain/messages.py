"""Convert LangChain messages to the neutral conversation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    ChatMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)

from linkspan.call_history import arguments_text
from linkspan.conversation import ENCRYPTED_REASONING, Message, Reasoning, Text, ToolCall
from linkspan.errors import InvalidRequestError, UnsupportedContentError
from linkspan.langchain.message_parts import CALL_BLOCKS, parts_of, parts_of_answer
from linkspan.tool_arguments import parse_arguments
from linkspan.turns import refusal_as_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from linkspan.conversation import Part, Role

__all__ = ["to_conversation"]

_ROLES: dict[str, Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "ai": "assistant",
    "tool": "tool",
    "data": "data",
}


def to_conversation(messages: Sequence[BaseMessage], provider: str) -> list[Message]:
    """Convert LangChain messages to neutral ones.

    Raises:
        UnsupportedContentError: No API supports a role or content block.
        InvalidRequestError: Arguments of an earlier call are not JSON, or a message is malformed.
    """
    converted: list[Message] = []
    try:
        for message in messages:
            converted.append(_to_message(message, provider, len(converted)))
    except (AttributeError, KeyError, TypeError) as error:  # core checks the types of new messages, not of changes
        place = len(converted)
        raise InvalidRequestError(
            f"Message {place} of the conversation, {type(messages[place]).__name__}, is malformed: a part of it is of "
            f"the wrong type or missing ({type(error).__name__}: {error}).",
            provider=provider,
        ) from error
    return converted


def _to_message(message: BaseMessage, provider: str, place: int) -> Message:
    content = message.content
    if isinstance(content, str):
        # A shortcut for the usual message; the general path below gives the same result.
        if type(message) is HumanMessage:
            return Message("user", [Text(content)], message.name)
        if type(message) is AIMessage and content and _only_text(message):
            return Message("assistant", [Text(content)], message.name)
    role = _role_of(message, provider)
    if isinstance(message, AIMessage):
        return _assistant(message, provider, place)
    parts = parts_of(message.content, provider)
    if role == "tool":
        return _tool(message, parts)
    return Message(role, parts, name=message.name)


def _only_text(message: AIMessage) -> bool:
    return not (
        message.tool_calls
        or message.additional_kwargs
        or message.invalid_tool_calls
        or message.response_metadata.get("extra")
    )


def _role_of(message: BaseMessage, provider: str) -> Role:
    if isinstance(message, HumanMessage):
        return "user"
    if isinstance(message, AIMessage):
        return "assistant"
    if isinstance(message, SystemMessage):
        return "system"
    if isinstance(message, ToolMessage):
        return "tool"
    if isinstance(message, ChatMessage):
        role = _ROLES.get(message.role)
        if role is not None:
            return role
        raise UnsupportedContentError(
            f"The role {message.role!r} of a ChatMessage is unknown to {provider}; use one of {', '.join(_ROLES)}.",
            provider=provider,
        )
    raise UnsupportedContentError(
        f"A message of type {message.type!r} ({type(message).__name__}) cannot be sent to {provider}.",
        provider=provider,
    )


def _tool(message: BaseMessage, parts: list[Part]) -> Message:
    extra = message.additional_kwargs
    call_id = message.tool_call_id if isinstance(message, ToolMessage) else extra.get("tool_call_id")
    failed = isinstance(message, ToolMessage) and message.status == "error"
    return Message("tool", parts, name=message.name, tool_call_id=call_id or None, is_error=failed)


def _assistant(message: AIMessage, provider: str, place: int) -> Message:
    calls = [
        ToolCall(call_id, name, arguments_text(arguments, name=name, place=place, provider=provider))
        for call_id, name, arguments in _tool_calls(message)
    ]
    parts = refusal_as_text(parts_of_answer(message.content, provider), message.additional_kwargs.get("refusal"))
    if not any(not isinstance(part, Text) or part.text for part in parts):
        parts = [] if calls else [Text("")]
    reasoning = message.additional_kwargs.get("reasoning_content")
    thought = Reasoning(reasoning if isinstance(reasoning, str) else "", _encrypted_reasoning(message))
    if (thought.text or thought.encrypted) and not any(isinstance(part, Reasoning) for part in parts):
        parts.insert(0, thought)
    return Message("assistant", parts, name=message.name, tool_calls=calls)


def _encrypted_reasoning(message: AIMessage) -> Sequence[str]:
    extra = message.response_metadata.get("extra")
    return extra.get(ENCRYPTED_REASONING, ()) if isinstance(extra, Mapping) else ()


def _tool_calls(message: AIMessage) -> Iterator[tuple[str | None, str, Any]]:
    """Yield id, name and arguments of each call, including invalid ones."""
    begun = _begun_arguments(message)
    for call in message.tool_calls:
        yield call.get("id"), call["name"], begun.get(call.get("id"), call["args"])
    for broken in message.invalid_tool_calls:
        yield broken.get("id"), broken.get("name") or "", broken.get("args")
    if message.tool_calls or message.invalid_tool_calls:
        return
    if not isinstance(message.content, str):
        # A hand-written history may have its calls only as blocks.
        for block in message.content:
            if isinstance(block, dict) and block.get("type") in CALL_BLOCKS:
                yield _call_of_block(block)
    function = message.additional_kwargs.get("function_call")
    if isinstance(function, Mapping) and function.get("name"):
        yield None, function["name"], function.get("arguments")  # OpenAI's form of calls before it had tools.


def _begun_arguments(message: AIMessage) -> dict[str | None, str]:
    """Return the text of unfinished arguments by call id, of a stream that was not read to its end.

    The message shows what can be parsed so far, which would look like what the model wrote.
    """
    chunks = message.tool_call_chunks if isinstance(message, AIMessageChunk) else ()
    return {chunk["id"]: chunk["args"] for chunk in chunks if chunk["args"] and parse_arguments(chunk["args"]) is None}


def _call_of_block(block: Mapping[str, Any]) -> tuple[str | None, str, Any]:
    """Read a call from a content block: ``input`` (Anthropic), ``args`` or ``arguments`` (others)."""
    arguments = next((block[key] for key in ("args", "input", "arguments") if block.get(key) is not None), None)
    name = block.get("name") or ""
    if not isinstance(name, str):
        raise TypeError(f"the name of a tool call must be text, not {type(name).__name__}")
    return block.get("call_id") or block.get("id"), name, arguments
