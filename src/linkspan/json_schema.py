"""Inline references of JSON Schemas, for servers that keep only a part of a schema."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from linkspan.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["UnresolvableReferenceError", "require_object", "resolve_references", "standing_alone", "takes_object"]

#: Keywords whose value maps names to schemas; these names are never keywords.
_SCHEMA_MAPS = frozenset({"properties", "patternProperties", "dependentSchemas"})
#: Keywords whose value is data, not a schema.
_DATA = frozenset({"const", "enum", "default", "examples", "required"})
_DEFINITIONS = frozenset({"$defs", "definitions"})


class UnresolvableReferenceError(ValueError):
    """A reference cannot be inlined."""

    def __init__(self, reference: Any, why: str) -> None:
        super().__init__(f"the reference {reference!r} {why}")
        self.reference = reference
        self.is_recursive = why == _RECURSIVE


_RECURSIVE = "refers to itself"


def resolve_references(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy of a schema with every ``$ref`` inlined and without definitions.

    Raises:
        UnresolvableReferenceError: A reference is recursive, has no target, or points out of the schema.
    """
    resolved: dict[str, Any] = _Resolver(schema).schema(dict(schema), ())
    return resolved


def standing_alone(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return a schema whose top level and properties need no definitions, except for recursive ones."""
    try:
        return resolve_references(schema)
    except UnresolvableReferenceError:
        target = _Resolver(schema).target(schema.get("$ref")) if "$ref" in schema else {}
        return {**target, **{key: value for key, value in schema.items() if key != "$ref"}}


def takes_object(schema: Mapping[str, Any]) -> bool:
    """Whether a value of the schema may be an object, as arguments of a tool call are."""
    return _takes_object(standing_alone(schema))


def require_object(schema: Mapping[str, Any], name: str, instead: str, provider: str | None = None) -> None:
    """Check that a schema can describe the arguments of a tool call; ``instead`` says what else to do, for the error.

    Raises:
        ConfigurationError: Its values cannot be objects.
    """
    if not takes_object(schema):
        raise ConfigurationError(
            f"{name} must be the schema of an object, as arguments of a tool call are: put it into a class with one "
            f"field, or {instead}.",
            provider=provider,
        )


def _takes_object(schema: Any) -> bool:
    if not isinstance(schema, dict) or "properties" in schema:
        return True
    kind = schema.get("type")
    if kind is not None:
        return kind == "object" or (isinstance(kind, list) and "object" in kind)
    for key in ("anyOf", "oneOf"):
        if isinstance(schema.get(key), list):
            return any(_takes_object(choice) for choice in schema[key])
    parts = schema.get("allOf")
    if isinstance(parts, list):
        return all(_takes_object(part) for part in parts)
    return "enum" not in schema and "const" not in schema


def _names_definitions(key: str, value: Any) -> bool:
    """Whether this is OpenAPI's discriminator, which refers to definitions; the alternatives suffice without it."""
    return key == "discriminator" and isinstance(value, dict) and "propertyName" in value


class _Resolver:
    """Inlines references."""

    def __init__(self, root: Mapping[str, Any]) -> None:
        self._root = root

    def schema(self, schema: Any, inside: tuple[str, ...]) -> Any:
        """Return a schema without references; ``inside`` has the references being inlined."""
        if isinstance(schema, list):
            return [self.schema(item, inside) for item in schema]
        if not isinstance(schema, dict):
            return schema
        if "$ref" not in schema:
            return self._keywords(schema, inside)
        reference = schema["$ref"]
        if reference in inside:
            raise UnresolvableReferenceError(reference, _RECURSIVE)
        target = self.schema(self.target(reference), (*inside, reference))
        beside = self._keywords({key: value for key, value in schema.items() if key != "$ref"}, inside)
        return {**target, **beside} if isinstance(target, dict) else target

    def _keywords(self, schema: Mapping[str, Any], inside: tuple[str, ...]) -> dict[str, Any]:
        plain: dict[str, Any] = {}
        for key, value in schema.items():
            if key in _DATA:
                plain[key] = value
            elif key in _SCHEMA_MAPS and isinstance(value, dict):
                plain[key] = {name: self.schema(item, inside) for name, item in value.items()}
            elif key not in _DEFINITIONS and not _names_definitions(key, value):
                plain[key] = self.schema(value, inside)
        return plain

    def target(self, reference: Any) -> Any:
        """Return the target of a reference, unchanged."""
        found: Any = self._root
        if not isinstance(reference, str) or not reference.startswith("#"):
            raise UnresolvableReferenceError(reference, "leads out of it. Put the target into $defs")
        for step in reference[1:].split("/")[1:]:
            name = unquote(step).replace("~1", "/").replace("~0", "~")
            if not isinstance(found, dict) or name not in found:
                raise UnresolvableReferenceError(reference, "leads nowhere")
            found = found[name]
        return found
