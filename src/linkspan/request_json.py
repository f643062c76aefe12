"""A request's body as JSON: what the standard library writes, byte for byte; long conversations in half of its time."""

from __future__ import annotations

import json
from itertools import chain
from typing import TYPE_CHECKING, Any

from pydantic_core import to_json

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["write_json"]

_write = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode

#: Characters or messages from which on looking through a conversation is repaid.
_LONG_TEXT, _MANY_MESSAGES = 2_000, 8

_TEXT_OR_NOTHING = frozenset({str, type(None)})


def write_json(body: Mapping[str, Any]) -> bytes:
    """Return a body as compact UTF-8 JSON.

    The standard library looks at each character of a text in turn, pydantic's writer does not. But that one writes much
    that is no JSON (NaN, dates, sets), so it is given what is known to be texts only.

    Raises:
        TypeError, ValueError: It holds something that JSON cannot carry.
    """
    messages = body.get("messages")
    if type(messages) is list and _are_texts(messages) and _are_long(messages):
        try:
            written = to_json(messages)
        except ValueError:  # a lone surrogate: the general way says it better
            pass
        else:
            fields = [
                b'"messages":' + written if name == "messages" else _write({name: value})[1:-1].encode("utf-8")
                for name, value in body.items()
            ]
            return b"{%b}" % b",".join(fields)
    return _write(body).encode("utf-8")


def _are_texts(messages: list[Any]) -> bool:
    """Whether all are dicts of texts: exactly, because what a subclass is written as is its own affair."""
    return (
        set(map(type, messages)) == {dict}
        and set(map(type, chain.from_iterable(messages))) == {str}
        and _TEXT_OR_NOTHING.issuperset(map(type, chain.from_iterable(map(dict.values, messages))))
    )


def _are_long(messages: list[dict[str, str | None]]) -> bool:
    return len(messages) >= _MANY_MESSAGES or any(
        len(text or "") >= _LONG_TEXT for message in messages for text in message.values()
    )
