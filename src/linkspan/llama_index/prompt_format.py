"""Conversations and questions written as one text, for LLM classes whose API takes a prompt.

The objects here stand in the fields that LlamaIndex has for functions of this kind, so that its own code finds them.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from llama_index.core.base.llms.types import ChatMessage, MessageRole

from linkspan.conversation import Message, Text
from linkspan.errors import UnsupportedContentError
from linkspan.llama_index.messages import messages_from_llama_index
from linkspan.providers.data_role import fence_data

if TYPE_CHECKING:
    from collections.abc import Sequence

    from typing_extensions import Self

    from linkspan.prompts import ChatTemplate

__all__ = ["ConversationFormat", "QuestionFormat", "WrittenPrompt", "carry_data"]


class WrittenPrompt(str):
    """A text in a model's own format.

    Attributes:
        stop: Texts that end the model's turn under that format.
    """

    __slots__ = ("stop",)
    stop: tuple[str, ...]

    def __new__(cls, text: str, stop: tuple[str, ...]) -> Self:
        """Return the text with its stop texts."""
        written = super().__new__(cls, text)
        written.stop = stop
        return written

    def __getnewargs__(self) -> tuple[str, tuple[str, ...]]:  # type: ignore[override]  # str's own has one
        """Return what a copy or pickle is made of."""
        return str(self), self.stop


@dataclass(frozen=True)
class ConversationFormat:
    """``messages_to_prompt``: by a chat template, without one as plain lines that begin with the speaker.

    System messages that begin a conversation are joined for a template: LlamaIndex puts an LLM's system prompt, an
    agent's and a prompt's one after the other, and most models know one.

    Attributes:
        template: The model's chat template.
        provider: Name of the API, for errors.
        data_role: What becomes of untrusted text under a template without a role for it: an error, or a marked user
            turn.
    """

    template: ChatTemplate | None
    provider: str
    data_role: Literal["error", "fenced"]

    def __call__(self, messages: Sequence[ChatMessage]) -> str:
        """Return the conversation as one text that ends where the assistant is to go on.

        Raises:
            UnsupportedContentError: It holds something that is no text, or untrusted text without ``data_role``.
        """
        conversation = _without_data(messages_from_llama_index(messages, provider=self.provider), self)
        if self.template is not None:
            return WrittenPrompt(self.template.render(_one_system_turn(conversation)), self.template.stop)
        lines = [
            f"{message.role}: {_text(message, place, self.provider)}" for place, message in enumerate(conversation)
        ]
        return "\n".join([*lines, "assistant: "])


@dataclass(frozen=True)
class QuestionFormat:
    """``completion_to_prompt``: a text as the only turn of a conversation."""

    template: ChatTemplate

    def __call__(self, text: str, system: str | None = None) -> str:
        """Return the text as a user's turn, perhaps after a system's, ending where the assistant is to go on."""
        turns = [Message(role="system", parts=(Text(system),))] if system else []
        turns.append(Message(role="user", parts=(Text(text),)))
        return WrittenPrompt(self.template.render(turns), self.template.stop)


def carry_data(
    messages: Sequence[ChatMessage], *, provider: str, data_role: Literal["error", "fenced"]
) -> Sequence[ChatMessage]:
    """Return messages for a function of the user's: untrusted text among them as marked user turns, others untouched.

    Raises:
        UnsupportedContentError: There is untrusted text, and ``data_role`` is not ``"fenced"``.
    """
    conversation = messages_from_llama_index(messages, provider=provider)
    if all(message.role != "data" for message in conversation):
        return messages
    fenced = _without_data(conversation, ConversationFormat(None, provider, data_role))
    return [
        ChatMessage(role=MessageRole.USER, content=_text(carried, place, provider)) if was.role == "data" else message
        for place, (message, was, carried) in enumerate(zip(messages, conversation, fenced, strict=True))
    ]


def _one_system_turn(conversation: Sequence[Message]) -> Sequence[Message]:
    begun = list(itertools.takewhile(lambda message: message.role == "system", conversation))
    parts = [part for message in begun for part in message.parts]
    if len(begun) < 2 or not all(isinstance(part, Text) for part in parts):  # other parts the template refuses
        return conversation
    texts = ["\n".join(part.text for part in message.parts if isinstance(part, Text)) for message in begun]
    return [Message(role="system", parts=(Text("\n\n".join(texts)),)), *conversation[len(begun) :]]


def _without_data(conversation: Sequence[Message], wanted: ConversationFormat) -> Sequence[Message]:
    if wanted.template is not None and "data" in wanted.template.roles:
        return conversation
    if wanted.data_role == "fenced":
        return fence_data(conversation)
    for place, message in enumerate(conversation):
        if message.role == "data":
            raise UnsupportedContentError(
                f"message {place} has the role data, which a prompt has no place for: pass data_role='fenced' to have "
                "it rendered as a marked user turn, or use an API with the role (Gray Swan).",
                provider=wanted.provider,
            )
    return conversation


def _text(message: Message, place: int, provider: str) -> str:
    if message.tool_calls:
        raise UnsupportedContentError(
            f"message {place} calls tools, which a prompt has no place for: use a chat class of this API.",
            provider=provider,
        )
    for part in message.parts:
        if not isinstance(part, Text):
            raise UnsupportedContentError(
                f"message {place} holds {type(part).__name__.lower()}, and {provider} takes a prompt: text only.",
                provider=provider,
            )
    return "\n".join(part.text for part in message.parts if isinstance(part, Text))
