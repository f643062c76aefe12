"""Base of all linkspan classes for LlamaIndex: a connection, and copies as LlamaIndex makes them."""

from __future__ import annotations

import pickle
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from llama_index.core.schema import BaseComponent

from linkspan.connection import Connected

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["LlamaIndexComponent"]

#: Shared, not copied, when an object is copied: they refer to something outside of it.
_SHARED_FIELDS = (
    "callback_manager",
    "completion_to_prompt",
    "messages_to_prompt",
    "output_parser",
    "query_wrapper_prompt",
    "rate_limiter",
)

#: Whether the object is being unpickled.
_restoring: ContextVar[bool] = ContextVar("linkspan_restoring", default=False)


class LlamaIndexComponent(Connected, BaseComponent):
    """Abstract base of the classes for LlamaIndex.

    ``to_dict`` omits key and headers; ``from_dict`` reads the environment again.
    """

    @classmethod
    def class_name(cls) -> str:
        """Return the name under which LlamaIndex stores this class: linkspan's, also for a class derived from it."""
        return next(base.__name__ for base in cls.__mro__ if base.__module__.startswith("linkspan."))

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        memo = {} if memo is None else memo
        shared = (self.__dict__.get(name) for name in _SHARED_FIELDS)
        memo.update({id(value): value for value in shared if value is not None})
        return super().__deepcopy__(memo)

    def __getstate__(self) -> dict[Any, Any]:
        self._refuse_pickle()
        fields = {
            name: value for name, value in self.__dict__.items() if name not in _SHARED_FIELDS or _can_be_pickled(value)
        }
        return {"__dict__": fields}

    def __setstate__(self, state: dict[Any, Any]) -> None:
        token = _restoring.set(True)
        try:
            type(self).__init__(self, **state["__dict__"])
        finally:
            _restoring.reset(token)

    def _warn(self) -> None:
        # The original's constructor has already warned.
        if not _restoring.get():
            super()._warn()


def _can_be_pickled(value: Any) -> bool:
    # Callback managers and the like may contain anything, even locks and lambdas, and only trying tells.
    try:
        pickle.dumps(value)
    except Exception:  # noqa: BLE001  # whatever an object's own pickling raises
        return False
    return True
