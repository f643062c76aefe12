"""Count tokens offline: estimates, or exact counts by the user's tokenizer."""

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

#: The forms that core's estimate accepts.
_CHARACTERS_PER_TOKEN = 4.0
#: Fixed costs of blocks other than text, in tokens: core's own for an image; half a minute for audio (Voxtral: 12.5 a
#: second); a few images or pages for a video or file. Base64 is never counted as text.
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
#: Keys of the text in other blocks.
_WORDS = ("text", "reasoning", "thinking", "refusal", "title", "context")


def count_text_tokens(text: str, tokenize: Callable[[str], list[int]] | None) -> int:
    """Count the tokens of a text with the tokenizer, or estimate them without one."""
    return len(tokenize(text)) if tokenize is not None else math.ceil(len(text) / _CHARACTERS_PER_TOKEN)


def count_message_tokens(
    messages: list[BaseMessage], tools: list[dict[str, Any]], tokenize: Callable[[str], list[int]] | None
) -> int:
    """Count the tokens of messages and tools with the tokenizer, or use core's estimate without one.

    Images, audio, videos and files have a fixed cost.
    """
    priced = [_without_media(message) for message in messages]
    texts, prices = [message for message, _ in priced], sum(price for _, price in priced)
    if tokenize is None:
        return prices + count_tokens_approximately(texts, tools=tools or None)  # type: ignore[arg-type]  # its list is invariant
    written = [get_buffer_string([message]) for message in texts]
    written += [json.dumps(tool, ensure_ascii=False) for tool in tools]
    return prices + sum(len(tokenize(text)) for text in written)


def _without_media(message: BaseMessage) -> tuple[BaseMessage, int]:
    """Return the message with only its text, and the cost of its other blocks.

    Private records of other providers cost nothing: they have no text and are not sent.
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
