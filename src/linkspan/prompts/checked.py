"""Render a conversation safely: compare it with a rendering of placeholders, so that no text can forge a turn."""

from __future__ import annotations

import re
import secrets
from itertools import repeat
from operator import and_
from typing import TYPE_CHECKING, Literal

from linkspan.errors import UnsupportedContentError
from linkspan.prompts.markers import Segment
from linkspan.prompts.variables import unchanged

if TYPE_CHECKING:
    from collections.abc import Callable

    from linkspan.prompts.markers import Markers
    from linkspan.prompts.variables import Change, Place

__all__ = ["Placeholders", "render_checked"]

#: Digits only, because no template filter changes them; random, so that no text can contain them.
_MARK = "".join(str(1 + secrets.randbelow(9)) for _ in range(24))
_PIECES_OF_MARK = tuple(_MARK[place : place + 8] for place in range(0, len(_MARK), 8))
_PLACEHOLDER = re.compile(_MARK + r"(\d{6})")
#: Shorter ids are kept: a placeholder that short could occur in the template itself.
_SHORTEST_ID = 6


class Placeholders:
    """Replaces each text by a placeholder and remembers the texts.

    A placeholder for an id has the id's length, because some templates check it. Blank texts are kept, because many
    templates test for them.
    """

    def __init__(self) -> None:
        self.texts: list[tuple[str, Place]] = []
        self._ids: dict[str, str] = {}

    def put(self, text: str, place: Place) -> str:
        """Return the placeholder for a text."""
        if not text or text.isspace():
            return text
        self.texts.append((text, place))
        if place.kind == "id":
            if len(text) >= _SHORTEST_ID:
                return self._ids.setdefault(text, str(10 ** len(text) - 1 - len(self._ids)))
            return text
        return f"{_MARK}{len(self.texts) - 1:06d}"

    def segments(self, skeleton: str) -> frozenset[Segment]:
        """Return the template's own text between the placeholders of a rendered prompt."""
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
    def are_broken_in(skeleton: str) -> bool:
        """Return whether a rendered prompt has parts of placeholders: then the texts are not between the markers."""
        rest = _PLACEHOLDER.sub("", skeleton)
        return any(piece in rest or piece[::-1] in rest for piece in _PIECES_OF_MARK)

    @staticmethod
    def after_last(skeleton: str) -> str:
        """Return the template's own text after the last placeholder of a rendered prompt."""
        return _PLACEHOLDER.split(skeleton)[-1]


def render_checked(
    render: Callable[[Change], str],
    markers_of: Callable[[frozenset[Segment]], Markers],
    *,
    name: str,
    policy: Literal["error", "escape"],
) -> str:
    """Render a conversation; refuse or escape texts that contain, or turn into, a marker of the template.

    Args:
        render: Renders the conversation, with a function applied to each text.
        markers_of: Returns the template's markers, including those in this conversation's segments.
        name: The template's name, for errors.
        policy: ``"error"`` refuses a text with a marker, ``"escape"`` breaks the marker up.

    Raises:
        UnsupportedContentError: A text contains a marker, the template builds one from texts, or rendering fails.
    """
    placeholders = Placeholders()
    try:
        skeleton = render(placeholders.put)
    except UnsupportedContentError as error:
        # If the conversation itself is at fault, this raises an error that quotes the real texts.
        render(unchanged)
        raise UnsupportedContentError(
            f"The chat template {name} depends on the messages' text, so they cannot be checked for special "
            f"tokens: {error.message} If you trust every text, set special_tokens='keep'."
        ) from error
    if placeholders.are_broken_in(skeleton):
        raise UnsupportedContentError(
            f"The chat template {name} cuts or reverses the messages' text, so they cannot be checked for special "
            "tokens. If you trust every text, set special_tokens='keep'."
        )
    markers = markers_of(placeholders.segments(skeleton))
    change: Change = unchanged
    if markers.first_in("\0".join(text for text, _ in placeholders.texts)) is not None:
        if policy == "error":
            _refuse(placeholders, markers, name)
        change = lambda text, _: markers.broken_up(text)  # noqa: E731  # shorter than a function
    prompt = render(change)
    made = markers.more_in(prompt, than=skeleton)
    if made is not None:
        raise UnsupportedContentError(
            f"The chat template {name} changes or joins texts into its special token {made!r}: the model would take "
            "it for the start or end of a turn. Clean the messages, or set special_tokens='keep' (only for text that "
            "you trust)."
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
        f"{where} contains {token!r}, a special token of the chat template {name}: the model would take it for the "
        "start or end of a turn. Clean the text, or set special_tokens='escape' (to break it up) or 'keep' (only for "
        "text that you trust)."
    )
