"""Tool names on the wire: servers accept letters, digits, ``_`` and ``-``, at most 64 characters."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from dataclasses import replace
from typing import TYPE_CHECKING

from linkspan.conversation import NamedTool
from linkspan.errors import ConfigurationError
from linkspan.tool_arguments import judge_calls

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from linkspan.conversation import ChatRequest, Completion, Message, ToolCallDelta

__all__ = ["ToolNames", "wire_name"]

_LONGEST = 64
_VALID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_INVALID = re.compile(r"[^A-Za-z0-9_-]+")


def wire_name(name: str) -> str:
    """Return a name that every server accepts; a valid name is returned unchanged."""
    if _VALID.fullmatch(name):
        return name
    letters = (letter for letter in unicodedata.normalize("NFKD", name) if not unicodedata.combining(letter))
    cleaned = _INVALID.sub("_", "".join(letters)) or "unnamed"
    return cleaned if len(cleaned) <= _LONGEST else _marked(cleaned, name)


def _marked(cleaned: str, name: str) -> str:
    """Return a cleaned name with a hash of the original, so that it is the same in every call."""
    mark = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{cleaned[: _LONGEST - len(mark) - 1]}_{mark}"


class ToolNames:
    """The names of one request's tools, on the wire and back. Each tool has its own.

    Valid names do not change. If two names are equal once cleaned, the second one gets a hash. Tools that only earlier
    turns mention count too.

    Attributes:
        offered: The names of the request's tools, as sent.

    Raises:
        ConfigurationError: Two tools of the request have one name.
    """

    __slots__ = ("_back", "_wire", "offered")

    def __init__(self, request: ChatRequest) -> None:
        offered = [tool.name for tool in request.tools]
        if len(set(offered)) != len(offered):
            double = next(name for place, name in enumerate(offered) if name in offered[:place])
            raise ConfigurationError(
                f"Two tools have the name {double!r}, and a model could not tell them apart: rename one, or give it "
                "once."
            )
        names = dict.fromkeys((*offered, *_names_in(request.messages)))
        #: Changed names as sent, and the reverse.
        self._wire: dict[str, str] = {}
        self._back: dict[str, str] = {}
        invalid = [name for name in names if not _VALID.fullmatch(name)]
        if invalid:
            self._choose(invalid, names)
        self.offered = frozenset(map(self._sent, offered))

    def _choose(self, invalid: Iterable[str], names: Mapping[str, None]) -> None:
        taken = set(names)
        for name in invalid:
            chosen = wire_name(name)
            if chosen in taken:
                chosen = _marked(chosen, name)
            taken.add(chosen)
            self._wire[name] = chosen
            self._back[chosen] = name

    def on_wire(self, request: ChatRequest) -> ChatRequest:
        """Return the request with the sent names in its tools, tool choice and earlier calls."""
        if not self._wire:
            return request
        choice = request.tool_choice
        return replace(
            request,
            tools=[replace(tool, name=self._sent(tool.name)) for tool in request.tools],
            tool_choice=NamedTool(self._sent(choice.name)) if isinstance(choice, NamedTool) else choice,
            messages=[self._renamed(message) for message in request.messages],
        )

    def in_answer(self, completion: Completion) -> Completion:
        """Restore the original names in an answer, and return it."""
        if self._back:
            for answer in (completion, *completion.alternatives):
                for call in answer.tool_calls:
                    call.name = self._back.get(call.name, call.name)
                judge_calls(answer.tool_calls, answer.finish_reason)  # The problem's text contains the name.
        return completion

    def in_pieces(self, pieces: list[ToolCallDelta]) -> list[ToolCallDelta]:
        """Restore the original names in the pieces of a streamed answer's calls, and return them."""
        if self._back:
            for piece in pieces:
                if piece.name is not None:
                    piece.name = self._back.get(piece.name, piece.name)
        return pieces

    def _sent(self, name: str) -> str:
        return self._wire.get(name, name)

    def _renamed(self, message: Message) -> Message:
        if message.tool_calls:
            calls = [replace(call, name=self._sent(call.name)) for call in message.tool_calls]
            return replace(message, tool_calls=calls)
        if message.role == "tool" and message.name is not None:
            return replace(message, name=self._sent(message.name))
        return message


def _names_in(messages: Iterable[Message]) -> Iterator[str]:
    for message in messages:
        if message.tool_calls:
            for call in message.tool_calls:
                yield call.name
        elif message.role == "tool" and message.name is not None:
            yield message.name
