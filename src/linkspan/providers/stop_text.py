"""Stop texts enforced here, for APIs that do not know them or leave them in the answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["StopCutter"]


class StopCutter:
    """Cut a text that comes in pieces before the first stop text, also where that spans pieces.

    A tail that may be the beginning of a stop text is held back until the next piece, or the end, decides.

    Attributes:
        matched: The stop text that was met, ``None`` so far.
    """

    __slots__ = ("_beginnings", "_held", "_stops", "matched")

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = tuple(stop for stop in stops if stop)
        self._beginnings = tuple(dict.fromkeys(stop[0] for stop in self._stops))
        self._held = ""
        self.matched: str | None = None

    def feed(self, piece: str) -> str:
        """Take the next piece and return what certainly belongs to the answer; nothing once a stop text was met."""
        if self.matched is not None:
            return ""
        text = self._held + piece
        for character in self._beginnings:
            if character in text:
                return self._cut(text)
        return text  # nearly every piece: no stop text begins in it

    def _cut(self, text: str) -> str:
        # The one that is complete first wins, whatever the pieces were; of two that end together, the longer one.
        met = [(place + len(stop), place, stop) for stop in self._stops if (place := text.find(stop)) >= 0]
        if met:
            _, place, self.matched = min(met)
            self._held = ""
            return text[:place]
        keep = max(_overlap(text, stop) for stop in self._stops)
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep]

    def flush(self) -> str:
        """Take the end of the text and return what was held back."""
        held, self._held = self._held, ""
        return held


def _overlap(text: str, stop: str) -> int:
    """Return the length of the longest end of ``text`` with which ``stop`` begins, but is not yet complete."""
    # Most ends hold not even the first character of a stop text, which one search tells.
    start = text.find(stop[0], max(0, len(text) - len(stop) + 1))
    while start >= 0:
        if stop.startswith(text[start:]):
            return len(text) - start
        start = text.find(stop[0], start + 1)
    return 0
