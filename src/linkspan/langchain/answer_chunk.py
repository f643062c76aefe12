"""The message chunk of a streamed answer: core's, except that a cut-off call never becomes a tool call.

Core parses the arguments of every chunk, and of every sum of chunks, with ``parse_partial_json``. That completes
cut-off JSON, and takes quadratic time for text that is not JSON. :class:`AnswerChunk` completes in one pass during the
stream, and does not complete at all once the answer has ended.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Literal, cast

from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.messages.ai import add_ai_message_chunks
from langchain_core.messages.tool import invalid_tool_call, tool_call, tool_call_chunk
from pydantic import PrivateAttr, model_validator

from linkspan.conversation import ToolCall
from linkspan.tool_arguments import judge_calls, parse_arguments, read_unfinished, unwrap_json_string

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from langchain_core.messages import BaseMessage, InvalidToolCall
    from langchain_core.messages import ToolCall as LangChainToolCall
    from langchain_core.messages.tool import ToolCallChunk
    from typing_extensions import Self

__all__ = ["AnswerChunk", "split_calls"]

#: Core adds up to this many chunks at once. It validates each sum, and copies a growing list of log probabilities for
#: each chunk of it.
_FEW = 256
_CALL_BLOCKS = frozenset({"tool_call_chunk", "tool_call", "invalid_tool_call"})


def split_calls(calls: Iterable[ToolCall]) -> tuple[list[LangChainToolCall], list[InvalidToolCall]]:
    """Split the calls of a finished answer into sound ones and invalid ones with their errors."""
    sound: list[LangChainToolCall] = []
    broken: list[InvalidToolCall] = []
    for call in calls:
        if call.problem is None:
            sound.append(tool_call(name=call.name, args=parse_arguments(call.arguments) or {}, id=call.id))
        else:
            broken.append(invalid_tool_call(name=call.name, args=call.arguments, id=call.id, error=call.problem))
    return sound, broken


class _Whole:
    """Must be the first base of the chunk's class: core turns a chunk into a message by calling that base."""

    __slots__ = ()

    def __new__(cls, *args: Any, **fields: Any) -> Any:
        return AIMessage(*args, **fields) if cls is _Whole else super().__new__(cls)


class AnswerChunk(_Whole, AIMessageChunk):
    """A chunk of a streamed answer.

    The sum of all chunks has the sound calls in ``tool_calls`` and the others in ``invalid_tool_calls``, like the same
    answer without streaming. A sum without the last chunk shows what can be parsed so far.
    """

    #: On the last chunk: the position in the answer of each of its ``invalid_tool_calls``.
    _places: list[int] = PrivateAttr()

    @model_validator(mode="after")
    def init_tool_calls(self) -> Self:
        """Parse the tool calls: leniently during the stream, strictly once the answer has ended."""
        if not self.tool_call_chunks:
            if not self._has_ended():
                cast("Callable[[], object]", super().init_tool_calls)()
        elif self._has_ended():
            self._judge_calls()
        else:
            self._read_calls()
        return self

    def set_broken_calls(self, calls: Mapping[int, InvalidToolCall]) -> None:
        """Set the invalid calls of the last chunk, with their positions in the answer."""
        self.invalid_tool_calls = list(calls.values())
        self._places = list(calls)

    def places_of_broken_calls(self) -> Sequence[int]:
        """Return the positions of ``invalid_tool_calls`` in the answer; empty if they are unknown."""
        return cast("Sequence[int]", (self.__pydantic_private__ or {}).get("_places", ()))

    def _has_ended(self) -> bool:
        return self.chunk_position == "last" or "finish_reason" in self.response_metadata

    def _read_calls(self) -> None:
        self.tool_calls, self.invalid_tool_calls = [], []
        for chunk in self.tool_call_chunks:
            name, call_id, args = chunk["name"], chunk["id"], chunk["args"]
            read = read_unfinished(args) if args else {}
            if isinstance(read, dict):
                self.tool_calls.append(tool_call(name=name or "", args=read, id=call_id))
            else:
                self.invalid_tool_calls.append(invalid_tool_call(name=name, args=args, id=call_id))

    def _judge_calls(self) -> None:
        calls = [
            ToolCall(chunk["id"], chunk["name"] or "", unwrap_json_string(chunk["args"] or ""))
            for chunk in self.tool_call_chunks
        ]
        judge_calls(calls, self.response_metadata.get("finish_reason"))
        for chunk, call in zip(self.tool_call_chunks, calls, strict=True):
            if call.problem is not None:
                _protect(chunk, call.arguments)
        self.tool_calls, self.invalid_tool_calls = split_calls(calls)
        if isinstance(self.content, list) and self.response_metadata.get("output_version") == "v1":
            self._put_calls_into_content()

    def _put_calls_into_content(self) -> None:
        said = [block for block in self.content if not (isinstance(block, dict) and block.get("type") in _CALL_BLOCKS)]
        broken = ({**call, "type": "invalid_tool_call"} for call in self.invalid_tool_calls)
        self.content = cast("list[str | dict[str, Any]]", [*said, *self.tool_calls, *broken])

    def __add__(self, other: Any) -> Any:
        """Add one chunk or many. Core adds up whole streams at once and would copy the sum for each chunk."""
        if not (isinstance(other, (list, tuple)) and other and all(isinstance(one, AnswerChunk) for one in other)):
            return super().__add__(other)
        chunks = [self, *other]
        pieces = [piece for chunk in chunks for piece in chunk.tool_call_chunks]
        if not pieces:
            return _sum(chunks)
        total = _sum([_without_calls(chunk) for chunk in chunks])
        return AnswerChunk(**{**_fields_of(total), "tool_call_chunks": _joined(pieces)})

    def __radd__(self, other: Any) -> BaseMessage:
        """Add to core's own chunk. Python calls this first, because this is a subclass."""
        if isinstance(other, AIMessageChunk):
            return add_ai_message_chunks(AnswerChunk(**_fields_of(other)), self)
        return NotImplemented

    def __eq__(self, other: object) -> bool:
        """Whether the other chunk, of core's class or of this one, has the same fields."""
        return isinstance(other, AIMessageChunk) and _fields_of(self) == _fields_of(other)

    __hash__ = None  # type: ignore[assignment]  # like every message

    @classmethod
    def lc_id(cls) -> list[str]:
        """Serialize as core's own chunk, so that loading it does not need linkspan."""
        return AIMessageChunk.lc_id()

    def __reduce__(self) -> tuple[Any, ...]:
        return _unpickled, (self.__getstate__(),)


# Also the names of core's own chunk: LangGraph stores a message by them, and restores no class of another package.
AnswerChunk.__module__ = AIMessageChunk.__module__
AnswerChunk.__name__ = AnswerChunk.__qualname__ = AIMessageChunk.__name__


def _unpickled(state: dict[Any, Any]) -> AnswerChunk:
    chunk: AnswerChunk = AnswerChunk.__new__(AnswerChunk)
    chunk.__setstate__(state)
    return chunk


def _protect(chunk: ToolCallChunk, arguments: str) -> None:
    """Write broken arguments as a JSON string, which core does not complete when it loads a stored chunk.

    Only the first piece, the one with the name, is changed: it decides how the pieces behind it are parsed.
    """
    if chunk["name"] and arguments.lstrip().startswith("{"):
        chunk["args"] = json.dumps(arguments, ensure_ascii=False)


def _sum(chunks: Sequence[AIMessageChunk]) -> AIMessageChunk:
    """Return the sum of chunks. Summing by halves copies growing lists and reasoning only a few times."""
    if len(chunks) <= _FEW:
        return add_ai_message_chunks(*chunks)
    middle = len(chunks) // 2
    return add_ai_message_chunks(_sum(chunks[:middle]), _sum(chunks[middle:]))


def _without_calls(chunk: AIMessageChunk) -> AIMessageChunk:
    return chunk.model_copy(update={"tool_call_chunks": []}) if chunk.tool_call_chunks else chunk


def _joined(pieces: Sequence[ToolCallChunk]) -> list[ToolCallChunk]:
    """Join the pieces of each call as core does: by index, unless ids differ. A piece without an index is a call."""
    calls: list[list[ToolCallChunk]] = []
    by_index: dict[int, list[list[ToolCallChunk]]] = {}
    for piece in pieces:
        of_index = by_index.setdefault(piece["index"], []) if isinstance(piece["index"], int) else []
        call = next((call for call in of_index if _id_of(call) in {None, "", piece["id"]} or not piece["id"]), None)
        if call is None:
            call = []
            calls.append(call)
            of_index.append(call)
        call.append(piece)
    return [
        tool_call_chunk(
            name=_text_of(call, "name"), args=_text_of(call, "args"), id=_id_of(call), index=call[0]["index"]
        )
        for call in calls
    ]


def _id_of(call: Sequence[ToolCallChunk]) -> str | None:
    return next((piece["id"] for piece in call if piece["id"]), call[0]["id"])


def _text_of(call: Sequence[ToolCallChunk], name: Literal["name", "args"]) -> str | None:
    texts = [text for piece in call if (text := piece[name]) is not None]
    return "".join(texts) if texts else None


def _fields_of(chunk: AIMessageChunk) -> Mapping[str, Any]:
    return {name: value for name, value in chunk.__dict__.items() if name != "type"}
