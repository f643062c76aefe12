"""Reasoning that a model writes into its answer between tags (``<think>…</think>``), parted from the answer.

Servers with a reasoning parser do this themselves; this is for those without: prompt APIs, and chat APIs in front of a
server that was started without one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from linkspan.providers.filtered_stream import FilteredDecoder

if TYPE_CHECKING:
    from collections.abc import Callable

    from linkspan.conversation import Completion
    from linkspan.providers.codec import StreamDecoder

__all__ = ["THINK_TAGS", "ThinkTagDecoder", "ThinkTagSplitter", "split_completion", "split_think_tags"]

#: The tags of DeepSeek-R1, Qwen3 and most others.
THINK_TAGS = ("<think>", "</think>")


class ThinkTagSplitter:
    """Part reasoning from an answer that comes in pieces, also where a tag spans pieces.

    Reasoning is one block that begins the answer (white space may come before it); a tag that comes later is text,
    since an answer may speak of tags. White space around the reasoning and before the answer is left out; an answer
    without reasoning is kept to the letter. A block without an end is all reasoning: the model ran out of tokens.

    Args:
        tags: Opening and closing tag.
        inside: Whether the prompt opened the block already, so that the answer begins inside it. An opening tag at its
            start is then left out too.
    """

    __slots__ = ("_closing", "_held", "_opening", "_started", "_step")

    def __init__(self, tags: tuple[str, str] = THINK_TAGS, *, inside: bool = False) -> None:
        opening, closing = tags
        if not opening or not closing:
            raise ValueError(f"tags={tags!r}: both tags need at least one character.")
        self._opening = opening
        self._closing = closing
        self._held = ""
        #: Whether any reasoning has been handed out.
        self._started = False
        self._step: Callable[[str], tuple[str, str]] = self._before_inside if inside else self._before

    def feed(self, piece: str) -> tuple[str, str]:
        """Take the next piece; return the text and the reasoning that are decided."""
        return self._step(piece)

    def flush(self) -> tuple[str, str]:
        """Take the end of the answer; return what was held back, as text and reasoning."""
        held, self._held = self._held, ""
        if self._step == self._before:
            return held, ""
        if self._step == self._before_inside:
            return "", held.strip()
        return "", held.rstrip()

    def _before(self, piece: str) -> tuple[str, str]:
        """Before the answer: does it begin with the opening tag?"""
        text = self._held + piece
        begun = text.lstrip()
        if begun.startswith(self._opening):
            return self._go(self._within, begun[len(self._opening) :])
        if self._opening.startswith(begun):  # also when it is all white space
            self._held = text
            return "", ""
        self._held = ""
        self._step = self._plain
        return text, ""

    def _before_inside(self, piece: str) -> tuple[str, str]:
        """Before reasoning that the prompt opened: does the model open it once more?"""
        begun = (self._held + piece).lstrip()
        if begun.startswith(self._opening):
            return self._go(self._within, begun[len(self._opening) :])
        if self._opening.startswith(begun):
            self._held = begun
            return "", ""
        return self._go(self._within, begun)

    def _within(self, piece: str) -> tuple[str, str]:
        """Inside the block."""
        thought = self._held + piece
        if not self._started:
            thought = thought.lstrip()
        place = thought.find(self._closing)
        if place >= 0:
            text, _ = self._go(self._after, thought[place + len(self._closing) :])
            return text, thought[:place].rstrip()
        keep = _undecided(thought, self._closing)
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

    def _go(self, step: Callable[[str], tuple[str, str]], rest: str) -> tuple[str, str]:
        self._held = ""
        self._step = step
        return step(rest)


def _undecided(thought: str, closing: str) -> int:
    """Return the length of the end that may be white space before the closing tag, and the beginning of that tag."""
    tag = next((n for n in range(min(len(closing) - 1, len(thought)), 0, -1) if thought.endswith(closing[:n])), 0)
    body = thought[: len(thought) - tag]
    return len(thought) - len(body.rstrip())


def split_think_tags(text: str, tags: tuple[str, str] = THINK_TAGS, *, inside: bool = False) -> tuple[str, str]:
    """Part reasoning from a whole answer; return text and reasoning. See :class:`ThinkTagSplitter`."""
    splitter = ThinkTagSplitter(tags, inside=inside)
    text, reasoning = splitter.feed(text)
    rest, more = splitter.flush()
    return text + rest, reasoning + more


def split_completion(completion: Completion, tags: tuple[str, str] = THINK_TAGS, *, inside: bool = False) -> Completion:
    """Part reasoning from the text of an answer and of its alternatives, in place; ``raw`` stays as it was.

    Reasoning that the server has parted already stays, before what is found here.
    """
    for answer in (completion, *completion.alternatives):
        if answer.text:
            answer.text, reasoning = split_think_tags(answer.text, tags, inside=inside)
            answer.reasoning += reasoning
    return completion


class ThinkTagDecoder(FilteredDecoder):
    """A stream decoder that parts reasoning from text: :class:`ThinkTagSplitter` over each choice.

    Args:
        inner: The API's decoder.
        tags: Opening and closing tag.
        inside: Whether the prompt opened the block already.
    """

    __slots__ = ()

    def __init__(self, inner: StreamDecoder, tags: tuple[str, str] = THINK_TAGS, *, inside: bool = False) -> None:
        super().__init__(inner, lambda: ThinkTagSplitter(tags, inside=inside))
