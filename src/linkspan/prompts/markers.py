"""Markers: the texts that begin and end a template's turns, found by rendering it. No message may contain them.

The template is rendered with a placeholder for every text. Whatever then appears between two placeholders was written
by the template: those are its markers, whatever they look like and however the template builds them.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from linkspan.prompts.known import tokens_of_same_families

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

__all__ = ["Markers", "Segment", "can_be_broken_up", "markers_of", "tokens_in"]

#: A token in a rendered prompt: ``<|user|>``, ``<turn|>``, ``<<SYS>>``, ``</s>``, ``<turn role="user">``,
#: ``[|user|]``, ``[/INST]``, ``[gMASK]``.
_TOKEN = re.compile(
    r"<{1,2}/?[^<>\s]{1,60}>{1,2}|<[A-Za-z]\w{0,40} [^<>]{1,80}>|\[\|[^|\[\]\s]{1,60}\|\]"
    r"|\[/?[A-Za-z]{0,20}[A-Z][A-Z_]{1,40}\]"
)
#: A token in a template's source, where comparisons and comments contain angle brackets too.
_TOKEN_IN_SOURCE = re.compile(
    r"<\|[^|<>\s]{1,60}\|>|<\uff5c[^\uff5c<>\s]{1,60}\uff5c>|\[\|[^|\[\]\s]{1,60}\|\]"
    r"|</?(?:start|end)_of_[a-z_]+>|\[/?[A-Z][A-Z_]{2,}\]|<</?[A-Z]+>>|</?s>"
)
#: Shapes that ordinary text never has: a template that writes one such token is for a model with more of them. Each has
#: a hint, a substring of every match, which is faster to search for.
_SHAPES = tuple(
    (hint, re.compile(shape))
    for hint, shape in (
        ("|>", r"<\|[^|<>\s]{1,60}\|>"),
        ("\uff5c>", r"<\uff5c[^\uff5c<>\s]{1,60}\uff5c>"),
        ("|]", r"\[\|[^|\[\]\s]{1,60}\|\]"),
        ("<|", r"<\|[A-Za-z_]{1,40}>"),
        ("|>", r"<[A-Za-z_]{1,40}\|>"),
    )
)
#: Two shapes that imply each other: ``<|turn>`` and ``<turn|>``.
_HALF_OPEN = (_SHAPES[3], _SHAPES[4])
#: Reasoning tags do not mark a turn, and answers that contain them are sent back to the model.
_NO_MARKERS = frozenset({"<think>", "</think>"})
_SHORTEST = 3
#: The prefix of a role name, as in ``]~b]user``: at least two symbols, the last one next to the name.
_GLUED_ROLE = re.compile(r"(?=\S*[^\w\s]\S*[^\w\s])(\S*[^\w\s])\w+")


class Segment(NamedTuple):
    """The template's own text between two message texts, before the first one, or after the last one.

    Attributes:
        text: The text.
        is_head: Whether it precedes the first text. Then it may contain prose, such as a default system prompt.
        between_contents: Whether both neighbours are message contents, rather than names, ids or tool arguments.
    """

    text: str
    is_head: bool
    between_contents: bool


@dataclass(frozen=True)
class Markers:
    """Texts that a message must not contain: literals, and patterns with a substring of every match as hint."""

    literals: tuple[str, ...]
    patterns: tuple[tuple[str, re.Pattern[str]], ...]

    def __bool__(self) -> bool:
        return bool(self.literals or self.patterns)

    def first_in(self, text: str) -> str | None:
        """Return a marker that a text contains, or ``None``."""
        for literal in self.literals:
            if literal in text:
                return literal
        for hint, pattern in self.patterns:
            if hint in text:
                found = pattern.search(text)
                if found is not None:
                    return found.group()
        return None

    def more_in(self, text: str, than: str) -> str | None:
        """Return a marker that occurs more often in one text than in another, or ``None``."""
        for literal in self.literals:
            if text.count(literal) > than.count(literal):
                return literal
        for hint, pattern in self.patterns:
            # A forged marker contains its hint: without a further hint there is no further marker.
            if text.count(hint) > than.count(hint):
                more = Counter(pattern.findall(text)) - Counter(pattern.findall(than))
                if more:
                    return str(next(iter(more)))
        return None

    def broken_up(self, text: str) -> str:
        """Return a text with a space inserted into each marker, so that the model reads plain text."""
        while self.first_in(text) is not None:  # breaking one marker up may leave another that overlapped it
            for literal in self.literals:
                text = text.replace(literal, _broken(literal))
            for hint, pattern in self.patterns:
                if hint in text:
                    text = pattern.sub(lambda found: _broken(found.group()), text)
        return text


def tokens_in(source: str) -> tuple[str, ...]:
    """Return the substrings of a template's source that look like control tokens."""
    return tuple(dict.fromkeys(_TOKEN_IN_SOURCE.findall(source)))


def can_be_broken_up(token: str) -> bool:
    """Whether a token can be broken up by a space: it needs two adjacent characters that are not white space."""
    return _place_to_break(token) > 0


@lru_cache(maxsize=256)
def markers_of(
    segments: frozenset[Segment], ends: frozenset[str], bos_token: str, control_tokens: tuple[str, ...]
) -> Markers:
    """Return the markers of a template.

    Args:
        segments: The template's own text between the texts of conversations.
        ends: The template's own text after the last message, without a generation prompt.
        bos_token: The token that begins a text.
        control_tokens: Further tokens. The control tokens of every model family that uses one of them are added.
    """
    pieces = dict.fromkeys(control_tokens)
    # Longer ends first: a short one may be a prefix of a long one.
    clean_ends = sorted((end.strip() for end in ends if end.strip()), key=len, reverse=True)
    for segment in segments:
        pieces.update(dict.fromkeys(_pieces(segment, clean_ends, bos_token)))
    pieces.update(dict.fromkeys(tokens_of_same_families(pieces)))
    return _compiled([piece for piece in pieces if piece not in _NO_MARKERS and can_be_broken_up(piece)])


def _pieces(segment: Segment, ends: Sequence[str], bos_token: str) -> Iterable[str]:
    text = segment.text.strip()
    if segment.is_head and bos_token:
        text = text.removeprefix(bos_token)
    end = next((end for end in ends if not segment.is_head and text.startswith(end)), "")
    for part in (end, text[len(end) :]):
        lines = part.splitlines()
        for number, line in enumerate(lines, start=1):
            yield from _TOKEN.findall(line)
            if segment.between_contents and (not segment.is_head or number == len(lines)):
                for rest in _TOKEN.split(line):
                    yield from _from_plain_text(rest.strip())


def _from_plain_text(rest: str) -> Iterable[str]:
    """Return the markers in a text without tokens: the whole text, and the prefix of a role name."""
    if not _is_telling(rest):
        return
    yield rest
    glued = _GLUED_ROLE.fullmatch(rest)
    if glued is not None and _is_telling(glued.group(1)):
        yield glued.group(1)


def _is_telling(piece: str) -> bool:
    """Whether a piece cannot be an ordinary word, a line of dashes, or JSON punctuation."""
    shortest = _SHORTEST if piece.isascii() else 2
    return (
        len(piece) >= shortest
        and len(set(piece)) > 1
        and '"' not in piece
        and re.fullmatch(r"[\w\s]+|[\s'{}\[\],:\\]+", piece) is None
    )


def _compiled(pieces: Collection[str]) -> Markers:
    shapes = [(hint, shape) for hint, shape in _SHAPES if any(shape.fullmatch(piece) for piece in pieces)]
    if any(shape in shapes for shape in _HALF_OPEN):
        shapes += [shape for shape in _HALF_OPEN if shape not in shapes]
    literals: list[str] = []
    patterns: list[tuple[str, re.Pattern[str]]] = []
    for piece in pieces:
        if any(shape.fullmatch(piece) for _, shape in shapes):
            continue
        number = re.search(r"\d", piece)
        if number is not None and number.start() > 1:
            # <extra_id_1> is one of a numbered series, and so is "Turn 1 [user]:".
            numbered = re.sub(r"\d+", lambda _: r"\d+", re.escape(piece))
            patterns.append((piece[: number.start()], re.compile(numbered)))
        else:
            literals.append(piece)
    return Markers(tuple(literals), tuple(dict.fromkeys([*shapes, *patterns])))


def _place_to_break(token: str) -> int:
    return next(
        (place for place in range(1, len(token)) if not token[place - 1].isspace() and not token[place].isspace()), 0
    )


def _broken(marker: str) -> str:
    place = _place_to_break(marker)
    return f"{marker[:place]} {marker[place:]}"
