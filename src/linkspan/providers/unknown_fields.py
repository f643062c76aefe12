"""Merge fields that linkspan does not model from the events of a stream, as a whole answer would have them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["ChoiceFields", "join_fields", "merge_levels"]

#: Strings that name something and so are never split.
_NAMES = frozenset({"format", "id", "index", "name", "object", "role", "status", "type"})
_EMPTY: tuple[Any, ...] = ("", [], {})


def join_fields(joined: dict[str, Any], fields: Mapping[str, Any], *, pieces: bool) -> None:
    """Merge the fields of the next event into those so far.

    Lists are concatenated, unless the new list starts with the old one: then it is a running list and replaces it. An
    empty value replaces nothing. Entries of a list with the same ``index`` are merged.

    Args:
        joined: The fields so far; changed in place.
        fields: The fields of the next event.
        pieces: Whether strings and list items are split over events (inside a message) or repeated (outside of it).
    """
    for key, value in fields.items():
        if key not in joined or joined[key] in _EMPTY:
            joined[key] = value
        elif value not in _EMPTY and value is not None:
            joined[key] = _joined(key, joined[key], value, pieces)


def _joined(key: str, old: Any, new: Any, pieces: bool) -> Any:
    if isinstance(old, str) and isinstance(new, str):
        return old + new if pieces and key not in _NAMES else new
    if isinstance(old, dict) and isinstance(new, dict):
        join_fields(old, new, pieces=pieces)
        return old
    if isinstance(old, list) and isinstance(new, list):
        return _joined_lists(old, new, pieces)
    return new


def _joined_lists(old: list[Any], new: list[Any], pieces: bool) -> list[Any]:
    numbers = pieces and isinstance(new[0], (int, float))
    if not numbers and new[: len(old)] == old:
        return new
    for item in new:
        same = _entry_of_index(old, item)
        if same is None:
            old.append(item)
        else:
            join_fields(same, item, pieces=pieces)
    return old


def _entry_of_index(entries: list[Any], item: Any) -> dict[str, Any] | None:
    index = item.get("index") if isinstance(item, dict) else None
    if not isinstance(index, int):
        return None
    return next((entry for entry in entries if isinstance(entry, dict) and entry.get("index") == index), None)


def merge_levels(inner: dict[str, Any], outer: Mapping[str, Any]) -> None:
    """Add fields of an outer level, as ``outer_<name>`` where an inner field has the same name."""
    for key, value in outer.items():
        inner[key if key not in inner else f"outer_{key}"] = value


class ChoiceFields:
    """The unknown fields of one choice of a stream: of its message, and of the choice itself."""

    __slots__ = ("choice", "message")

    def __init__(self) -> None:
        self.message: dict[str, Any] = {}
        self.choice: dict[str, Any] = {}

    def add_message(self, fields: Mapping[str, Any]) -> None:
        """Add the fields of the next piece of the message."""
        join_fields(self.message, fields, pieces=True)

    def add_choice(self, fields: Mapping[str, Any]) -> None:
        """Add the fields outside of the next piece: lists there are split over events, strings are not."""
        lists = {name: value for name, value in fields.items() if isinstance(value, list)}
        join_fields(self.choice, lists, pieces=True)
        join_fields(self.choice, {name: value for name, value in fields.items() if name not in lists}, pieces=False)

    def merged(self) -> dict[str, Any]:
        """Return all fields, as in a whole answer."""
        merged = dict(self.message)
        merge_levels(merged, self.choice)
        return merged
