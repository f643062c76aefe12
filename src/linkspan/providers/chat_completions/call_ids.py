"""Ids of tool calls: unique in a conversation, and in a form that the model's server accepts.

Frameworks match calls and results only by id. TGI sends the id ``"0"`` with every whole answer, Kimi counts from zero
in each answer, llama.cpp and xinference repeat ids within an answer. Without new ids, calls would be lost or run twice.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from uuid import uuid4

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from linkspan.conversation import Message

__all__ = ["CallIds", "with_ids_for_model"]

#: Mistral's model families. Their servers need ids of nine letters and digits: vLLM truncates longer ones, and answers
#: 400 to shorter ones such as ``0`` or ``call_0``.
_MISTRAL = re.compile(r"mi(?:s|x|nis)tral|magistral|devstral|pixtral|codestral|voxtral", re.IGNORECASE)
_MISTRAL_ID = re.compile(r"[a-zA-Z0-9]{9}")


class CallIds:
    """Assigns ids to the calls of one answer: the server's id if it is new, else a generated one.

    Ids of the messages before it, the ``conversation``, are not reused.
    """

    __slots__ = ("_conversation", "_taken")

    def __init__(self, conversation: Sequence[Message] = ()) -> None:
        self._conversation = conversation
        self._taken: set[str] | None = None

    def claim(self, wire_id: Any) -> str:
        """Return the id of a call whose id on the wire is ``wire_id``."""
        if self._taken is None:
            self._taken = set(_ids_in(self._conversation))
        known = isinstance(wire_id, str) and wire_id and wire_id not in self._taken
        call_id: str = wire_id if known else f"call_{uuid4().hex[:24]}"
        self._taken.add(call_id)
        return call_id


def _ids_in(messages: Sequence[Message]) -> Iterable[str]:
    for message in messages:
        for call in message.tool_calls:
            if call.id is not None:
                yield call.id
        if message.tool_call_id is not None:
            yield message.tool_call_id


def with_ids_for_model(messages: Sequence[Message], model: str | None) -> Sequence[Message]:
    """Return the messages with tool call ids that the model's server accepts.

    Only for models with a Mistral name, and only for ids of another form. Each becomes a hash of nine letters and
    digits, both in the call and in its result.
    """
    if model is None or not _MISTRAL.search(model):
        return messages
    return [_with_mistral_ids(message) for message in messages]


def _with_mistral_ids(message: Message) -> Message:
    if message.tool_calls:
        calls = [replace(call, id=call.id and _mistral_id(call.id)) for call in message.tool_calls]
        return replace(message, tool_calls=calls)
    if message.tool_call_id:
        return replace(message, tool_call_id=_mistral_id(message.tool_call_id))
    return message


def _mistral_id(call_id: str) -> str:
    if _MISTRAL_ID.fullmatch(call_id):
        return call_id
    return hashlib.sha256(call_id.encode("utf-8", "surrogatepass")).hexdigest()[:9]
