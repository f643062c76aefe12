"""TGI's grammars: force an answer to match a JSON Schema or a regular expression.

Source: docs/apis/datacrunch.md#parameters and docs/apis/datacrunch.md#tgi-messages. TGI compiles only schemas with
``properties`` at the top. References are resolved here, so that servers need not.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from linkspan.errors import InvalidRequestError, UnsupportedContentError
from linkspan.json_schema import UnresolvableReferenceError, resolve_references
from linkspan.providers.datacrunch.provider import DATACRUNCH

if TYPE_CHECKING:
    from collections.abc import Mapping

    from linkspan.conversation import ResponseFormat

__all__ = ["check_grammar", "grammar_of", "inlined", "json_grammar", "plain_schema", "regex_grammar"]

_NAME = DATACRUNCH.name
_KINDS = ("json", "json_object", "json_schema", "regex")


def json_grammar(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return the grammar that forces an answer to be JSON that matches a schema.

    Args:
        schema: A JSON Schema of an object, such as pydantic's ``Model.model_json_schema()``.

    Raises:
        UnsupportedContentError: The schema cannot be sent: see :func:`plain_schema`.
    """
    return {"type": "json", "value": plain_schema(schema)}


def regex_grammar(pattern: str) -> dict[str, Any]:
    """Return the grammar that forces the whole answer to match a regular expression."""
    return {"type": "regex", "value": pattern}


def grammar_of(wanted: ResponseFormat) -> dict[str, Any] | None:
    """Return the grammar of a response format, ``None`` for plain text.

    Raises:
        UnsupportedContentError: The format is a JSON object without a schema, or the schema cannot be sent.
    """
    if wanted.kind == "text":
        return None
    if wanted.schema is None:
        raise UnsupportedContentError(
            f"{_NAME}: TGI cannot return a JSON object without a schema: a grammar needs its properties. "
            "Give a schema, or ask for JSON in the prompt.",
            provider=_NAME,
        )
    return json_grammar(wanted.schema)


def check_grammar(grammar: Any) -> dict[str, Any]:
    """Check a grammar and return it with its schema in plain form.

    Raises:
        InvalidRequestError: It is not a grammar.
        UnsupportedContentError: Its schema cannot be sent.
    """
    if not isinstance(grammar, dict) or grammar.get("type") not in _KINDS or grammar.get("value") is None:
        raise InvalidRequestError(
            f'{_NAME}: grammar must be {{"type": ..., "value": ...}} with a type of {", ".join(_KINDS)}. '
            "json_grammar(schema) and regex_grammar(pattern) make one.",
            provider=_NAME,
        )
    kind, value = grammar["type"], grammar["value"]
    if kind == "regex":
        if not isinstance(value, str):
            raise InvalidRequestError(
                f"{_NAME}: grammar: the value of a regex must be text, not {type(value).__name__}.",
                provider=_NAME,
            )
        return grammar
    if isinstance(value, str):
        value = _parse(value)
    if kind == "json_schema":
        inner = value.get("schema") if isinstance(value, dict) else None
        return {**grammar, "value": {**value, "schema": plain_schema(inner)}} if inner else grammar
    return {**grammar, "value": plain_schema(value)}


def plain_schema(schema: Any) -> dict[str, Any]:
    """Return a copy of a schema without references and with ``properties`` at its top.

    Raises:
        UnsupportedContentError: It is not an object's schema, is recursive, or has a reference without a target.
    """
    if not isinstance(schema, dict):
        raise _unsupported(f"it is {type(schema).__name__}, not an object")
    plain = inlined(schema)
    only = plain.get("allOf")
    if "properties" not in plain and isinstance(only, list) and len(only) == 1 and isinstance(only[0], dict):
        plain = {**only[0], **{key: value for key, value in plain.items() if key != "allOf"}}
    if not isinstance(plain.get("properties"), dict):
        kind = plain.get("type") or next((key for key in ("anyOf", "oneOf", "allOf", "enum") if key in plain), None)
        described = f"it describes {kind!r}" if kind else "it has none"
        raise _unsupported(
            f"TGI needs properties at its top, and {described}. Wrap it in an object with one property, such as "
            '{"type": "object", "properties": {"value": ...}, "required": ["value"]}',
        )
    return plain


def inlined(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return a schema with its references resolved, because TGI drops the definitions of a tool's schema.

    Raises:
        UnsupportedContentError: It is recursive, or has a reference without a target.
    """
    try:
        return resolve_references(schema)
    except UnresolvableReferenceError as error:
        if not error.is_recursive:
            raise _unsupported(str(error)) from None
        raise _unsupported(
            f"{error}, and TGI's grammars have no recursion. Limit the depth: write the levels out"
        ) from None


def _parse(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise InvalidRequestError(
            f"{_NAME}: grammar: the value is text, but not JSON: {error}.", provider=_NAME
        ) from error


def _unsupported(why: str) -> UnsupportedContentError:
    return UnsupportedContentError(f"{_NAME}: the JSON Schema cannot be sent: {why}.", provider=_NAME)
