"""Mutations of JSON: other values in the place of any, fields gone or renamed, and bytes that are no JSON."""

from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st

if TYPE_CHECKING:
    from collections.abc import Iterator

DEEP = "\x00deep"

_JUNK = st.sampled_from(
    [
        None,
        True,
        False,
        0,
        -1,
        5,
        1.5,
        7.0,
        float("inf"),
        float("nan"),
        10**30,
        10**400,
        "",
        "5",
        "text",
        "\ud83d",
        "\ude42",
        "\0",
        "a" * 5000,
        [],
        {},
        [None],
        [[]],
        [1, 2],
        ["a"],
        {"a": 1},
        {"type": "text", "text": 5},
        {"text": "x"},
        DEEP,
    ]
)
_KINDS = st.sampled_from(["replace", "replace", "replace", "replace", "delete", "rename", "double"])
_DEPTHS = (190, 900, 100_000)


def _places(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if place:
        yield place
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, (list, tuple)) else ()
    for name, item in items:
        yield from _places(item, (*place, name))


@st.composite
def mutated(draw: st.DrawFn, value: Any) -> bytes:
    """Return a value with one to three mutations, as bytes of JSON, or of something near it."""
    value = json.loads(json.dumps(value))
    for _ in range(draw(st.integers(1, 3))):
        places = list(_places(value))
        if not places:
            break
        value = _mutate(value, draw(st.sampled_from(places)), draw(_KINDS), draw(_JUNK))
    text = json.dumps(value)
    depth = draw(st.sampled_from(_DEPTHS)) if json.dumps(DEEP) in text else 0
    data = text.replace(json.dumps(DEEP), "[" * depth + "]" * depth).encode()
    return draw(_bytes(data))


@st.composite
def _bytes(draw: st.DrawFn, data: bytes) -> bytes:
    how = draw(st.sampled_from([*["same"] * 12, "bom", "cut", "byte", "number"]))
    if how == "bom":
        return b"\xef\xbb\xbf" + data
    if how == "number":
        return data.replace(b"5", b"5" * 5000, 1)
    place = draw(st.integers(0, len(data)))
    if how == "cut":
        return data[:place]
    return data[:place] + b"\xff" + data[place:] if how == "byte" else data


def _mutate(value: Any, place: tuple[Any, ...], kind: str, junk: Any) -> Any:
    value = copy.deepcopy(value)
    holder = value
    for name in place[:-1]:
        holder = holder[name]
    last = place[-1]
    if kind == "replace":
        holder[last] = junk
    elif kind == "delete":
        del holder[last]
    elif kind == "double" and isinstance(holder, list):
        holder.append(holder[last])
    elif isinstance(holder, dict):
        holder["x-" + last] = holder.pop(last)
    return value
