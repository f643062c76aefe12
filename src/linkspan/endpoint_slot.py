"""The place of an object's endpoint: created by the first call, once, and never copied or pickled."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from linkspan.locks import ForkSafeLock

if TYPE_CHECKING:
    from collections.abc import Callable

    from linkspan.endpoint import Endpoint

__all__ = ["EndpointSlot"]


class EndpointSlot:
    """Holds an object's endpoint. Copies and pickles of a slot are empty: connections are not shared or saved."""

    __slots__ = ("endpoint", "lock")

    def __init__(self) -> None:
        self.endpoint: Endpoint[Any] | None = None
        self.lock = ForkSafeLock()

    def get(self, create: Callable[[], Endpoint[Any]]) -> Endpoint[Any]:
        """Return the endpoint. The first call creates it, once, even with concurrent threads."""
        if self.endpoint is None:
            with self.lock:
                if self.endpoint is None:
                    self.endpoint = create()
        return self.endpoint

    def __deepcopy__(self, _: dict[int, Any]) -> EndpointSlot:
        return EndpointSlot()

    def __reduce__(self) -> tuple[Any, ...]:
        return (EndpointSlot, ())

    def __eq__(self, other: object) -> bool:
        # Two models with equal fields are equal, whatever their connections.
        return isinstance(other, EndpointSlot)

    __hash__ = None  # type: ignore[assignment]  # like any mutable value
