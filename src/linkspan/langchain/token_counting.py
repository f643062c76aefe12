"""Token counts without a network: estimates, or exact ones by the user's own tokenizer."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

from langchain_core.messages import get_buffer_string
from langchain_core.messages.utils import count_tokens_approximately

if TYPE_CHECKING:
    from collections.abc import Callable

    from langchain_core.messages import BaseMessage

__all__ = ["count_message_tokens", "count_text_tokens"]

#: What core's own estimate takes.
_CHARACTERS_PER_TOKEN = 4.0


def count_text_tokens(text: str, tokenize: Callable[[str], list[int]] | None) -> int:
    """Return the tokens of a text: counted if there is a tokenizer, else estimated."""
    return len(tokenize(text)) if tokenize is not None else math.ceil(len(text) / _CHARACTERS_PER_TOKEN)


def count_message_tokens(
    messages: list[BaseMessage], tools: list[dict[str, Any]], tokenize: Callable[[str], list[int]] | None
) -> int:
    """Return the tokens of messages and tools: counted if there is a tokenizer, else core's estimate."""
    if tokenize is None:
        return count_tokens_approximately(messages, tools=tools or None)  # type: ignore[arg-type]  # its list is invariant
    texts = [get_buffer_string([message]) for message in messages]
    texts += [json.dumps(tool, ensure_ascii=False) for tool in tools]
    return sum(len(tokenize(text)) for text in texts)
