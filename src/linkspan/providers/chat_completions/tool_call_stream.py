"""Fragments of tool calls in every shape that servers stream them, tidied into clean deltas."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from linkspan.conversation import ToolCallDelta
from linkspan.errors import InvalidResponseError
from linkspan.providers.chat_completions.decode import new_call_id
from linkspan.providers.wire_values import as_object, as_text
from linkspan.tool_arguments import as_json_text, is_complete_json, unwrap_json_string

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["ToolCallStream"]


@dataclass(slots=True)
class _Call:
    number: int
    wire_index: int | None
    wire_id: str | None
    name: str = ""
    arguments: str = ""
    #: Text that was held back: the name is still missing, or the arguments are encoded twice.
    held: str = ""
    is_open: bool = False


class ToolCallStream:
    """State of the tool calls of one choice.

    Seen from servers, and handled: several fragments in one delta, interleaved calls, ids or names repeated in each
    fragment or new in each fragment, no index, one index for all calls, no id, arguments that are null, empty, an
    object, or JSON inside a JSON string.
    """

    __slots__ = ("_calls",)

    def __init__(self) -> None:
        self._calls: list[_Call] = []

    def feed(self, fragments: Sequence[Any] | Mapping[str, Any]) -> list[ToolCallDelta]:
        """Take the fragments of one delta: a list, or the single object that TGI once sent."""
        deltas = []
        for fragment in [fragments] if isinstance(fragments, dict) else fragments:
            if isinstance(fragment, dict):
                delta = self._take(fragment)
                if delta is not None:
                    deltas.append(delta)
        return deltas

    def close(self, provider: str) -> list[ToolCallDelta]:
        """Take the end of the stream: hand out what was held back.

        Raises:
            InvalidResponseError: A call never got a name.
        """
        deltas = []
        for call in self._calls:
            if not call.is_open:
                raise InvalidResponseError(f"{provider}: a streamed tool call names no function.", provider=provider)
            if call.held:
                deltas.append(ToolCallDelta(call.number, arguments=unwrap_json_string(call.held)))
                call.held = ""
        return deltas

    def _take(self, fragment: Mapping[str, Any]) -> ToolCallDelta | None:
        function = as_object(fragment.get("function"), "the function of a tool call")
        name = as_text(function.get("name"), "the name of a tool call")
        piece = as_json_text(function.get("arguments"))
        wire_id = fragment.get("id")
        wire_id = wire_id if isinstance(wire_id, str) and wire_id else None
        call = self._find(fragment.get("index"), wire_id, name, piece)
        call.name = call.name or name
        call.wire_id = call.wire_id or wire_id
        return self._hand_out(call, piece)

    def _hand_out(self, call: _Call, piece: str) -> ToolCallDelta | None:
        call.arguments += piece
        if not call.name or call.held or (piece and call.arguments.lstrip().startswith('"')):
            if call.name and not call.is_open:
                call.is_open = True
                call.held += piece
                return ToolCallDelta(call.number, self._id_of(call), call.name, self._release(call))
            call.held += piece
            return None
        if not call.is_open:
            call.is_open = True
            return ToolCallDelta(call.number, self._id_of(call), call.name, piece)
        return ToolCallDelta(call.number, arguments=piece) if piece else None

    @staticmethod
    def _release(call: _Call) -> str:
        """Return what was held back only for want of a name; doubly encoded text waits for its end."""
        if call.held.lstrip().startswith('"'):
            return ""
        held, call.held = call.held, ""
        return held

    @staticmethod
    def _id_of(call: _Call) -> str:
        call.wire_id = call.wire_id or new_call_id()
        return call.wire_id

    def _find(self, index: Any, wire_id: str | None, name: str, piece: str) -> _Call:
        """Return the call that a fragment belongs to, a new one if it begins one."""
        wire_index = index if isinstance(index, int) else None
        call = self._newest(wire_index, wire_id)
        if call is None or self._begins_another(call, wire_index, wire_id, name, piece):
            call = _Call(len(self._calls), wire_index, wire_id)
            self._calls.append(call)
        return call

    def _newest(self, wire_index: int | None, wire_id: str | None) -> _Call | None:
        if wire_id is not None:
            for call in reversed(self._calls):
                if call.wire_id == wire_id and wire_index in (None, call.wire_index):
                    return call
        if wire_index is not None:
            return next((call for call in reversed(self._calls) if call.wire_index == wire_index), None)
        return self._calls[-1] if self._calls else None

    @staticmethod
    def _begins_another(call: _Call, wire_index: int | None, wire_id: str | None, name: str, piece: str) -> bool:
        if not name or not call.name:
            # Without a name it is a continuation, whatever its id: some servers make a new id for each fragment.
            return False
        if wire_id is not None and call.wire_id is not None:
            if wire_id == call.wire_id:
                return False
            if name != call.name or wire_index is None:
                return True
            # Same index and name under a new id: a new call, unless the last one is still being written.
            return not call.arguments or is_complete_json(call.arguments)
        if name != call.name:
            return True
        return bool(piece) and bool(call.arguments) and is_complete_json(call.arguments)
