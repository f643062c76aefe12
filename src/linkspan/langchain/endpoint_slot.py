"""Where a model keeps its connection: made at the first call, never copied, never saved."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from linkspan.conversation import ChatRequest
    from linkspan.endpoint import Endpoint

__all__ = ["EndpointSlot"]


class EndpointSlot:
    """Where a model keeps its endpoint. Copies and pickles of it are empty: connections are not shared or saved."""

    __slots__ = ("endpoint", "lock")

    def __init__(self) -> None:
        self.endpoint: Endpoint[ChatRequest] | None = None
        self.lock = threading.Lock()

    def get(self, make: Callable[[], Endpoint[ChatRequest]]) -> Endpoint[ChatRequest]:
        """Return the endpoint, made now if there is none; also when several threads ask at once."""
        if self.endpoint is None:
            with self.lock:
                if self.endpoint is None:
                    self.endpoint = make()
        return self.endpoint

    def __deepcopy__(self, _: dict[int, Any]) -> EndpointSlot:
        return EndpointSlot()

    def __reduce__(self) -> tuple[Any, ...]:
        return (EndpointSlot, ())

    def __eq__(self, other: object) -> bool:
        # Two models with equal fields are equal, whatever connections they have open.
        return isinstance(other, EndpointSlot)

    __hash__ = None  # type: ignore[assignment]  # as for any mutable value
