"""Join messages for models that want user and assistant to take turns; put refusals and names into texts."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import TYPE_CHECKING

from linkspan.conversation import Text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from linkspan.conversation import Message, Part

__all__ = ["join_first_system_turns", "join_turns", "joined", "name_as_text", "refusal_as_text"]


def join_turns(messages: Sequence[Message]) -> list[Message]:
    """Return a conversation in which no two turns of one speaker follow each other, and one system message at most.

    Users with different names stay apart, and so does what follows an assistant's calls: joining them would change
    what was said. Later system messages join the first one, or become it.
    """
    system = [message for message in messages if message.role == "system"]
    turns: list[list[Message]] = [system] if system else []
    for message in messages:
        if message.role == "system":
            continue
        if turns and _may_join(turns[-1][-1], message):
            turns[-1].append(message)
        else:
            turns.append([message])
    return [joined(turn) for turn in turns]


def join_first_system_turns(messages: Sequence[Message]) -> Sequence[Message]:
    """Join the system messages at the start of a conversation, which most templates require.

    Frameworks add separate ones for a model, an agent and a prompt.
    """
    begun = list(itertools.takewhile(lambda message: message.role == "system", messages))
    return messages if len(begun) < 2 else [joined(begun), *messages[len(begun) :]]


def refusal_as_text(parts: Sequence[Part], refusal: object) -> list[Part]:
    """Return the parts of an assistant's turn, with its refusal as the text if it has no other."""
    if not isinstance(refusal, str) or not refusal or any(isinstance(part, Text) and part.text for part in parts):
        return list(parts)
    return [*(part for part in parts if not isinstance(part, Text)), Text(refusal)]


def name_as_text(message: Message) -> Message:
    """Return a message whose text begins with the speaker's name, for prompts and APIs without a field for it.

    Names of assistants and tools are left out: role and call id identify them.
    """
    if not message.name or message.role in {"assistant", "tool"}:
        return replace(message, name=None) if message.name else message
    first, *rest = message.parts or [Text("")]
    begun = [Text(f"{message.name}: {first.text}")] if isinstance(first, Text) else [Text(f"{message.name}:"), first]
    return replace(message, name=None, parts=[*begun, *rest])


def _may_join(last: Message, message: Message) -> bool:
    if last.role != message.role or message.role not in {"user", "assistant"} or last.tool_calls:
        return False
    return last.name is None or message.name is None or last.name == message.name


def joined(messages: Sequence[Message]) -> Message:
    """Join messages of one turn and their adjacent texts, because some APIs do not accept a list of parts."""
    if len(messages) == 1:
        return messages[0]
    parts: list[Part] = []
    for message in messages:
        if not message.parts:
            continue
        first, *rest = message.parts
        if parts and isinstance(parts[-1], Text) and isinstance(first, Text):
            parts[-1] = Text(f"{parts[-1].text}\n\n{first.text}")
        else:
            parts.append(first)
        parts += rest
    return replace(
        messages[0],
        parts=parts,
        tool_calls=messages[-1].tool_calls,
        name=next((message.name for message in messages if message.name), None),
    )
