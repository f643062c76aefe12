"""Rewrite TypedDict classes for core, which treats every field as required and ignores qualifiers."""

from __future__ import annotations

from types import UnionType
from typing import Annotated, Any, Literal, Union, cast, get_args, get_origin

from typing_extensions import NotRequired, ReadOnly, Required, TypedDict, get_type_hints, is_typeddict

__all__ = ["with_plain_fields"]

_QUALIFIERS = (Required, NotRequired, ReadOnly)


def with_plain_fields(given: Any) -> Any:
    """Replace ``total=False``, ``NotRequired`` and other qualifiers of a type by core's own convention.

    Core marks an optional field by ``Annotated[type, default, description]``. Types without a TypedDict in them are
    returned unchanged, and so is a class whose annotations cannot be resolved yet.
    """
    return _plain(given, {})


def _plain(given: Any, known: dict[Any, Any]) -> Any:
    """Convert one type. ``known`` has the converted classes: core would treat a second copy as another class."""
    if is_typeddict(given):
        if given not in known:
            known[given] = given  # A recursive class stays unchanged; core refuses it.
            known[given] = _typed_dict(given, known)
        return known[given]
    origin, arguments = get_origin(given), get_args(given)
    if not arguments or origin is Literal:
        return given
    plain = tuple(_plain(argument, known) for argument in arguments)
    if all(new is old for new, old in zip(plain, arguments, strict=True)):
        return given
    return Union[plain] if origin in {Union, UnionType} else origin[plain]


def _typed_dict(given: Any, known: dict[Any, Any]) -> Any:
    try:
        hints = get_type_hints(given, include_extras=True)
    except NameError:
        return given  # A name is not defined yet; core reports it where it matters.
    required = given.__required_keys__
    fields = {name: _field(hint, known, is_required=name in required) for name, hint in hints.items()}
    if all(fields[name] is hint for name, hint in hints.items()):
        return given
    made = cast("Any", TypedDict)(given.__name__, fields)
    made.__doc__ = given.__doc__
    return made


def _field(hint: Any, known: dict[Any, Any], *, is_required: bool) -> Any:
    bare = hint
    notes: tuple[Any, ...] = ()
    is_qualified = False
    while (origin := get_origin(bare)) in _QUALIFIERS or origin is Annotated:
        if origin is Annotated:
            notes = (*bare.__metadata__, *notes)
        else:
            is_qualified = True
            is_required = is_required if origin is ReadOnly else origin is Required
        bare = get_args(bare)[0]
    plain = _plain(bare, known)
    may_be_missing = not is_required and (not notes or notes[0] is ...)
    if may_be_missing:
        notes = (None, *notes[1:])
    elif plain is bare and not is_qualified:
        return hint
    made = (plain, *notes)
    return cast("Any", Annotated)[made] if notes else plain
