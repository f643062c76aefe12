"""Build pydantic objects from a validated one: validating every chunk or answer costs more than parsing it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar

from pydantic import BaseModel

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Prototype"]

ModelT = TypeVar("ModelT", bound=BaseModel)

_new = object.__new__
# The slots of every pydantic object, bound once to skip attribute lookups.
_set_dict = BaseModel.__dict__["__dict__"].__set__
_set_names = BaseModel.__dict__["__pydantic_fields_set__"].__set__
_set_extra = BaseModel.__dict__["__pydantic_extra__"].__set__
_set_private = BaseModel.__dict__["__pydantic_private__"].__set__


class Prototype(Generic[ModelT]):
    """Builds pydantic objects by copying the fields of one validated instance.

    Args:
        pattern: The validated object. Mutable fields, such as a list, must be set for each new object, or all objects
            would share them.

    All fields count as set: dumps without unset fields contain all of them. So assigning a field never changes the set
    of names, and all objects share one set. A set per object would be among the largest parts of a chunk, and more work
    for the garbage collector. Only the name of an extra attribute, if the class allows them, shows up in the
    ``model_fields_set`` of the other objects.

    Attributes:
        fields: The fields of such an object. Copy them, change some and pass them to :meth:`from_fields`: that costs
            half of merging two dicts.
    """

    __slots__ = ("_class", "_extra", "_private", "_set_fields", "fields")

    def __init__(self, pattern: ModelT) -> None:
        self._class = type(pattern)
        self.fields: dict[str, Any] = dict(pattern.__dict__)
        self._set_fields = set(self.fields)
        self._extra = pattern.__pydantic_extra__
        self._private = pattern.__pydantic_private__

    def from_fields(self, fields: dict[str, Any]) -> ModelT:
        """Return a new object with exactly these fields. It keeps the dict and validates nothing."""
        made: ModelT = _new(self._class)
        _set_dict(made, fields)
        _set_names(made, self._set_fields)
        _set_extra(made, None if self._extra is None else {})
        _set_private(made, None if self._private is None else dict(self._private))
        return made

    def with_fields(self, fields: Mapping[str, Any]) -> ModelT:
        """Return a new object with these fields and the pattern's others, without validation."""
        return self.from_fields({**self.fields, **fields})
