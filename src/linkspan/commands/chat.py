"""``linkspan chat``: ask one question and stream the answer to standard output."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from linkspan.assembler import Assembler
from linkspan.commands import console
from linkspan.commands.apis import Address, ProviderName, chat_settings, endpoint_of
from linkspan.conversation import ChatRequest, Message, Text
from linkspan.errors import ConfigurationError, LinkspanError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["ask", "question_from"]


def question_from(words: Sequence[str]) -> str:
    """Return the question: the arguments, followed by piped text.

    Raises:
        ConfigurationError: There is neither, or the piped input is not text.
    """
    parts = [" ".join(words).strip()]
    if sys.stdin is not None and not sys.stdin.isatty():  # None if closed
        try:
            parts.append(sys.stdin.read().strip())
        except UnicodeDecodeError as error:
            raise ConfigurationError(f"The piped input is not {error.encoding} text.") from None
    question = "\n\n".join(part for part in parts if part)
    if not question:
        raise ConfigurationError('Ask something: linkspan chat scaleway -m MODEL "Why do tides lag?", or pipe a text.')
    return question


def ask(
    name: ProviderName,
    model: str | None,
    question: str,
    address: Address,
    *,
    system: str | None,
    max_tokens: int | None,
) -> int:
    """Ask the question, stream the answer, and return the exit code."""
    turns = [Message("system", (Text(system),))] if system else []
    parameters: dict[str, Any] = {} if max_tokens is None else {"max_tokens": max_tokens}
    messages = [*turns, Message("user", (Text(question),))]
    assembler = Assembler()
    shown = False
    try:
        settings = chat_settings(name, model, address)
        endpoint = endpoint_of(settings)
        # Without --model, the API's default.
        request = ChatRequest(model=getattr(settings, "model", None), messages=messages, parameters=parameters)
        try:
            for deltas in endpoint.batches(request, assembler):
                for delta in deltas:
                    assembler.add(delta)
                text = "".join(delta.text for delta in deltas)
                shown = shown or bool(text)
                console.stream(text)
        finally:
            endpoint.close()
    except LinkspanError as error:
        console.stream("\n" if shown else "")
        console.failure("The call", error)
        return 1
    console.stream("\n")
    if assembler.completion().finish_reason == "length":
        console.warning("the answer reached the token limit and is cut off; raise --max-tokens.")
    return 0
