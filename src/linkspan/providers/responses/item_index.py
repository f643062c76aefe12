"""The items of one Responses answer: find the item of an event, and those of the response that ends the answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from linkspan.providers.responses.items import SPOKEN_KINDS, Item, item_contents
from linkspan.providers.wire import as_count, as_name, as_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

__all__ = ["ItemIndex"]


class ItemIndex:
    """The items of an answer in order, by id, and by position in the output."""

    __slots__ = ("_by_id", "_by_index", "_items")

    def __init__(self) -> None:
        self._items: list[Item] = []
        self._by_id: dict[str, Item] = {}
        self._by_index: dict[int, Item] = {}

    def __bool__(self) -> bool:
        return bool(self._items)

    def __iter__(self) -> Iterator[Item]:
        return iter(self._items)

    def of_event(self, event: Mapping[str, Any], kind: str | None, *, begins: bool = False) -> Item:
        """Return the item of an event: the one with its id or index, else the newest, else a new one.

        Args:
            event: The event.
            kind: The item's kind; ``None`` if the event holds the item.
            begins: Whether the event begins an item, which is then not the newest.
        """
        fields = event.get("item")
        fields = fields if isinstance(fields, dict) else {}
        kind = kind or as_text(fields.get("type"), "the type of an item")
        item_id = as_name(event.get("item_id") or fields.get("id"), "the id of an item")
        index = as_count(event.get("output_index"), "output_index")
        item = self._by_id.get(item_id or "") or (None if index is None else self._by_index.get(index))
        if item is None and item_id is None and index is None and self._items and not begins:
            item = self._items[-1]
        if item is None or item.kind != kind:
            item = Item(kind)
            self._items.append(item)
            if item_id:
                self._by_id[item_id] = item
            if index is not None:
                self._by_index[index] = item
        return item

    def has_server_tool_of(self, event: Mapping[str, Any]) -> bool:
        """Whether an event belongs to an item without content or a call of the request's functions."""
        index = as_count(event.get("output_index"), "output_index")
        item = self._by_id.get(as_name(event.get("item_id"), "the id of an item") or "")
        if item is None and index is not None:
            item = self._by_index.get(index)
        return item is not None and item.kind not in SPOKEN_KINDS

    def paired(self, entries: Sequence[Mapping[str, Any]]) -> Iterator[tuple[Item, Mapping[str, Any]]]:
        """Yield each item of the output with its streamed counterpart.

        Paired by id where ids agree, else by their order within their kind: vLLM changes the ids here, and omits blank
        items on either side.
        """
        named = self._named_in(entries)
        taken = {id(item) for item in named.values()}
        unnamed: dict[str, Iterator[Item]] = {
            kind: iter(
                [
                    item
                    for item in self._items
                    if item.kind == kind and (item.name or not item.is_blank) and id(item) not in taken
                ]
            )
            for kind in SPOKEN_KINDS
        }
        for place, fields in enumerate(entries):
            kind = as_text(fields.get("type"), "the type of an item")
            if kind in {"message", "reasoning"} and not any(text.strip() for text in item_contents(fields).values()):
                continue
            item = named.get(place) or next(unnamed.get(kind, iter(())), None)
            if item is None:
                item = Item(kind)
                self._items.append(item)
            yield item, fields

    def _named_in(self, output: Sequence[Mapping[str, Any]]) -> dict[int, Item]:
        """Return the streamed item of each place of the output that has its id and kind. Servers give an id twice."""
        found: dict[int, Item] = {}
        taken: set[int] = set()
        for place, fields in enumerate(output):
            item = self._by_id.get(str(fields.get("id")))
            if item is not None and item.kind == fields.get("type") and id(item) not in taken:
                found[place] = item
                taken.add(id(item))
        return found
