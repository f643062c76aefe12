"""A conversation as templates expect it, by Hugging Face's convention: plain dicts. Every text can be changed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from linkspan.call_history import object_text
from linkspan.conversation import Reasoning

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import TypeAlias

    from linkspan.conversation import Message, Tool

__all__ = ["Change", "Place", "messages_as_variables", "texts_of_tools", "tools_as_variables", "unchanged"]


class Place(NamedTuple):
    """The place of a text: the message's number and role, and the kind of text."""

    number: int
    role: str
    kind: Literal["content", "id", "other"]


if TYPE_CHECKING:
    #: Changes a text on its way to the template.
    Change: TypeAlias = Callable[[str, Place], str]


def unchanged(text: str, _: Place) -> str:
    """Return a text as it is."""
    return text


def messages_as_variables(
    messages: Sequence[Message], contents: Sequence[str], change: Change, *, send_reasoning: bool
) -> list[dict[str, Any]]:
    """Return messages in the form that templates expect.

    ``contents`` has the text of each message; ``change`` is applied to each text.
    """
    return [
        _message_as_variable(number, message, content, change, send_reasoning=send_reasoning)
        for number, (message, content) in enumerate(zip(messages, contents, strict=True))
    ]


def _message_as_variable(
    number: int, message: Message, content: str, change: Change, *, send_reasoning: bool
) -> dict[str, Any]:
    other = Place(number, message.role, "other")
    identity = Place(number, message.role, "id")
    variable: dict[str, Any] = {
        "role": message.role,
        "content": change(content, Place(number, message.role, "content")),
    }
    if message.name is not None:
        variable["name"] = change(message.name, other)
    if message.tool_call_id is not None:
        variable["tool_call_id"] = change(message.tool_call_id, identity)
    if message.tool_calls:
        variable["tool_calls"] = [
            {
                "id": None if call.id is None else change(call.id, identity),
                "type": "function",
                "function": {
                    "name": change(call.name, other),
                    "arguments": _arguments(call.arguments, lambda text: change(text, other)),
                },
            }
            for call in message.tool_calls
        ]
    thoughts = "".join(part.text for part in message.parts if isinstance(part, Reasoning)) if send_reasoning else ""
    if thoughts:
        variable["reasoning_content"] = change(thoughts, other)
    return variable


def tools_as_variables(tools: Sequence[Tool], change: Callable[[str], str]) -> list[dict[str, Any]]:
    """Return tools in the form that templates expect."""
    return [_changed(_tool_as_variable(tool), change) for tool in tools]


def texts_of_tools(tools: Sequence[Tool]) -> Iterator[tuple[str, str]]:
    """Yield the tool's name with each text of the tool, including names of properties."""
    for tool in tools:
        for text in _texts_in(_tool_as_variable(tool)):
            yield tool.name, text


def _tool_as_variable(tool: Tool) -> dict[str, Any]:
    return {"type": "function", "function": tool.as_function()}


def _arguments(text: str, change: Callable[[str], str]) -> Any:
    """Return a tool call's arguments as templates expect them: parsed."""
    # Changed after parsing: an escape in the JSON text would hide a token.
    return _changed(json.loads(object_text(text)), change)


def _texts_in(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _texts_in(key)
            yield from _texts_in(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _texts_in(item)


def _changed(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, dict):
        return {change(key) if isinstance(key, str) else key: _changed(item, change) for key, item in value.items()}
    return [_changed(item, change) for item in value] if isinstance(value, (list, tuple)) else value
