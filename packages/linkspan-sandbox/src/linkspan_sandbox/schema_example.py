"""Build a small value that satisfies a JSON Schema, for engines that must follow one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["example_of"]

_MAX_DEPTH = 16
#: Most values, and characters of a text, of an example.
_MOST = 10_000
_BY_FORMAT = {
    "date": "2025-01-01",
    "date-time": "2025-01-01T00:00:00Z",
    "time": "00:00:00Z",
    "email": "name@example.com",
    "uri": "https://example.com",
    "uuid": "00000000-0000-4000-8000-000000000000",
}


def example_of(schema: Any) -> Any:
    """Return a small value for a JSON Schema: its default, example, constant or first choice, if it has one.

    Required properties are set, optional ones omitted. Numbers are their minimum or 0, texts are ``"text"`` or a value
    of their format, lists have ``minItems`` items. ``$ref`` is resolved within the schema.

    Raises:
        ValueError: The schema is invalid, or asks for more than 10,000 values or characters.
    """
    try:
        return _Builder(schema).example(schema)
    except (TypeError, AttributeError, LookupError) as error:
        raise ValueError(f"the JSON Schema is invalid: {error}") from error


class _Builder:
    def __init__(self, root: Any) -> None:
        self._root = root
        self._left = _MOST

    def example(self, schema: Any, depth: int = 0) -> Any:
        self._left -= 1
        if self._left < 0:
            raise ValueError(f"the JSON Schema asks for more than {_MOST} values")
        if not isinstance(schema, Mapping) or depth > _MAX_DEPTH:
            return None
        for key in ("const", "default"):
            if key in schema:
                return schema[key]
        for key in ("enum", "examples"):
            if schema.get(key):
                return schema[key][0]
        other = self._other_schema(schema)
        return self.example(other, depth + 1) if other is not None else self._of_type(schema, depth)

    def _other_schema(self, schema: Mapping[str, Any]) -> Any:
        """Return the schema that this one refers to, or ``None`` if it refers to none."""
        if "$ref" in schema:
            return _follow(str(schema["$ref"]), self._root)
        for key in ("anyOf", "oneOf"):
            if schema.get(key):
                return schema[key][0]
        return _merged(schema, self._root) if schema.get("allOf") else None

    def _of_type(self, schema: Mapping[str, Any], depth: int) -> Any:
        kind = schema.get("type", "object" if "properties" in schema else None)
        if isinstance(kind, list):
            kind = kind[0]
        if kind == "object":
            properties = schema.get("properties", {})
            return {name: self.example(properties.get(name), depth + 1) for name in schema.get("required", ())}
        if kind == "array":
            return [self.example(schema.get("items"), depth + 1) for _ in range(schema.get("minItems", 0))]
        if kind in ("integer", "number"):
            return _smallest_number(schema)
        return {"boolean": False, "string": _text(schema)}.get(str(kind))


def _follow(reference: str, root: Any) -> Any:
    node = root
    for step in reference.removeprefix("#").strip("/").split("/"):
        if not isinstance(node, Mapping):
            return None
        node = node.get(step.replace("~1", "/").replace("~0", "~")) if step else node
    return node


def _merged(schema: Mapping[str, Any], root: Any) -> dict[str, Any]:
    merged: dict[str, Any] = {key: value for key, value in schema.items() if key != "allOf"}
    for entry in schema["allOf"]:
        part = _follow(str(entry["$ref"]), root) if "$ref" in entry else entry
        for key, value in (part or {}).items():
            if key == "properties":
                merged["properties"] = {**merged.get("properties", {}), **value}
            elif key == "required":
                merged["required"] = [*merged.get("required", ()), *value]
            else:
                merged.setdefault(key, value)
    return merged


def _smallest_number(schema: Mapping[str, Any]) -> float:
    if "exclusiveMinimum" in schema:
        return schema["exclusiveMinimum"] + 1  # type: ignore[no-any-return]  # a number by the schema's rules
    return schema.get("minimum", 0)  # type: ignore[no-any-return]  # likewise


def _text(schema: Mapping[str, Any]) -> str:
    text = _BY_FORMAT.get(schema.get("format", ""), "text")
    shortest = schema.get("minLength", 0)
    if shortest > _MOST:
        raise ValueError(f"the JSON Schema asks for more than {_MOST} characters")
    text = text.ljust(shortest, "x")
    return text[: schema["maxLength"]] if "maxLength" in schema else text
