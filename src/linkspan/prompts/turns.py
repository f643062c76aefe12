"""Checks that name the message which a family's format has no place for, before its template is rendered."""

from __future__ import annotations

from typing import TYPE_CHECKING

from linkspan.conversation import Reasoning
from linkspan.errors import UnsupportedContentError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from linkspan.conversation import Message
    from linkspan.prompts.known import Family

__all__ = ["check_content", "check_turns"]


def check_content(
    name: str,
    messages: Sequence[Message],
    *,
    has_tools: bool,
    variables: Mapping[str, Any] | None,
    send_reasoning: bool,
) -> None:
    """Refuse what no template of a family has a place for: tools, variables, earlier reasoning.

    Raises:
        UnsupportedContentError: The conversation holds one of them.
    """

    def refused(what: str) -> UnsupportedContentError:
        return UnsupportedContentError(
            f"The chat template {name} has no place for {what}. Use the model's own template "
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
    """Refuse an order of messages that a family was not trained on.

    Raises:
        UnsupportedContentError: There is no message, a system message stands where none may, or turns do not alternate.
    """
    if not messages:
        raise UnsupportedContentError(f"The chat template {name} needs at least one message.")
    roles = [message.role for message in messages]
    if family.system != "turn" and "system" in roles[1:]:
        raise UnsupportedContentError(
            f"The chat template {name} takes one system message, as the first message; message "
            f"{roles.index('system', 1)} is another one. Join them, or send the later one as a user message."
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
                f"The chat template {name} wants user and assistant messages in turn, the first from the user: message "
                f"{place} is from the {role}, where the {wanted} is due. Join messages of the same side, or choose a "
                "template without that rule (chatml, llama-3)."
            )
        wanted = "assistant" if wanted == "user" else "user"
    if add_generation_prompt and wanted == "user":
        last = f"message {spoken[-1][0]} is from the {spoken[-1][1]}" if spoken else "there is none"
        raise UnsupportedContentError(
            f"The chat template {name} answers a user message, so the last one has to be one; {last}."
        )
