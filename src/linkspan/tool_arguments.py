"""Parse the JSON arguments of tool calls, and decide whether they are complete.

The JSON decides whether a call may run. The finish reason only explains a problem, because servers report
``tool_calls`` even for calls that the token limit cut off.
"""

from __future__ import annotations

import json
import math
import re
from typing import TYPE_CHECKING, Any

from pydantic_core import from_json

if TYPE_CHECKING:
    from collections.abc import Iterable

    from linkspan.conversation import ToolCall

__all__ = [
    "CUT_OFF_REASONS",
    "DEEPEST",
    "JSON_DECODER",
    "WholenessWatch",
    "as_json_text",
    "judge_calls",
    "parse_arguments",
    "read_unfinished",
    "unwrap_json_string",
    "with_whole_characters",
]

#: Finish reasons of an answer that the token limit cut off.
CUT_OFF_REASONS = ("length", "max_tokens")
#: Finish reasons of an answer that the model or a stop text ended; some servers send none. Any other one, such as a
#: filter's, may have cut the answer off anywhere.
_ENDED_REASONS = (
    *(None, "stop", "tool_calls", "tool_call", "function_call"),
    *("eos_token", "stop_sequence", "end_turn", "tool_use"),
)
#: Most levels of nested values. Servers do not read deeper ones either, and the frameworks' copies of them overflow.
DEEPEST = 100


def as_json_text(arguments: Any) -> str:
    """Return arguments as JSON text; servers send text, an object, or nothing."""
    if arguments is None:
        return ""
    if isinstance(arguments, str):
        return arguments
    return json.dumps(arguments, ensure_ascii=False)


class WholenessWatch:
    """Checks whether a growing text is one whole JSON value, and reads each character once."""

    __slots__ = ("_depth", "_end", "_in_string", "_is_json", "_seen")

    def __init__(self) -> None:
        self._seen = 0
        self._depth = 0
        self._in_string = False
        #: End of the text's first value; 0 until it ends.
        self._end = 0
        self._is_json = False

    def is_whole(self, text: str) -> bool:
        """Return whether the text is whole. It must start with the previous text."""
        if not self._end:
            if not self._seen and text.lstrip()[:1] not in {"{", "[", '"'}:
                return len(text) <= _LONGEST_WORD and _is_json(text)
            self._look_for_end(text)
        return self._is_json and not text[self._end :].strip()

    def _look_for_end(self, text: str) -> None:
        seen = len(text) - (len(text) - len(text.rstrip("\\"))) % 2  # a backslash waits for the escaped character
        for sign in _STRUCTURE.finditer(text, self._seen, seen):
            character = sign[0]
            if character == '"':
                self._in_string = not self._in_string
            elif len(character) == 1 and not self._in_string:
                self._depth += 1 if character in "{[" else -1
            if not self._depth and not self._in_string:
                self._end = sign.end()
                self._is_json = _is_json(text[: self._end])
                return
        self._seen = seen


#: Most characters of a JSON literal or number, with blanks behind it. Longer texts are not parsed again and again.
_LONGEST_WORD = 400
#: Tokens that decide where a JSON value ends; an escape includes the escaped character.
_STRUCTURE = re.compile(r'\\.|["{}\[\]]', re.DOTALL)


def _is_json(text: str) -> bool:
    try:
        json.loads(text, strict=False)
    except (ValueError, RecursionError):
        return False
    return True


def read_unfinished(text: str) -> Any:
    """Parse JSON that may be incomplete; ``None`` if there is no value yet, or the text is not JSON.

    The frameworks' parsers drop one character at a time and try again: 20 kB that are not JSON take them 9 s.
    """
    if _CONTROL.search(text):
        text = _STRING.sub(lambda string: _CONTROL.sub(_escaped, string[0]), text)
    try:
        return from_json(text, allow_partial="trailing-strings")
    except ValueError:
        return None


#: Models write raw line breaks into strings, which JSON forbids.
_CONTROL = re.compile(r"[\x00-\x1f]")
#: A string, complete or not; matches a character or an escape at a time.
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"?', re.DOTALL)


def _escaped(character: re.Match[str]) -> str:
    return f"\\u{ord(character[0]):04x}"


def unwrap_json_string(text: str) -> str:
    """Undo double encoding: vLLM can send arguments as a JSON string that contains the JSON object, or nothing."""
    if not text.lstrip().startswith('"'):
        return text
    try:
        inner = json.loads(text)
    except (ValueError, RecursionError):
        return text
    if not isinstance(inner, str):
        return text
    return inner if inner.lstrip().startswith("{") or inner.strip() in {"", "null"} else text


def parse_arguments(arguments: str) -> dict[str, Any] | None:
    """Return the arguments as a dict; empty text and ``null`` mean no arguments. ``None`` if it is not an object.

    Halves of UTF-16 pairs become U+FFFD, as in texts.
    """
    if _is_empty(arguments):
        return {}
    try:
        value = _loads(arguments)
    except (ValueError, RecursionError):
        return None
    if value is None:
        return {}
    return value if isinstance(value, dict) else None


def judge_calls(calls: Iterable[ToolCall], finish_reason: str | None) -> None:
    """Set the ``problem`` of each call of an answer, and replace empty arguments by ``{}``."""
    for call in calls:
        call.problem = _problem_of(call.name, call.arguments, finish_reason)
        if call.problem is None:
            call.arguments = "{}" if _is_empty(call.arguments) else call.arguments


def _problem_of(name: str, arguments: str, finish_reason: str | None) -> str | None:
    """Return why a call must not run, because its arguments are not one whole JSON object; ``None`` if it may.

    Empty arguments count as an object, because servers send them for tools without parameters; unless the answer was
    cut off, perhaps before their first character.
    """
    cut_off = f"The arguments of {name} were cut off by max_tokens: raise it."
    if _is_empty(arguments):
        early = f"The answer ended early (finish reason {finish_reason!r}), perhaps before the arguments of {name}."
        return None if finish_reason in _ENDED_REASONS else cut_off if finish_reason in CUT_OFF_REASONS else early
    try:
        value = _loads(arguments)
    except (ValueError, RecursionError) as error:
        if finish_reason in CUT_OFF_REASONS:
            return cut_off
        if _ends_early(arguments, error):
            return f"The arguments of {name} are an incomplete JSON object: perhaps max_tokens cut them off."
        return f"The arguments of {name} are not one whole JSON object: {error}."
    if value is None or isinstance(value, dict):
        return None
    return f"The arguments of {name} are not a JSON object, but of type {type(value).__name__}."


def _is_empty(arguments: str) -> bool:
    return not unwrap_json_string(arguments).strip()


def _loads(arguments: str) -> Any:
    """Parse arguments into values that the next request can send again.

    Raises:
        ValueError: They are not JSON, which NaN and infinite numbers are not, either; or they are nested too deeply.
    """
    value = JSON_DECODER.decode(unwrap_json_string(arguments))
    if _is_too_deep(value):
        raise ValueError(f"values are nested more than {DEEPEST} levels deep")
    return with_whole_characters(value) if _SURROGATE.search(arguments) else value


#: The escape of half a UTF-16 pair; only the decoded text shows whether the other half is beside it.
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


def _is_too_deep(value: Any, level: int = 1) -> bool:
    if not isinstance(value, (dict, list)):
        return False
    items = value.values() if isinstance(value, dict) else value
    return level > DEEPEST or any(_is_too_deep(item, level + 1) for item in items)


def _refuse_number(number: str) -> float:
    raise ValueError(f"JSON has no number {number[:20]}")


def _finite_number(digits: str) -> float:
    number = float(digits)
    return number if math.isfinite(number) else _refuse_number(digits)


#: Models write raw line breaks into strings; ``strict=False`` accepts them.
JSON_DECODER = json.JSONDecoder(strict=False, parse_constant=_refuse_number, parse_float=_finite_number)


def with_whole_characters(value: Any) -> Any:
    """Return the value with U+FFFD in place of lone surrogates, as in texts: UTF-8 cannot carry them."""
    text = json.dumps(value, ensure_ascii=False)
    return json.loads(text.encode("utf-16", "surrogatepass").decode("utf-16", "replace"))


def _ends_early(arguments: str, error: Exception) -> bool:
    if not isinstance(error, json.JSONDecodeError):
        return False
    return error.pos >= len(arguments.rstrip()) or error.msg.startswith("Unterminated string")
