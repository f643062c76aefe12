"""Ids of tool calls: unique in an answer and in its conversation, and in the form that a model's server takes.

Frameworks pair calls and results by id alone. TGI gives the id ``"0"`` to the call of every whole answer, Kimi counts
from zero in each answer, llama.cpp and xinference repeat an id within one: calls would be lost, or answered twice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import uuid4

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from linkspan.conversation import Message

__all__ = ["CallIds", "new_call_id"]


class CallIds:
    """Hands out the ids of one answer's calls: the server's own where it is new, else a made one.

    Args:
        conversation: The messages before the answer. Their ids are taken.
    """

    __slots__ = ("_conversation", "_taken")

    def __init__(self, conversation: Sequence[Message] = ()) -> None:
        self._conversation = conversation
        self._taken: set[str] | None = None

    def claim(self, wire_id: Any) -> str:
        """Return the id for a call that the server calls ``wire_id``."""
        if self._taken is None:
            self._taken = set(_ids_in(self._conversation))
        known = isinstance(wire_id, str) and wire_id and wire_id not in self._taken
        call_id: str = wire_id if known else new_call_id()
        self._taken.add(call_id)
        return call_id


def new_call_id() -> str:
    """Return a new id."""
    return f"call_{uuid4().hex[:24]}"


def _ids_in(messages: Sequence[Message]) -> Iterable[str]:
    for message in messages:
        for call in message.tool_calls:
            if call.id is not None:
                yield call.id
        if message.tool_call_id is not None:
            yield message.tool_call_id
