"""Parse a request as TGI's router does: types first, as serde checks them, then TGI's own rules.

Follows docs/apis/datacrunch.md#parameters: which fields accept null, their bounds and the error texts. A type error
names the column where the value ends, as serde does.
"""

from __future__ import annotations

import json
import re
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from linkspan_sandbox.json_bodies import parse_json

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = [
    "GenerateRequest",
    "Limits",
    "PlainError",
    "TGIError",
    "check",
    "grammar_schema",
    "read_json",
    "read_request",
]

_U64 = (0, 2**64 - 1, "u64")
_U32 = (0, 2**32 - 1, "u32")
_I32 = (-(2**31), 2**31 - 1, "i32")
_INTEGERS: Mapping[str, tuple[int, int, str]] = {
    "best_of": _U64,
    "top_k": _I32,
    "max_new_tokens": _U32,
    "truncate": _U64,
    "seed": _U64,
    "top_n_tokens": _U32,
}
_NUMBERS = ("temperature", "repetition_penalty", "frequency_penalty", "top_p", "typical_p")
#: These and ``stop`` do not accept null.
_BOOLEANS = ("do_sample", "watermark", "details", "decoder_input_details")
_BODY_LIMIT = 2 * 1024 * 1024
_STATUS = {
    "validation": 422,
    "tool_error": 422,
    "generation": 424,
    "overloaded": 429,
    "incomplete_generation": 500,
}
_GRAMMARS = ("json", "json_object", "regex", "json_schema")


class PlainError(Exception):
    """Raised for a refusal by the web framework, in plain text."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class TGIError(Exception):
    """Raised for TGI's own errors: an error answer, or an event if a stream was requested."""

    def __init__(self, message: str, error_type: str = "validation") -> None:
        super().__init__(message)
        self.message = f"Input validation error: {message}" if error_type == "validation" else message
        self.error_type = error_type

    @property
    def status(self) -> int:
        """The status if no stream was requested."""
        return _STATUS.get(self.error_type, 500)

    @property
    def body(self) -> dict[str, str]:
        """The body, and the event's data."""
        return {"error": self.message, "error_type": self.error_type}


@dataclass(frozen=True)
class Limits:
    """Limits that an operator sets on TGI's command line."""

    max_best_of: int = 2
    max_stop_sequences: int = 4
    max_top_n_tokens: int = 5
    max_input_tokens: int | None = None
    grammar_support: bool = True


@dataclass(slots=True)
class GenerateRequest:
    """A request with valid types. ``parameters`` has those that are not null."""

    inputs: str
    parameters: Mapping[str, Any]
    model: str | None = None
    stream: bool = False

    @property
    def sampling(self) -> bool:
        """Whether the model's server samples; ``temperature=1`` without other parameters is greedy."""
        given = self.parameters
        return bool(given.get("do_sample")) or (
            given.get("temperature", 1.0) != 1.0 or any(name in given for name in ("top_k", "top_p", "typical_p"))
        )

    def get(self, name: str, default: Any = None) -> Any:
        """A parameter's value."""
        return self.parameters.get(name, default)

    @property
    def asks_for_sampling(self) -> bool:
        """Whether the router treats the request as sampling (``temperature=1`` counts)."""
        given = self.parameters
        return bool(given.get("do_sample")) or any(
            name in given for name in ("temperature", "top_k", "top_p", "typical_p")
        )


def read_json(content: bytes, content_type: str) -> Any:
    """Parse a body as JSON.

    Raises:
        PlainError: The body is too large, or not JSON.
    """
    if content_type.partition(";")[0].strip().lower() != "application/json":
        raise PlainError(415, "Expected request with `Content-Type: application/json`")
    if len(content) > _BODY_LIMIT:
        raise PlainError(413, "Failed to buffer the request body: length limit exceeded")
    try:
        return parse_json(content)
    except ValueError as error:
        where = f"line {getattr(error, 'lineno', 1)} column {getattr(error, 'colno', 1)}"
        raise PlainError(400, f"Failed to parse the request body as JSON: expected value at {where}") from error


def read_request(content: bytes, content_type: str, *, needs_model: bool) -> GenerateRequest:
    """Parse a body of ``generate``, ``generate_stream`` or ``POST /``. Unknown fields are ignored, as in TGI.

    Raises:
        PlainError: The body is not JSON, or a value has the wrong type.
    """
    body = read_json(content, content_type)
    types = _Types(content.decode("utf-8", "replace"))
    if not isinstance(body, dict):
        raise types.wrong("", body, "struct GenerateRequest")
    for name in ("inputs", "model") if needs_model else ("inputs",):
        if name not in body:
            raise types.refuse(f"missing field `{name}`")
    inputs = types.text("inputs", body["inputs"])
    # A missing object means sampling; an empty one does not.
    given = body.get("parameters", {"do_sample": True})
    if not isinstance(given, dict):
        raise types.wrong("parameters", given, "struct GenerateParameters")
    parameters = {
        name: types.parameter(name, value) for name, value in given.items() if value is not None or _refuses_null(name)
    }
    model = body.get("model")
    stream = body.get("stream", False)
    if needs_model:
        types.text("model", model)
    elif not isinstance(stream, bool):
        raise types.wrong("stream", stream, "a boolean")
    return GenerateRequest(inputs, parameters, model if isinstance(model, str) else None, stream)


def _refuses_null(name: str) -> bool:
    return name in _BOOLEANS or name == "stop"


class _Types:
    """Checks types and raises serde's messages."""

    def __init__(self, text: str) -> None:
        self._text = text

    def refuse(self, message: str, near: str | None = None) -> PlainError:
        where = len(self._text)
        found = re.search(rf'"{re.escape(near)}"\s*:\s*', self._text) if near else None
        if found is not None:
            where = json.JSONDecoder().raw_decode(self._text, found.end())[1]
        return PlainError(
            422, f"Failed to deserialize the JSON body into the target type: {message} at line 1 column {where}"
        )

    def wrong(self, path: str, value: Any, expected: str, *, kind: str = "type") -> PlainError:
        prefix = f"{path}: " if path else ""
        return self.refuse(
            f"{prefix}invalid {kind}: {_described(value)}, expected {expected}", path.rpartition(".")[2] or None
        )

    def text(self, path: str, value: Any) -> str:
        if not isinstance(value, str):
            raise self.wrong(path, value, "a string")
        return value

    def parameter(self, name: str, value: Any) -> Any:
        path = f"parameters.{name}"
        if name in _INTEGERS:
            return self._integer(path, value, *_INTEGERS[name])
        if name in _NUMBERS:
            if not isinstance(value, (int, float)) or isinstance(value, bool):
                raise self.wrong(path, value, "f32")
            return _as_f32(value)
        if name in _BOOLEANS or name == "return_full_text":
            if not isinstance(value, bool):
                raise self.wrong(path, value, "a boolean")
            return value
        return self._other(name, path, value)

    def _integer(self, path: str, value: Any, low: int, high: int, expected: str) -> int:
        if not isinstance(value, int) or isinstance(value, bool):
            raise self.wrong(path, value, expected)
        if not low <= value <= high:
            raise self.wrong(path, value, expected, kind="value")
        return value

    def _other(self, name: str, path: str, value: Any) -> Any:
        if name == "stop":
            if not isinstance(value, list):
                raise self.wrong(path, value, "a sequence")
            for item in value:
                self.text(path, item)
        elif name == "adapter_id":
            self.text(path, value)
        elif name == "grammar" and (not isinstance(value, dict) or value.get("type") not in _GRAMMARS):
            raise self.wrong(path, value, "internally tagged enum GrammarType")
        return value


def _described(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return f"boolean `{str(value).lower()}`"
    if isinstance(value, int):
        return f"integer `{value}`"
    if isinstance(value, float):
        return f"floating point `{value}`"
    if isinstance(value, str):
        return f"string {json.dumps(value, ensure_ascii=False)}"
    return "sequence" if isinstance(value, list) else "map"


def _as_f32(value: float) -> float:
    try:
        return float(struct.unpack("f", struct.pack("f", value))[0])
    except OverflowError:
        return float("inf")


# --------------------------------------------------------------------------- TGI's own rules


_POSITIVE = "must be strictly positive"
#: Bounds of single values, in TGI's order of checks.
_BOUNDS: tuple[tuple[str, Callable[[Any], bool], str], ...] = (
    ("temperature", lambda value: value > 0, _POSITIVE),
    ("repetition_penalty", lambda value: value > 0, _POSITIVE),
    ("frequency_penalty", lambda value: -2 <= value <= 2, "must be >= -2.0 and <= 2.0"),
    ("top_p", lambda value: 0 < value < 1, "must be > 0.0 and < 1.0"),
    ("typical_p", lambda value: 0 < value < 1, "must be > 0.0 and < 1.0"),
    ("top_k", lambda value: value > 0, _POSITIVE),
    ("max_new_tokens", lambda value: value > 0, _POSITIVE),
)


def check(request: GenerateRequest, limits: Limits, *, stream: bool) -> None:
    """Apply the rules that need no tokenizer.

    Raises:
        TGIError: A rule is broken.
    """
    _check_best_of(request, limits, stream=stream)
    for name, holds, rule in _BOUNDS:
        value = request.get(name)
        if value is not None and not holds(value):
            raise TGIError(f"`{name}` {rule}")
    stops = request.get("stop", [])
    if len(stops) > limits.max_stop_sequences:
        raise TGIError(
            f"`stop` supports up to {limits.max_stop_sequences} stop sequences. Given: {len(stops)}",
        )
    if request.get("best_of", 1) > 1 and request.get("seed") is not None:
        raise TGIError("`seed` must not be set when `best_of` > 1")
    top_n = request.get("top_n_tokens", 0)
    if top_n > limits.max_top_n_tokens:
        raise TGIError(f"`top_n_tokens` must be >= 0 and <= {limits.max_top_n_tokens}. Given: {top_n}")
    if not request.inputs:
        raise TGIError("`inputs` cannot be empty")
    truncate = request.get("truncate")
    if truncate is not None and (truncate == 0 or truncate > (limits.max_input_tokens or truncate)):
        raise TGIError(
            f"`truncate` must be strictly positive and less than {limits.max_input_tokens}. Given: {truncate}"
        )
    if request.get("grammar") is not None:
        if not limits.grammar_support:
            raise TGIError("grammar is not supported")
        grammar_schema(request.get("grammar"))


def _check_best_of(request: GenerateRequest, limits: Limits, *, stream: bool) -> None:
    best_of = request.get("best_of", 1)
    if stream and best_of != 1:
        raise TGIError("`best_of` != 1 is not supported when streaming tokens")
    if stream and request.get("decoder_input_details"):
        raise TGIError("`decoder_input_details` == true is not supported when streaming tokens")
    if best_of > limits.max_best_of:
        raise TGIError(f"`best_of` must be > 0 and <= {limits.max_best_of}. Given: {best_of}")
    if best_of > 1 and not request.asks_for_sampling:
        raise TGIError("you must use sampling when `best_of` is > 1")


def grammar_schema(grammar: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the schema of a grammar; ``None`` for a regular expression.

    Raises:
        TGIError: TGI could not compile the grammar.
    """
    value = grammar.get("value")
    if grammar["type"] == "regex":
        if not isinstance(value, str):
            raise TGIError("grammar is not valid: the value of a regex must be a string")
        return None
    if grammar["type"] == "json_schema" and isinstance(value, dict):
        value = value.get("schema")
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError as error:
            raise TGIError(f"grammar is not valid: {error}") from error
    if not isinstance(value, dict) or "properties" not in value:
        raise TGIError("grammar is not valid: Grammar must have a 'properties' field")
    return value
