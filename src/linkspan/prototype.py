"""Pydantic objects made after a validated one: validating each chunk, or answer, costs more than reading it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar

from pydantic import BaseModel

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Prototype"]

ModelT = TypeVar("ModelT", bound=BaseModel)

_new = object.__new__
# The slots of every pydantic object, set without looking for their names.
_set_dict = BaseModel.__dict__["__dict__"].__set__
_set_names = BaseModel.__dict__["__pydantic_fields_set__"].__set__
_set_extra = BaseModel.__dict__["__pydantic_extra__"].__set__
_set_private = BaseModel.__dict__["__pydantic_private__"].__set__


class Prototype(Generic[ModelT]):
    """Makes objects like one that was validated, which has every field that its class knows, with its default.

    Args:
        pattern: The validated object. Fields that hold something changeable, such as a list, must be given anew for
            each object, or all would share it.

    All fields count as set, since each is filled in: dumps without unset fields have them all. So assigning one never
    changes the set of names, and objects share it; a set of its own would be among the largest things that a chunk
    keeps, and one more for the garbage collector to walk through. Only the name of an attribute that is no field, where
    the class allows such, shows in the ``model_fields_set`` of the others.

    Attributes:
        fields: The fields of such an object, to be copied, filled in and given to :meth:`from_fields`: a copy with a
            few changes costs half of two merged dicts.
    """

    __slots__ = ("_class", "_extra", "_private", "_set_fields", "fields")

    def __init__(self, pattern: ModelT) -> None:
        self._class = type(pattern)
        self.fields: dict[str, Any] = dict(pattern.__dict__)
        self._set_fields = set(self.fields)
        self._extra = pattern.__pydantic_extra__
        self._private = pattern.__pydantic_private__

    def from_fields(self, fields: dict[str, Any]) -> ModelT:
        """Return a new object that has these fields, all of them, and keeps the dict. Nothing is validated."""
        made: ModelT = _new(self._class)
        _set_dict(made, fields)
        _set_names(made, self._set_fields)
        _set_extra(made, None if self._extra is None else {})
        _set_private(made, None if self._private is None else dict(self._private))
        return made

    def with_fields(self, fields: Mapping[str, Any]) -> ModelT:
        """Return a new object, with these fields and the pattern's others. Nothing is validated."""
        return self.from_fields({**self.fields, **fields})
