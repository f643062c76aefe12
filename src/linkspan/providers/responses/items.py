"""Items of a Responses answer: track what each has yielded, and what a later form of it adds.

A stream repeats everything: in pieces, as a whole text, as a whole item, and in the response that ends it. Each is
compared with what was yielded: new content is yielded, a contradiction is an error.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from linkspan.conversation import ENCRYPTED_REASONING
from linkspan.errors import InvalidResponseError
from linkspan.providers.chat_completions.decode import decode_logprob_entries
from linkspan.providers.wire import as_list, as_object, as_text
from linkspan.tool_arguments import as_json_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from linkspan.conversation import TokenLogprob

__all__ = ["JOINT", "SPOKEN_KINDS", "Item", "annotations_of", "item_contents", "keep_encrypted", "logprobs_of"]

#: Kinds of items with content or a call of the request's functions. All others are of a server's own tools.
SPOKEN_KINDS = frozenset({"function_call", "message", "reasoning"})

#: Separates the contents of two items, and the parts of a summary.
JOINT = "\n\n"


class Item:
    """One item of an answer.

    Attributes:
        kind: ``message``, ``reasoning``, ``function_call``, or the type of a server's own tool.
        name: The function that is called.
        call_id: The server's id of the call.
        call_index: The call's position in the answer; ``None`` until it is yielded.
        held: Arguments that arrived before the name.
        thoughts: The channel that its reasoning is yielded from: ``reasoning`` or ``summary``.
        is_whole: Whether the whole item has arrived.
        spoken: The channels that content was yielded from.
        place: The position in the response that ends the answer; 0 until it arrives.
    """

    __slots__ = (
        "_blank",
        "_done",
        "_pieces",
        "_scored",
        "_scored_before",
        "_starts",
        "_summary_index",
        "call_id",
        "call_index",
        "held",
        "is_whole",
        "kind",
        "name",
        "place",
        "spoken",
        "thoughts",
    )

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.name = ""
        self.call_id: Any = None
        self.call_index: int | None = None
        self.held = ""
        self.thoughts: str | None = None
        self._summary_index: Any = None
        self.is_whole = False
        self.spoken: set[str] = set()
        self.place = 0
        #: Yielded pieces by channel, and how many of them precede the current part.
        self._pieces: dict[str, list[str]] = {}
        self._starts: dict[str, int] = {}
        #: Parts that have arrived whole.
        self._done: set[tuple[str, Any]] = set()
        #: How many tokens have their log probabilities yielded, and how many of them precede the current part.
        self._scored = 0
        self._scored_before = 0
        #: White space, with its log probabilities, held back by channel until more content follows.
        self._blank: dict[str, tuple[str, list[TokenLogprob] | None]] = {}

    @property
    def is_blank(self) -> bool:
        """Whether only white space has been yielded."""
        return not any(piece.strip() for pieces in self._pieces.values() for piece in pieces)

    def add(self, channel: str, piece: str) -> None:
        """Add the next piece of a channel: ``text``, ``refusal``, ``reasoning``, ``summary`` or ``arguments``."""
        pieces = self._pieces.get(channel)
        if pieces is None:
            pieces = self._pieces[channel] = []
        pieces.append(piece)

    def scored(self, scores: list[TokenLogprob] | None) -> list[TokenLogprob] | None:
        """Count the log probabilities of the next piece of text, and return them."""
        self._scored += len(scores or ())
        return scores

    def rest_of_scores(self, scores: list[TokenLogprob] | None, *, of_part: bool) -> list[TokenLogprob] | None:
        """Return the log probabilities that a whole part or item adds to those of its pieces."""
        rest = (scores or [])[self._scored - (self._scored_before if of_part else 0) :]
        return self.scored(rest or None)

    def opening(
        self, channel: str, text: str, scores: list[TokenLogprob] | None
    ) -> tuple[str, list[TokenLogprob] | None]:
        """Return the first content of a channel; nothing as long as it is white space.

        Whole answers omit messages of white space, so a stream yields none of it before it knows what follows.
        """
        held, held_scores = self._blank.pop(channel, ("", None))
        text, scores = held + text, [*(held_scores or ()), *(scores or ())] or None
        if text.strip():
            return text, scores
        self._blank[channel] = text, scores
        return "", None

    def before_part(self, number: Any) -> str:
        """Return what separates a part of the summary from the one before it, when it begins."""
        if number == self._summary_index:
            return ""
        is_first, self._summary_index = self._summary_index is None, number
        return "" if is_first else JOINT

    def rest_of_part(
        self, channel: str, number: Any, said: str, scores: list[TokenLogprob] | None = None
    ) -> tuple[str, list[TokenLogprob] | None]:
        """Return the text and the log probabilities that a whole part adds to its pieces; ends the part."""
        if (channel, number) in self._done:
            return "", None
        self._done.add((channel, number))
        rest = self._rest(channel, said, self._starts.get(channel, 0))
        self._starts[channel] = len(self._pieces.get(channel, ()))
        scores = self.rest_of_scores(scores, of_part=True) if scores else None
        self._scored_before = self._scored
        return rest, scores

    def rest_of_item(self, channel: str, said: str) -> str:
        """Return what the whole item adds to its pieces."""
        return self._rest(channel, said, 0)

    def _rest(self, channel: str, said: str, start: int) -> str:
        if not said.strip():
            return ""
        rest = _beyond("".join(self._pieces.get(channel, ())[start:]), said, channel)
        if rest:
            self.add(channel, rest)
        return rest


def _beyond(handed_out: str, said: str, channel: str) -> str:
    """Return what ``said`` adds to what was yielded.

    White space around texts, and in the JSON of arguments, may differ: vLLM parses an answer once for the stream and
    again for its end.

    Raises:
        InvalidResponseError: They contradict each other.
    """
    if not handed_out:
        return said
    before, now = handed_out.lstrip(), said.lstrip()
    if now.startswith(before):
        rest = now[len(before) :]
        return rest if rest.strip() else ""
    if before.rstrip() == now.rstrip() or (channel == "arguments" and _same_json(before, now)):
        return ""
    raise InvalidResponseError(f"the answer contradicts itself: its final {channel} differs from what was streamed.")


def _same_json(one: str, other: str) -> bool:
    try:
        same: bool = json.loads(one, strict=False) == json.loads(other, strict=False)
    except (ValueError, RecursionError):
        return False
    return same


def item_contents(item: Mapping[str, Any]) -> dict[str, str]:
    """Return a whole item's content, by channel; nothing for items of a server's own tools.

    Raises:
        InvalidResponseError: A message holds a part of an unsupported type.
    """
    kind = item.get("type")
    if kind == "function_call":
        return {"arguments": as_json_text(item.get("arguments"))}
    if kind == "message":
        return _message_contents(item)
    if kind == "reasoning":
        found = {
            "reasoning": "".join(_texts(item, "content")),
            "summary": JOINT.join(_texts(item, "summary")),
        }
        return {channel: text for channel, text in found.items() if text}
    return {}


def _message_contents(message: Mapping[str, Any]) -> dict[str, str]:
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
    """Return the log probabilities of a whole message; ``None`` if it has none."""
    entries = [entry for part in _parts(message) for entry in as_list(part.get("logprobs"), "logprobs")]
    return decode_logprob_entries(entries)


def annotations_of(message: Mapping[str, Any]) -> list[Any]:
    """Return the annotations of a whole message, such as citations."""
    return [note for part in _parts(message) for note in as_list(part.get("annotations"), "annotations")]


def keep_encrypted(item: Mapping[str, Any], extra: dict[str, Any]) -> None:
    """Keep a whole item's encrypted reasoning in ``extra``, once; the item may have no other content."""
    encrypted = item.get("encrypted_content") if item.get("type") == "reasoning" else None
    kept = extra.get(ENCRYPTED_REASONING, [])
    if encrypted and encrypted not in kept:
        extra[ENCRYPTED_REASONING] = [*kept, as_text(encrypted, "encrypted_content")]
