"""Checks before rendering: each error names the message that the template does not support."""

from __future__ import annotations

from typing import TYPE_CHECKING

from linkspan.conversation import DATA_ROLE_ADVICE, Reasoning, Text, kind_of_part
from linkspan.errors import UnsupportedContentError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from linkspan.conversation import Message
    from linkspan.prompts.known import Family

__all__ = ["check_content", "check_described", "check_turns", "text_of"]


def text_of(message: Message, number: int, name: str, roles: Sequence[str]) -> str:
    """Return the text of a message, without the assistant's reasoning.

    Raises:
        UnsupportedContentError: The template does not support the role, or the message has a part that is not text.
    """
    if message.role not in roles:
        raise _unsupported_role(message, number, name, roles)
    texts = []
    for part in message.parts:
        if isinstance(part, Reasoning) and message.role == "assistant":
            continue
        if not isinstance(part, Text):
            raise UnsupportedContentError(
                f"A prompt is only text: message {number} ({message.role}) has a part of type "
                f"{kind_of_part(part)!r}. Remove it, or use a chat API."
            )
        texts.append(part.text)
    return message.marked_if_failed("\n".join(texts))


def _unsupported_role(message: Message, number: int, name: str, roles: Sequence[str]) -> UnsupportedContentError:
    way_out = {
        "data": DATA_ROLE_ADVICE,
        "tool": "Use the model's own template (ChatTemplate.from_jinja) if that has the role, or a chat API.",
    }.get(message.role, f"It has {', '.join(roles)}.")
    return UnsupportedContentError(
        f"The chat template {name} has no role {message.role!r} (message {number}). {way_out}"
    )


def check_described(source: str, name: str, messages: Sequence[Message], *, has_tools: bool) -> None:
    """Refuse tools and tool calls if the source of a template does not mention them.

    Raises:
        UnsupportedContentError: The source does not mention tools or tool calls.
    """
    if has_tools and "tools" not in source:
        raise UnsupportedContentError(f"The chat template {name} does not describe tools to the model.")
    if "tool_calls" in source:
        return
    for number, message in enumerate(messages):
        if message.tool_calls:
            raise UnsupportedContentError(f"The chat template {name} does not support tool calls (message {number}).")


def check_content(
    name: str,
    messages: Sequence[Message],
    *,
    has_tools: bool,
    variables: Mapping[str, Any] | None,
    send_reasoning: bool,
) -> None:
    """Refuse what no built-in template supports: tools, tool calls, variables, earlier reasoning.

    Raises:
        UnsupportedContentError: The request has one of them.
    """

    def refused(what: str) -> UnsupportedContentError:
        return UnsupportedContentError(
            f"The chat template {name} does not support {what}. Use the model's own template "
            "(ChatTemplate.from_jinja), or a chat API."
        )

    if has_tools:
        raise refused("tools")
    if variables:
        raise refused(f"variables ({', '.join(variables)})")
    for place, message in enumerate(messages):
        if message.tool_calls:
            raise refused(f"tool calls (message {place})")
        if send_reasoning and any(isinstance(part, Reasoning) for part in message.parts):
            raise refused(f"earlier reasoning (message {place})")


def check_turns(family: Family, name: str, messages: Sequence[Message], *, add_generation_prompt: bool) -> None:
    """Refuse an order of messages that a model family was not trained on.

    Raises:
        UnsupportedContentError: There is no message, a system message is misplaced, or turns do not alternate.
    """
    if not messages:
        raise UnsupportedContentError(f"The chat template {name} needs at least one message.")
    roles = [message.role for message in messages]
    if family.system != "turn" and "system" in roles[1:]:
        raise UnsupportedContentError(
            f"The chat template {name} allows one system message, as the first message; message "
            f"{roles.index('system', 1)} is another one. Join them (a chat class does with join_turns=True), or send "
            "the later one as a user message."
        )
    spoken = list(enumerate(roles))
    if family.system == "merged" and roles[0] == "system":
        del spoken[0]
    if family.alternates:
        _check_alternation(name, spoken, add_generation_prompt=add_generation_prompt)
    if family.system == "merged" and roles[0] == "system" and "user" not in roles:
        raise UnsupportedContentError(
            f"The chat template {name} has no system turn; the system message (message 0) goes into a user message, "
            "and there is none."
        )


def _check_alternation(name: str, spoken: Sequence[tuple[int, str]], *, add_generation_prompt: bool) -> None:
    wanted = "user"
    for place, role in spoken:
        if role == "system":
            continue
        if role != wanted:
            raise UnsupportedContentError(
                f"The chat template {name} needs alternating user and assistant messages, starting with the user: "
                f"message {place} must be from the {wanted}, not from the {role}. Join messages of the same role "
                "(a chat class does with join_turns=True), or choose a template without this rule (chatml, llama-3)."
            )
        wanted = "assistant" if wanted == "user" else "user"
    if add_generation_prompt and wanted == "user":
        last = f"message {spoken[-1][0]} is from the {spoken[-1][1]}" if spoken else "there is none"
        raise UnsupportedContentError(
            f"The chat template {name} answers a user message, so the last message must be from the user; {last}."
        )
