"""Separate reasoning between tags (``<think>…</think>``) from an answer's text.

For servers without a reasoning parser: prompt APIs, and chat servers started without one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from linkspan.conversation import Delta, PromptRequest
from linkspan.providers.codec import WrappedCodec, WrappedDecoder

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from linkspan.conversation import Completion
    from linkspan.providers.codec import StreamDecoder

__all__ = [
    "THINK_TAG",
    "ThinkTagCodec",
    "ThinkTagDecoder",
    "ThinkTagSplitter",
    "split_completion",
    "split_think_tags",
]

RequestT = TypeVar("RequestT")

#: The tags of DeepSeek-R1, Qwen3 and most others.
THINK_TAG, _CLOSING = "<think>", "</think>"


class ThinkTagSplitter:
    """Splits reasoning from an answer in pieces, even if a tag spans pieces.

    Reasoning is one block at the start of the answer, perhaps after white space. A later tag is text, because an answer
    may mention tags. White space around the reasoning and before the answer is dropped; an answer without reasoning is
    returned unchanged. A block without an end is all reasoning: the model ran out of tokens.

    Args:
        inside: Whether the prompt has opened the block, so that the answer starts inside it. An opening tag at its
            start is then dropped too.
    """

    __slots__ = ("_held", "_started", "_step")

    def __init__(self, *, inside: bool = False) -> None:
        self._held = ""
        #: Whether any reasoning was returned.
        self._started = False
        self._step: Callable[[str], tuple[str, str]] = self._before_inside if inside else self._before

    def feed(self, piece: str) -> tuple[str, str]:
        """Add the next piece; return the text and reasoning decided so far."""
        return self._step(piece)

    def flush(self) -> tuple[str, str]:
        """End the answer; return the tail held back, as text and reasoning."""
        held, self._held = self._held, ""
        if self._step == self._before:
            return held, ""
        if self._step == self._before_inside:
            return "", held.strip()
        return "", held.rstrip()

    def _before(self, piece: str) -> tuple[str, str]:
        """Before the answer: check for the opening tag."""
        text = self._held + piece
        begun = text.lstrip()
        if begun.startswith(THINK_TAG):
            return self._enter(self._within, begun[len(THINK_TAG) :])
        if THINK_TAG.startswith(begun):  # even if it is all white space
            self._held = text
            return "", ""
        self._held = ""
        self._step = self._plain
        return text, ""

    def _before_inside(self, piece: str) -> tuple[str, str]:
        """Before reasoning that the prompt opened: check whether the model opens it again."""
        begun = (self._held + piece).lstrip()
        if begun.startswith(THINK_TAG):
            return self._enter(self._within, begun[len(THINK_TAG) :])
        if THINK_TAG.startswith(begun):
            self._held = begun
            return "", ""
        return self._enter(self._within, begun)

    def _within(self, piece: str) -> tuple[str, str]:
        """Inside the block."""
        thought = self._held + piece
        if not self._started:
            thought = thought.lstrip()
        place = thought.find(_CLOSING)
        if place >= 0:
            text, _ = self._enter(self._after, thought[place + len(_CLOSING) :])
            return text, thought[:place].rstrip()
        keep = _undecided(thought)
        self._held = thought[len(thought) - keep :]
        decided = thought[: len(thought) - keep]
        self._started = self._started or bool(decided)
        return "", decided

    def _after(self, piece: str) -> tuple[str, str]:
        """Between the block and the answer."""
        text = piece.lstrip()
        if text:
            self._step = self._plain
        return text, ""

    def _plain(self, piece: str) -> tuple[str, str]:
        return piece, ""

    def _enter(self, step: Callable[[str], tuple[str, str]], rest: str) -> tuple[str, str]:
        self._held = ""
        self._step = step
        return step(rest)


def _undecided(thought: str) -> int:
    """Return the length of an end that may be white space and a prefix of the closing tag."""
    tag = next((n for n in range(min(len(_CLOSING) - 1, len(thought)), 0, -1) if thought.endswith(_CLOSING[:n])), 0)
    body = thought[: len(thought) - tag]
    return len(thought) - len(body.rstrip())


def split_think_tags(text: str, *, inside: bool = False) -> tuple[str, str]:
    """Split reasoning from a whole answer; return text and reasoning. See :class:`ThinkTagSplitter`."""
    splitter = ThinkTagSplitter(inside=inside)
    text, reasoning = splitter.feed(text)
    rest, more = splitter.flush()
    return text + rest, reasoning + more


def split_completion(completion: Completion, *, inside: bool = False) -> Completion:
    """Split reasoning from the text of an answer and of its alternatives, in place; ``raw`` does not change.

    Reasoning that the server has already separated comes first.
    """
    for answer in (completion, *completion.alternatives):
        if answer.text:
            answer.text, reasoning = split_think_tags(answer.text, inside=inside)
            answer.reasoning += reasoning
    return completion


class ThinkTagDecoder(WrappedDecoder["StreamDecoder"]):
    """A stream decoder that splits reasoning from text, with a :class:`ThinkTagSplitter` for each choice.

    A tail held back is returned before the next tool call, finish reason or the end. Everything else of a delta passes
    unchanged; log probabilities stay with their piece.
    """

    __slots__ = ("_id", "_inside", "_splitters")

    def __init__(self, inner: StreamDecoder, *, inside: bool = False) -> None:
        super().__init__(inner)
        self._inside = inside
        self._splitters: dict[int, ThinkTagSplitter] = {}
        self._id: str | None = None

    def feed(self, data: bytes) -> Sequence[Delta]:
        """Process the data of one event."""
        deltas = self._inner.feed(data)
        if len(deltas) == 1:  # the usual case, without nested lists
            return self._split(deltas[0])
        return [split for delta in deltas for split in self._split(delta)]

    def close(self) -> Sequence[Delta]:
        """Process the end of the stream.

        Raises:
            InterruptedStreamError: The answer is incomplete.
        """
        deltas = [split for delta in self._inner.close() for split in self._split(delta)]
        rest = [held for choice in list(self._splitters) for held in self._flushed(choice)]
        # The last delta stays the last one.
        return [*deltas[:-1], *rest, *deltas[-1:]] if rest else deltas

    def _split(self, delta: Delta) -> Sequence[Delta]:
        choice = delta.choice
        self._id = self._id or delta.id
        if delta.text:
            splitter = self._splitters.get(choice)
            if splitter is None:
                splitter = self._splitters[choice] = ThinkTagSplitter(inside=self._inside)
            delta.text, reasoning = splitter.feed(delta.text)
            if reasoning:
                delta.reasoning += reasoning
            if not (delta.text or delta.reasoning or _says_more(delta)):
                return ()
        if (delta.tool_calls or delta.finish_reason is not None or delta.last) and choice in self._splitters:
            return self._with_held(delta, ends=delta.finish_reason is not None or delta.last)
        return (delta,)

    def _with_held(self, delta: Delta, *, ends: bool) -> Sequence[Delta]:
        held = self._flushed(delta.choice, forget=ends)
        if not held or not delta.text:
            return (*held, delta)
        # The delta's text comes before its tail held back.
        delta.text += held[0].text
        delta.reasoning += held[0].reasoning
        return (delta,)

    def _flushed(self, choice: int, *, forget: bool = True) -> list[Delta]:
        text, reasoning = self._splitters[choice].flush()
        if forget:
            del self._splitters[choice]
        return [Delta(text=text, reasoning=reasoning, id=self._id, choice=choice)] if text or reasoning else []


def _says_more(delta: Delta) -> bool:
    return bool(
        delta.tool_calls
        or delta.refusal
        or delta.finish_reason is not None
        or delta.usage is not None
        or delta.logprobs
        or delta.extra
        or delta.last
    )


class ThinkTagCodec(WrappedCodec[RequestT]):
    """A codec that returns the text between think tags as reasoning. Everything else is the inner codec's.

    If a prompt ends with the opening tag, its answer starts inside the block.
    """

    def path(self, request: RequestT, *, stream: bool) -> str:
        """Path relative to the base URL."""
        return self.inner.path(request, stream=stream)

    def encode(self, request: RequestT, *, stream: bool) -> dict[str, Any]:
        """Encode the body."""
        return self.inner.encode(request, stream=stream)

    def decode(self, body: bytes, headers: Mapping[str, str], request: RequestT) -> Completion:
        """Decode a whole answer."""
        return split_completion(self.inner.decode(body, headers, request), inside=self._inside(request))

    def stream_decoder(self, request: RequestT, headers: Mapping[str, str]) -> StreamDecoder:
        """Create the decoder of one stream."""
        return ThinkTagDecoder(self.inner.stream_decoder(request, headers), inside=self._inside(request))

    def _inside(self, request: RequestT) -> bool:
        return isinstance(request, PromptRequest) and request.prompt.rstrip().endswith(THINK_TAG)
