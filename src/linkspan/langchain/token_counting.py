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
#: Fixed prices of what is no text, in tokens. Core's own for a picture; a sound's is that of half a minute (Voxtral:
#: 12.5 a second), a film's or file's that of a few pictures or pages. Never their base64: that is no text.
_IMAGE, _SOUND, _OTHER = 85, 375, 1000
_PRICES = {
    "image": _IMAGE,
    "image_url": _IMAGE,
    "audio": _SOUND,
    "input_audio": _SOUND,
    "audio_url": _SOUND,
    "video": _OTHER,
    "video_url": _OTHER,
    "file": _OTHER,
    "document": _OTHER,
    "media": _OTHER,
}
#: Where other blocks hold their words.
_WORDS = ("text", "reasoning", "thinking", "refusal", "title", "context")


def count_text_tokens(text: str, tokenize: Callable[[str], list[int]] | None) -> int:
    """Return the tokens of a text: counted if there is a tokenizer, else estimated."""
    return len(tokenize(text)) if tokenize is not None else math.ceil(len(text) / _CHARACTERS_PER_TOKEN)


def count_message_tokens(
    messages: list[BaseMessage], tools: list[dict[str, Any]], tokenize: Callable[[str], list[int]] | None
) -> int:
    """Return the tokens of messages and tools: counted if there is a tokenizer, else core's estimate.

    Pictures, sounds, films and files have a fixed price.
    """
    priced = [_without_media(message) for message in messages]
    texts, prices = [message for message, _ in priced], sum(price for _, price in priced)
    if tokenize is None:
        return prices + count_tokens_approximately(texts, tools=tools or None)  # type: ignore[arg-type]  # its list is invariant
    written = [get_buffer_string([message]) for message in texts]
    written += [json.dumps(tool, ensure_ascii=False) for tool in tools]
    return prices + sum(len(tokenize(text)) for text in written)


def _without_media(message: BaseMessage) -> tuple[BaseMessage, int]:
    """Return the message with its words alone, and the price of what else it holds.

    Private records of other providers hold no words and are not sent: they cost nothing.
    """
    content = message.content
    if isinstance(content, str):
        return message, 0
    price = 0
    words: list[str | dict[str, Any]] = []
    for block in content:
        if isinstance(block, str):
            words.append(block)
        elif block.get("type") in _PRICES:
            price += _PRICES[block["type"]]
        else:
            said = "\n".join(block[name] for name in _WORDS if isinstance(block.get(name), str))
            words += [{"type": "text", "text": said}] if said else []
    return message.model_copy(update={"content": words}), price
