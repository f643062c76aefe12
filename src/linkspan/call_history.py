"""Normalize tool calls of earlier turns: valid JSON arguments and one id per call, whatever the history contains."""

from __future__ import annotations

import datetime as dt
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass, replace
from decimal import Decimal
from enum import Enum
from pathlib import PurePath
from typing import TYPE_CHECKING, Any
from uuid import UUID

from pydantic import BaseModel
from pydantic_core import from_json, to_jsonable_python

from linkspan.errors import InvalidRequestError
from linkspan.tool_arguments import DEEPEST, parse_arguments, unwrap_json_string

if TYPE_CHECKING:
    from collections.abc import Sequence

    from linkspan.conversation import Message

__all__ = ["answered_call", "arguments_text", "object_text", "with_call_ids"]

#: The key for arguments that are not a JSON object, so that the model sees them.
INVALID = "invalid_arguments"

#: Types without a JSON form that pydantic writes as one string or number.
_WRITTEN_BY_PYDANTIC = (dt.date, dt.time, dt.timedelta, Decimal, UUID, PurePath)


def object_text(arguments: str) -> str:
    """Return arguments of an earlier call as the text of a JSON object.

    A text that is a JSON object is kept. A text that only ``parse_arguments`` accepts is encoded again. Anything else
    becomes ``{"invalid_arguments": "..."}``: servers refuse a history with broken arguments, and the model must see
    what it wrote.
    """
    if not arguments or arguments == "{}":
        return "{}"
    try:
        if isinstance(from_json(arguments, allow_inf_nan=False), dict):
            return arguments
    except (TypeError, ValueError):  # a TypeError for a lone surrogate, which is refused with the request's other texts
        pass
    try:
        value = parse_arguments(arguments)
        if value is not None:
            return _dump(value)
    except (ValueError, RecursionError):
        pass
    # A stored chunk of LangChain holds broken arguments as a JSON string.
    return _dump({INVALID: unwrap_json_string(arguments)})


def arguments_text(arguments: Any, *, name: str, place: int, provider: str) -> str:
    """Return the arguments of a history as JSON text; a string is returned unchanged.

    Dates, decimals, UUIDs, enums, paths, dataclasses and pydantic objects are written as pydantic writes them.

    Raises:
        InvalidRequestError: A value has no JSON form, such as a set, NaN or another object. The error names message,
            call and argument.
    """
    if arguments is None:
        return "{}"
    if isinstance(arguments, str):
        return arguments or "{}"
    try:
        text = _dump(arguments)
        text.encode()
    except (TypeError, ValueError, RecursionError):
        writer = _PlainWriter(f"{provider}: message {place}, call of {name!r}", provider)
        return _dump(writer.plain(arguments))
    return text


def _dump(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


class _PlainWriter:
    """Converts values to JSON types; errors name the place by ``where``."""

    def __init__(self, where: str, provider: str) -> None:
        self._where = where
        self._provider = provider

    def plain(self, value: Any, path: str = "", depth: int = 0) -> Any:
        """Convert a value to JSON types.

        Raises:
            InvalidRequestError: The value has no JSON form.
        """
        if depth > DEEPEST:
            raise self._refused(path, f"nested more than {DEEPEST} levels deep")
        value = _of_pydantic(value)
        if isinstance(value, Mapping):
            return self._mapping(value, path, depth)
        if isinstance(value, (list, tuple)):
            return [self.plain(item, f"{path}[{number}]", depth + 1) for number, item in enumerate(value)]
        if isinstance(value, str):
            if any("\ud800" <= letter <= "\udfff" for letter in value):
                raise self._refused(path, "text with a lone surrogate (half of a UTF-16 pair)")
        elif isinstance(value, float):
            if not math.isfinite(value):
                raise self._refused(path, repr(value))
        elif not (value is None or isinstance(value, int)):
            raise self._refused(path, f"a {type(value).__name__}")
        return value

    def _mapping(self, values: Mapping[Any, Any], path: str, depth: int) -> dict[str, Any]:
        plain = {}
        for key, value in values.items():
            inner = f"{path}.{key}" if path else str(key)
            name = self.plain(key, inner, depth + 1)
            plain[name if isinstance(name, str) else _dump(name)] = self.plain(value, inner, depth + 1)
        return plain

    def _refused(self, path: str, what: str) -> InvalidRequestError:
        field = f"the argument {path!r} is" if path else "the arguments are"
        return InvalidRequestError(
            f"{self._where}: {field} {what}, which has no JSON form. Replace it before sending the message.",
            provider=self._provider,
        )


def _of_pydantic(value: Any) -> Any:
    """Return the form that pydantic writes for a value without a JSON form; other values are returned unchanged."""
    if isinstance(value, Enum):
        return _of_pydantic(value.value)
    if isinstance(value, _WRITTEN_BY_PYDANTIC):
        return to_jsonable_python(value)
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else value


def with_call_ids(messages: Sequence[Message]) -> Sequence[Message]:
    """Return the messages with an id for each tool call and result; ids are kept, except a turn's second one.

    A call without an id takes the id of its result: results follow their calls in the same order.
    """
    if not any(map(_lacks_id, messages)):
        return messages
    sound = list(messages)
    for place, message in enumerate(messages):
        if message.tool_calls:
            _drop_double_ids(sound, place)
            _pair(sound, place)
    return sound


def answered_call(message: Message, place: int, provider: str) -> str:
    """Return the id of the call that a tool turn answers.

    Raises:
        InvalidRequestError: It has none, and no call before it lacks a result.
    """
    if not message.tool_call_id:
        raise InvalidRequestError(
            f"{provider}: message {place} is a tool's result without the id of the call that it answers: set "
            "tool_call_id.",
            provider=provider,
        )
    return message.tool_call_id


def _lacks_id(message: Message) -> bool:
    if message.tool_calls:
        ids = {call.id for call in message.tool_calls if call.id}
        return len(ids) < len(message.tool_calls)
    return message.role == "tool" and not message.tool_call_id


def _results_of(messages: Sequence[Message], place: int) -> range:
    """Return the places of the results that follow the calls of a turn."""
    behind = place + 1
    while behind < len(messages) and messages[behind].role == "tool":
        behind += 1
    return range(place + 1, behind)


def _drop_double_ids(messages: list[Message], place: int) -> None:
    """Remove an id from all calls of a turn but the first, and from all of their results but the first."""
    seen: set[str | None] = set()
    doubles: set[str | None] = set()
    calls = []
    for call in messages[place].tool_calls:
        if call.id in seen:
            doubles.add(call.id)
        calls.append(replace(call, id=None) if call.id in seen else call)
        seen.add(call.id)
    if not doubles - {None}:
        return
    messages[place] = replace(messages[place], tool_calls=calls)
    answered: set[str | None] = set()
    for result in _results_of(messages, place):
        call_id = messages[result].tool_call_id
        if call_id in doubles & answered:
            messages[result] = replace(messages[result], tool_call_id=None)
        answered.add(call_id)


def _pair(messages: list[Message], place: int) -> None:
    calls = list(messages[place].tool_calls)
    results = _results_of(messages, place)
    known = {call.id for call in calls if call.id}
    answered = {messages[result].tool_call_id for result in results}
    strays = [result for result in results if messages[result].tool_call_id not in known]
    for number, call in enumerate(calls):
        if call.id and call.id in answered:
            continue
        stray = next((one for one in strays if not call.id or not messages[one].tool_call_id), None)
        found = None if stray is None else messages[stray].tool_call_id
        # Nine letters and digits, because Mistral's servers refuse any other form.
        call_id = call.id or found or f"call{(place * 100 + number) % 100_000:05d}"
        calls[number] = replace(call, id=call_id)
        if stray is not None:
            strays.remove(stray)
            messages[stray] = replace(messages[stray], tool_call_id=call_id)
    messages[place] = replace(messages[place], tool_calls=calls)
