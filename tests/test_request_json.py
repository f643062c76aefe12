"""A body as JSON: byte for byte what the standard library writes, and refused where that refuses."""

from __future__ import annotations

import datetime as dt
import enum
import json
from collections import OrderedDict
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from linkspan.endpoint import encode_json
from linkspan.errors import InvalidRequestError
from linkspan.request_json import write_json


class Word(str):
    """A text of somebody's own."""

    __slots__ = ()


class Role(str, enum.Enum):
    USER = "user"


def by_the_standard_library(body: Any) -> bytes:
    return json.dumps(body, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()


texts = st.text(st.characters(exclude_categories=("Cs",)), max_size=20)
contents = texts | texts.map(lambda text: text * 300) | texts.map(Word) | st.sampled_from(Role)
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | contents,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner)
        | st.dictionaries(texts | st.integers(), inner, max_size=3)
        | st.dictionaries(texts, inner, max_size=3).map(OrderedDict)
    ),
    max_leaves=6,
)
plain = st.fixed_dictionaries({"role": texts, "content": st.none() | texts | texts.map(lambda text: text * 300)})
messages = st.lists(plain, max_size=12) | st.lists(plain | st.dictionaries(texts, anything, max_size=3), max_size=12)


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(texts | st.integers(), anything, max_size=4), messages | anything, st.booleans())
def test_bodies_are_written_as_the_standard_library_writes_them(
    fields: dict[Any, Any], conversation: Any, last: bool
) -> None:
    body = {**fields, "messages": conversation} if last else {"messages": conversation, **fields}
    assert write_json(body) == by_the_standard_library(body)


LONG = [{"role": "user", "content": "x"}] * 10


@pytest.mark.parametrize("place", ["alone", "beside a long conversation", "in a long conversation"])
@pytest.mark.parametrize(
    "value",
    [float("nan"), float("-inf"), "\ud800", b"bytes", {1, 2}, dt.date(2026, 1, 2), object(), {"\ud800": 1}],
    ids=lambda value: type(value).__name__,
)
def test_what_is_no_json_is_refused_wherever_it_stands(value: Any, place: str) -> None:
    body: dict[str, Any] = {"value": value}
    if place != "alone":
        body["messages"] = list(LONG)
    if place == "in a long conversation":
        body["messages"].append({"role": "user", "content": body.pop("value")})
    with pytest.raises((TypeError, ValueError)) as theirs:
        by_the_standard_library(body)
    with pytest.raises(InvalidRequestError, match="cannot be written as JSON") as ours:
        encode_json(body, "scaleway")
    why = "lone surrogate" if isinstance(theirs.value, UnicodeEncodeError) else str(theirs.value)
    assert why in str(ours.value)
