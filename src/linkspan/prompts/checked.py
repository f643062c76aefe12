"""Rendering that no text can forge a turn in: once with placeholders for the texts, once with the texts, compared."""

from __future__ import annotations

import re
import secrets
from itertools import repeat
from operator import and_
from typing import TYPE_CHECKING, Literal

from linkspan.errors import UnsupportedContentError
from linkspan.prompts.markers import Segment

if TYPE_CHECKING:
    from collections.abc import Callable

    from linkspan.prompts.markers import Markers
    from linkspan.prompts.variables import Change, Place

__all__ = ["Placeholders", "render_checked"]

#: Digits alone: no filter of a template changes them. Nobody can write them in advance.
_MARK = "".join(str(1 + secrets.randbelow(9)) for _ in range(24))
_PLACEHOLDER = re.compile(_MARK + r"(\d{6})")
#: Shorter ids stay as they are: a placeholder of their length might stand in the template.
_SHORTEST_ID = 6


class Placeholders:
    """Puts a placeholder in the place of each text, and keeps the texts.

    An id keeps its length, since some templates insist on one. Blank texts stay: many templates look for them.
    """

    def __init__(self) -> None:
        self.texts: list[tuple[str, Place]] = []
        self._ids: dict[str, str] = {}

    def put(self, text: str, place: Place) -> str:
        """Return what stands for a text."""
        if not text or text.isspace():
            return text
        self.texts.append((text, place))
        if place.kind == "id":
            if len(text) >= _SHORTEST_ID:
                return self._ids.setdefault(text, str(10 ** len(text) - 1 - len(self._ids)))
            return text
        return f"{_MARK}{len(self.texts) - 1:06d}"

    def segments(self, skeleton: str) -> frozenset[Segment]:
        """Return what the template wrote between the placeholders of a rendered prompt."""
        head, *rest = _PLACEHOLDER.split(skeleton)
        if not rest:
            return frozenset({Segment(head, is_head=True, between_contents=True)})
        are_contents = [self.texts[int(number)][1].kind == "content" for number in rest[::2]]
        found = {(head, True, are_contents[0])}
        found.update(zip(rest[1::2], repeat(False), map(and_, are_contents, [*are_contents[1:], True])))
        ids = self._ids.values()
        return frozenset(
            Segment(text, is_head, between_contents and not any(stand_in in text for stand_in in ids))
            for text, is_head, between_contents in found
        )

    @staticmethod
    def after_last(skeleton: str) -> str:
        """Return what the template wrote after the last placeholder of a rendered prompt."""
        return _PLACEHOLDER.split(skeleton)[-1]


def render_checked(
    render: Callable[[Change], str],
    markers_of: Callable[[frozenset[Segment]], Markers],
    *,
    name: str,
    policy: Literal["error", "escape"],
) -> str:
    """Render a conversation in which no text holds, or becomes, a marker of the template.

    Args:
        render: Renders the conversation with each text changed.
        markers_of: Returns the template's markers, those in segments of this conversation included.
        name: The template's name, for errors.
        policy: Whether a text with a marker is refused, or its markers broken up.

    Raises:
        UnsupportedContentError: A text holds a marker, or the template makes one of texts; or it fails.
    """
    placeholders = Placeholders()
    try:
        skeleton = render(placeholders.put)
    except UnsupportedContentError as error:
        # What is wrong with the conversation itself is better said with its own texts.
        render(_unchanged)
        raise UnsupportedContentError(
            f"The chat template {name} depends on what the messages say, so they cannot be checked for its special "
            f"tokens: {error.message} If you trust every text, choose special_tokens='keep'."
        ) from error
    markers = markers_of(placeholders.segments(skeleton))
    change: Change = _unchanged
    if markers.first_in("\0".join(text for text, _ in placeholders.texts)) is not None:
        if policy == "error":
            _refuse(placeholders, markers, name)
        change = lambda text, _: markers.broken_up(text)  # noqa: E731  # shorter than a function
    prompt = render(change)
    made = markers.more_in(prompt, than=skeleton)
    if made is not None:
        raise UnsupportedContentError(
            f"The chat template {name} changes or joins texts so that {made!r} arises, one of its special tokens: the "
            "model could not tell it from the end or beginning of a turn. Clean the messages, or choose "
            "special_tokens='keep' (only for text that you trust)."
        )
    return prompt


def _refuse(placeholders: Placeholders, markers: Markers, name: str) -> None:
    for text, place in placeholders.texts:
        token = markers.first_in(text)
        if token is not None:
            raise special_token_error(f"Message {place.number} ({place.role})", token, name)


def special_token_error(where: str, token: str, name: str) -> UnsupportedContentError:
    """Return the error for a text that holds a special token."""
    return UnsupportedContentError(
        f"{where} contains {token!r}, a special token of the chat template {name}: the model could not tell it from "
        "the end or beginning of a turn. Clean the text, or choose special_tokens='escape' (it is broken up) or "
        "'keep' (only for text that you trust)."
    )


def _unchanged(text: str, _: Place) -> str:
    return text
