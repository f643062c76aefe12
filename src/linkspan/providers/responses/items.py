"""The items of a Responses answer: what each has said, and what a later form of it says beyond that.

A stream says everything several times: in pieces, as a whole text, as a whole item, and in the response that ends it.
What was handed out is compared with each: what is new is handed out, what contradicts it is an error.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from linkspan.errors import InvalidResponseError
from linkspan.providers.chat_completions.decode import decode_logprob_entries
from linkspan.providers.wire import as_list, as_object, as_text
from linkspan.tool_arguments import as_json_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from linkspan.conversation import TokenLogprob

__all__ = ["Item", "annotations_of", "logprobs_of", "said_by"]


class Item:
    """One item of an answer.

    Attributes:
        kind: ``message``, ``reasoning``, ``function_call``, or what a server's own tool is called.
        name: The function that is called.
        call_id: The call's id by the server's word.
        call_index: The place of the call in the answer; ``None`` until it is handed out.
        held: Arguments that came before the name.
        thoughts: The channel that its thoughts are handed out from: ``reasoning`` or ``summary``.
        is_whole: Whether the whole item has come.
    """

    __slots__ = (
        "_done",
        "_pieces",
        "_starts",
        "call_id",
        "call_index",
        "held",
        "is_whole",
        "kind",
        "name",
        "summary_index",
        "thoughts",
    )

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.name = ""
        self.call_id: Any = None
        self.call_index: int | None = None
        self.held = ""
        self.thoughts: str | None = None
        self.summary_index: Any = None
        self.is_whole = False
        #: What was said, by channel, and how many pieces of it were said before the present part.
        self._pieces: dict[str, list[str]] = {}
        self._starts: dict[str, int] = {}
        #: The parts that have come whole.
        self._done: set[tuple[str, Any]] = set()

    @property
    def is_blank(self) -> bool:
        """Whether it has said nothing but white space."""
        return not any(piece.strip() for pieces in self._pieces.values() for piece in pieces)

    def add(self, channel: str, piece: str) -> None:
        """Take the next piece of a channel: ``text``, ``refusal``, ``reasoning``, ``summary`` or ``arguments``."""
        pieces = self._pieces.get(channel)
        if pieces is None:
            pieces = self._pieces[channel] = []
        pieces.append(piece)

    def rest_of_part(self, channel: str, number: Any, said: str) -> str:
        """Return what a whole part says beyond its pieces, which end here."""
        if (channel, number) in self._done:
            return ""
        self._done.add((channel, number))
        rest = self._rest(channel, said, self._starts.get(channel, 0))
        self._starts[channel] = len(self._pieces.get(channel, ()))
        return rest

    def rest_of_item(self, channel: str, said: str) -> str:
        """Return what the whole item says beyond its pieces."""
        return self._rest(channel, said, 0)

    def _rest(self, channel: str, said: str, start: int) -> str:
        if not said.strip():
            return ""
        rest = _beyond("".join(self._pieces.get(channel, ())[start:]), said, channel)
        if rest:
            self.add(channel, rest)
        return rest


def _beyond(handed_out: str, said: str, channel: str) -> str:
    """Return what ``said`` has beyond what was handed out.

    White space around a text decides nothing, nor does the one around the values of arguments: vLLM reads an answer
    once for the stream and once more for its end.

    Raises:
        InvalidResponseError: The two contradict each other.
    """
    if not handed_out:
        return said
    before, now = handed_out.lstrip(), said.lstrip()
    if now.startswith(before):
        rest = now[len(before) :]
        return rest if rest.strip() else ""
    if before.rstrip() == now.rstrip() or (channel == "arguments" and _same_json(before, now)):
        return ""
    raise InvalidResponseError(f"the answer contradicts itself: its {channel} is not what was streamed of it.")


def _same_json(one: str, other: str) -> bool:
    try:
        same: bool = json.loads(one, strict=False) == json.loads(other, strict=False)
    except (ValueError, RecursionError):
        return False
    return same


def said_by(item: Mapping[str, Any]) -> dict[str, str]:
    """Return what a whole item says, by channel; nothing for that of a server's own tool.

    Raises:
        InvalidResponseError: A message holds a part that no framework could be handed.
    """
    kind = item.get("type")
    if kind == "function_call":
        return {"arguments": as_json_text(item.get("arguments"))}
    if kind == "message":
        return _said_in_message(item)
    if kind == "reasoning":
        found = {
            "reasoning": "".join(_texts(item, "content")),
            "summary": "\n\n".join(_texts(item, "summary")),
        }
        return {channel: text for channel, text in found.items() if text}
    return {}


def _said_in_message(message: Mapping[str, Any]) -> dict[str, str]:
    said = {"text": "", "refusal": ""}
    for part in _parts(message):
        kind = part.get("type")
        if kind == "output_text":
            said["text"] += as_text(part.get("text"), "the text of a part")
        elif kind == "refusal":
            said["refusal"] += as_text(part.get("refusal"), "a refusal")
        else:
            raise InvalidResponseError(f"the answer holds a part of type {kind!r}, which is neither text nor refusal.")
    return {channel: text for channel, text in said.items() if text}


def _parts(message: Mapping[str, Any]) -> Iterable[Mapping[str, Any]]:
    return (as_object(part, "a part of a message") for part in as_list(message.get("content"), "content"))


def _texts(item: Mapping[str, Any], field: str) -> Iterable[str]:
    for part in as_list(item.get(field), f"the {field} of a reasoning item"):
        yield as_text(as_object(part, "a thought").get("text"), "the text of a thought")


def logprobs_of(message: Mapping[str, Any]) -> list[TokenLogprob] | None:
    """Return the log probabilities of a whole message, ``None`` where it has none."""
    entries = [entry for part in _parts(message) for entry in as_list(part.get("logprobs"), "logprobs")]
    return decode_logprob_entries(entries)


def annotations_of(message: Mapping[str, Any]) -> list[Any]:
    """Return the annotations of a whole message, such as citations."""
    return [note for part in _parts(message) for note in as_list(part.get("annotations"), "annotations")]
