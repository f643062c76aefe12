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
    from collections.abc import Collection, Mapping, Sequence

__all__ = ["ToolCallStream"]


@dataclass(slots=True)
class _Call:
    number: int
    wire_index: int | None
    wire_id: str | int | None = None
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
    new in each fragment, names in pieces, no index, one index for all calls, no id, one id for all calls, arguments
    that are null, empty, an object, or JSON inside a JSON string.

    ``offered`` has the names of the request's tools, which tell a piece of a name from the name of another call.
    """

    __slots__ = ("_by_id", "_by_index", "_by_index_and_id", "_calls", "_ids", "_offered", "_unnamed")

    def __init__(self, ids: CallIds | None = None, offered: Collection[str] = ()) -> None:
        self._ids = CallIds() if ids is None else ids
        self._offered = offered
        self._calls: list[_Call] = []
        #: The calls, by number, that are held back because more of their names may follow.
        self._unnamed: dict[int, _Call] = {}
        #: The newest call of each, to find it without a search through all.
        self._by_id: dict[str | int, _Call] = {}
        self._by_index: dict[int, _Call] = {}
        self._by_index_and_id: dict[tuple[int, str | int], _Call] = {}

    def feed(self, fragments: Sequence[Any]) -> list[ToolCallDelta]:
        """Process the fragments of one event.

        Returns:
            One delta per call in the event.
        """
        deltas: dict[int, ToolCallDelta] = {}
        for fragment in fragments:
            if fragment is not None:
                for delta in self._take(as_object(fragment, "a tool call")):
                    _join(deltas, delta)
        return list(deltas.values())

    def close(self, provider: str) -> list[ToolCallDelta]:
        """Process the end of the stream: yield what was held back.

        Raises:
            InvalidResponseError: A call never got a name.
        """
        deltas = self._open_unnamed(list(self._unnamed))
        for call in self._calls:
            if not call.is_open:
                raise InvalidResponseError(f"{provider}: a streamed tool call names no function.", provider=provider)
            if call.held:
                deltas.append(ToolCallDelta(call.number, arguments=unwrap_json_string(call.held)))
                call.held = ""
        return deltas

    def _take(self, fragment: Mapping[str, Any]) -> Sequence[ToolCallDelta]:
        function = as_object(fragment.get("function"), "the function of a tool call")
        name = as_text(function.get("name"), "the name of a tool call")
        piece = as_json_text(function.get("arguments"))
        wire_id = fragment.get("id")
        wire_id = wire_id if isinstance(wire_id, (str, int)) and wire_id != "" else None
        index: Any = fragment.get("index")
        if index.__class__ is not int:
            index = as_count(index, "the index of a tool call")
        call = self._find(index, wire_id, name, piece)
        call.name = call.name or name
        is_new = not call.is_open
        delta = self._hand_out(call, piece)
        if delta is None:
            return ()
        if not (is_new and self._unnamed):
            return (delta,)
        # Without an index of its own, a call ends where the next one begins. With one, calls may be interleaved.
        ended = [number for number, one in self._unnamed.items() if one.wire_index in {None, call.wire_index}]
        return (*self._open_unnamed(ended), delta)

    def _open_unnamed(self, numbers: Sequence[int]) -> list[ToolCallDelta]:
        return [self._open(self._unnamed.pop(number), "") for number in sorted(numbers)]

    def _may_go_on(self, name: str) -> bool:
        """Whether a name is the beginning of another one that was offered."""
        return any(offered != name and offered.startswith(name) for offered in self._offered)

    def _whole_name(self, call: _Call, name: str) -> str | None:
        """Return the name so far of a call whose name comes in pieces, or grows; ``None`` if this is another name."""
        if name.startswith(call.name):
            return name if call.name not in self._offered and self._starts_name(name) else None
        is_name = call.name in self._offered and name in self._offered
        return call.name + name if not is_name and self._starts_name(call.name + name) else None

    def _starts_name(self, text: str) -> bool:
        return text in self._offered or self._may_go_on(text)

    def _hand_out(self, call: _Call, piece: str) -> ToolCallDelta | None:
        call.append(piece)
        if not call.name or call.held or (piece and call.arguments.lstrip().startswith('"')):
            if call.name and not call.is_open:
                call.held += piece
                return self._open(call, self._release(call))
            call.held += piece
            return None
        if not call.is_open:
            if not piece and self._may_go_on(call.name):
                self._unnamed[call.number] = call
                return None
            self._unnamed.pop(call.number, None)
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

    def _find(self, wire_index: int | None, wire_id: str | int | None, name: str, piece: str) -> _Call:
        """Return the call of a fragment; create it if the fragment starts one."""
        call = self._newest(wire_index, wire_id)
        if call is not None and call.number in self._unnamed and name and wire_id in {None, call.wire_id}:
            whole = self._whole_name(call, name)
            if whole is not None:
                call.name, name = whole, ""
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

    def _newest(self, wire_index: int | None, wire_id: str | int | None) -> _Call | None:
        if wire_id is not None:
            by_both = self._by_index_and_id
            call = self._by_id.get(wire_id) if wire_index is None else by_both.get((wire_index, wire_id))
            if call is not None:
                return call
        if wire_index is not None:
            return self._by_index.get(wire_index)
        return self._calls[-1] if self._calls else None

    @staticmethod
    def _begins_another(call: _Call, wire_index: int | None, wire_id: str | int | None, name: str, piece: str) -> bool:
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
