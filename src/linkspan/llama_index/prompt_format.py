"""Write conversations for prompt APIs without a chat template: as plain lines, or by the user's functions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from llama_index.core.base.llms.types import ChatMessage, MessageRole

from linkspan.conversation import DATA_ROLE_ADVICE, Reasoning, Text, kind_of_part
from linkspan.errors import UnsupportedContentError
from linkspan.llama_index.messages import messages_from_llama_index
from linkspan.providers.data_role import fence_data
from linkspan.turns import name_as_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from linkspan.conversation import Message

__all__ = ["for_function", "plain_lines"]


def plain_lines(messages: Sequence[Message], *, provider: str, data_role: Literal["error", "fenced"]) -> str:
    """Return a conversation as lines that begin with the role; the assistant continues the last one.

    A speaker's name is written before the text. The assistant's reasoning is left out.

    Raises:
        UnsupportedContentError: It has parts other than text, or untrusted text without ``data_role="fenced"``.
    """
    carried = _fenced([name_as_text(message) for message in messages], provider=provider, data_role=data_role)
    lines = [f"{message.role}: {_text(message, place, provider)}" for place, message in enumerate(carried)]
    return "\n".join([*lines, "assistant: "])


def for_function(
    messages: Sequence[ChatMessage], *, provider: str, data_role: Literal["error", "fenced"]
) -> Sequence[ChatMessage]:
    """Prepare messages for a user's ``messages_to_prompt``: fence untrusted text, leave the rest unchanged.

    Raises:
        UnsupportedContentError: There is untrusted text, and ``data_role`` is not ``"fenced"``.
    """
    conversation = messages_from_llama_index(messages, provider=provider)
    if all(message.role != "data" for message in conversation):
        return messages
    carried = _fenced(conversation, provider=provider, data_role=data_role)
    return [
        ChatMessage(role=MessageRole(turn.role), content=_text(turn, place, provider))
        if was.role == "data"
        else message
        for place, (message, was, turn) in enumerate(zip(messages, conversation, carried, strict=True))
    ]


def _fenced(messages: Sequence[Message], *, provider: str, data_role: Literal["error", "fenced"]) -> Sequence[Message]:
    for place, message in enumerate(messages):
        if message.role == "data" and data_role != "fenced":
            raise UnsupportedContentError(
                f"message {place} has the role data, which a prompt does not support. {DATA_ROLE_ADVICE}",
                provider=provider,
            )
    return fence_data(messages)


def _text(message: Message, place: int, provider: str) -> str:
    if message.tool_calls:
        raise UnsupportedContentError(
            f"message {place} calls tools, which a prompt does not support: use a chat class of this API.",
            provider=provider,
        )
    for part in message.parts:
        left_out = isinstance(part, Reasoning) and message.role == "assistant"  # as by chat templates
        if not (isinstance(part, Text) or left_out):
            raise UnsupportedContentError(
                f"a prompt is only text: message {place} ({message.role}) has a part of type {kind_of_part(part)!r}. "
                "Remove it, or use a chat class of this API.",
                provider=provider,
            )
    return "\n".join(part.text for part in message.parts if isinstance(part, Text))
