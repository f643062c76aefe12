"""Names of tools on the wire: servers take letters, digits, ``_`` and ``-``, at most 64 of them."""

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
    """Return a name that every server takes; one that already is such a name stays as it is."""
    if _VALID.fullmatch(name):
        return name
    letters = (letter for letter in unicodedata.normalize("NFKD", name) if not unicodedata.combining(letter))
    cleaned = _INVALID.sub("_", "".join(letters)) or "unnamed"
    return cleaned if len(cleaned) <= _LONGEST else _marked(cleaned, name)


def _marked(cleaned: str, name: str) -> str:
    """Return a cleaned name with a mark of the original, which is the same in every call."""
    mark = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{cleaned[: _LONGEST - len(mark) - 1]}_{mark}"


class ToolNames:
    """The names of one request's tools, on the wire and back; no two tools share one.

    Valid names stay as they are. Of two names that are equal once cleaned, the second gets a mark.

    Args:
        request: The request. Tools that only earlier turns name count as well.

    Raises:
        ConfigurationError: Two tools of the request have one name.
    """

    __slots__ = ("_back", "_wire")

    def __init__(self, request: ChatRequest) -> None:
        offered = [tool.name for tool in request.tools]
        if len(set(offered)) != len(offered):
            double = next(name for place, name in enumerate(offered) if name in offered[:place])
            raise ConfigurationError(
                f"Two tools have the name {double!r}, and a model could not tell them apart: rename one, or give it "
                "once."
            )
        names = dict.fromkeys((*offered, *_names_in(request.messages)))
        #: Names to change, as they travel; and what they stand for.
        self._wire: dict[str, str] = {}
        self._back: dict[str, str] = {}
        invalid = [name for name in names if not _VALID.fullmatch(name)]
        if invalid:
            self._choose(invalid, names)

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
        """Return the request with its tools, tool choice and earlier calls under the names that travel."""
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
        """Put the original names into an answer, and return it."""
        if self._back:
            for answer in (completion, *completion.alternatives):
                for call in answer.tool_calls:
                    call.name = self._back.get(call.name, call.name)
                judge_calls(answer.tool_calls, answer.finish_reason)  # What is said of a call names it.
        return completion

    def in_pieces(self, pieces: list[ToolCallDelta]) -> list[ToolCallDelta]:
        """Put the original names into the pieces of a streamed answer's calls, and return them."""
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
