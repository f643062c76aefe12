"""Whether an answer is what a client's own types say."""

from __future__ import annotations

import dataclasses
import types
import typing
from typing import Any, Union

from pydantic import BaseModel, TypeAdapter


def assert_strict(answer: BaseModel) -> None:
    """Check a pydantic answer against its class, strictly.

    Clients build their answers without looking, so that a missing field or a wrong type passes unseen.
    """
    type(answer).model_validate_json(answer.model_dump_json(by_alias=True, exclude_unset=True), strict=True)


def assert_typed(answer: Any) -> None:
    """Check a dataclass's fields, and those of dataclasses in it, against their annotations."""
    hints = typing.get_type_hints(type(answer))
    for entry in dataclasses.fields(answer):
        _check(getattr(answer, entry.name), hints[entry.name], f"{type(answer).__name__}.{entry.name}")


def _check(value: Any, hint: Any, place: str) -> None:
    origin = typing.get_origin(hint)
    if origin in (Union, types.UnionType):
        chosen = [option for option in typing.get_args(hint) if option is not type(None)]
        if value is None:
            assert len(chosen) < len(typing.get_args(hint)), f"{place} must not be null"
        elif len(chosen) == 1:
            _check(value, chosen[0], place)
        else:
            TypeAdapter(hint).validate_python(value, strict=True)
    elif origin is list:
        assert isinstance(value, list), f"{place} must be a list, not {value!r}"
        for number, item in enumerate(value):
            _check(item, typing.get_args(hint)[0], f"{place}[{number}]")
    elif dataclasses.is_dataclass(hint):
        assert type(value) is hint, f"{place} must be {hint}, not {value!r}"
        assert_typed(value)
    else:
        TypeAdapter(hint).validate_python(value, strict=True)
