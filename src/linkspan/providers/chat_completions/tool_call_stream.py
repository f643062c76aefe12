"""Normalize streamed fragments of tool calls, in every shape that servers send."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from linkspan.conversation import ToolCallDelta
from linkspan.errors import InvalidResponseError
from linkspan.providers.chat_completions.call_ids import CallIds
from linkspan.providers.wire import as_count, as_object, as_text
from linkspan.tool_arguments import WholenessWatch, as_json_text, unwrap_json_string

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["ToolCallStream"]


@dataclass(slots=True)
class _Call:
    number: int
    wire_index: int | None
    wire_id: str | None = None
    name: str = ""
    arguments: str = ""
    #: Text held back because the name is missing, or the arguments are doubly encoded.
    held: str = ""
    is_open: bool = False
    #: The call's header was repeated after complete arguments, so the next object belongs to another call.
    announced_again: bool = False
    watch: WholenessWatch = field(default_factory=WholenessWatch)

    def append(self, piece: str) -> None:
        # CPython grows a local string in place; ``+=`` on an attribute would copy it for every piece.
        arguments, self.arguments = self.arguments, ""
        arguments += piece
        self.arguments = arguments

    def is_whole(self) -> bool:
        return self.watch.is_whole(self.arguments)


class ToolCallStream:
    """State of the tool calls of one choice.

    Handles what servers were seen to send: several fragments in one delta, interleaved calls, ids or names repeated or
    new in each fragment, no index, one index for all calls, no id, one id for all calls, arguments that are null,
    empty, an object, or JSON inside a JSON string.
    """

    __slots__ = ("_by_id", "_by_index", "_by_index_and_id", "_calls", "_ids")

    def __init__(self, ids: CallIds | None = None) -> None:
        self._ids = CallIds() if ids is None else ids
        self._calls: list[_Call] = []
        #: The newest call of each, to find it without a search through all.
        self._by_id: dict[str, _Call] = {}
        self._by_index: dict[int, _Call] = {}
        self._by_index_and_id: dict[tuple[int, str], _Call] = {}

    def feed(self, fragments: Sequence[Any] | Mapping[str, Any]) -> list[ToolCallDelta]:
        """Process the fragments of one event: a list, or the single object of early TGI versions.

        Returns:
            One delta per call in the event.
        """
        deltas: dict[int, ToolCallDelta] = {}
        for fragment in [fragments] if isinstance(fragments, dict) else fragments:
            if fragment is not None:
                delta = self._take(as_object(fragment, "a tool call"))
                if delta is not None:
                    _join(deltas, delta)
        return list(deltas.values())

    def close(self, provider: str) -> list[ToolCallDelta]:
        """Process the end of the stream: yield what was held back.

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
        index: Any = fragment.get("index")
        if index.__class__ is not int:
            index = as_count(index, "the index of a tool call")
        call = self._find(index, wire_id, name, piece)
        call.name = call.name or name
        return self._hand_out(call, piece)

    def _hand_out(self, call: _Call, piece: str) -> ToolCallDelta | None:
        call.append(piece)
        if not call.name or call.held or (piece and call.arguments.lstrip().startswith('"')):
            if call.name and not call.is_open:
                call.held += piece
                return self._open(call, self._release(call))
            call.held += piece
            return None
        if not call.is_open:
            return self._open(call, piece)
        return ToolCallDelta(call.number, arguments=piece) if piece else None

    def _open(self, call: _Call, arguments: str) -> ToolCallDelta:
        call.is_open = True
        return ToolCallDelta(call.number, self._ids.claim(call.wire_id), call.name, arguments)

    @staticmethod
    def _release(call: _Call) -> str:
        """Return the text held back for a missing name; doubly encoded text waits for its end."""
        if call.held.lstrip().startswith('"'):
            return ""
        held, call.held = call.held, ""
        return held

    def _find(self, wire_index: int | None, wire_id: str | None, name: str, piece: str) -> _Call:
        """Return the call of a fragment; create it if the fragment starts one."""
        call = self._newest(wire_index, wire_id)
        if call is None or self._begins_another(call, wire_index, wire_id, name, piece):
            # A call announced by an earlier header of the same name may come without its own header.
            name_before = call.name if call is not None and call.announced_again else ""
            call = _Call(len(self._calls), wire_index, name=name or name_before)
            self._calls.append(call)
            if wire_index is not None:
                self._by_index[wire_index] = call
        if wire_id is not None and call.wire_id is None:
            call.wire_id = wire_id
            self._by_id[wire_id] = call
            if call.wire_index is not None:
                self._by_index_and_id[call.wire_index, wire_id] = call
        return call

    def _newest(self, wire_index: int | None, wire_id: str | None) -> _Call | None:
        if wire_id is not None:
            by_both = self._by_index_and_id
            call = self._by_id.get(wire_id) if wire_index is None else by_both.get((wire_index, wire_id))
            if call is not None:
                return call
        if wire_index is not None:
            return self._by_index.get(wire_index)
        return self._calls[-1] if self._calls else None

    @staticmethod
    def _begins_another(call: _Call, wire_index: int | None, wire_id: str | None, name: str, piece: str) -> bool:
        if call.announced_again and piece.strip():
            return True
        if not name or not call.name:
            # Without a name it is a continuation, whatever its id: some servers create a new id for each fragment.
            return False
        if name != call.name:
            return True
        if wire_id is not None and call.wire_id is not None and wire_id != call.wire_id:
            # Same index and name with a new id: a new call, unless the last one is incomplete.
            return wire_index is None or not call.arguments or call.is_whole()
        if not call.is_whole():
            return False
        # Text after a complete object belongs to the next call, whatever its id.
        call.announced_again = not piece.strip()
        return not call.announced_again


def _join(deltas: dict[int, ToolCallDelta], delta: ToolCallDelta) -> None:
    """Merge a delta into that of the same call, if there is one: frameworks only join pieces of different events."""
    earlier = deltas.setdefault(delta.index, delta)
    if earlier is not delta:
        # The first delta of a call always has its id and its name.
        earlier.arguments += delta.arguments
