"""Convert LangChain's tools and schemas to neutral ones."""

from __future__ import annotations

from collections.abc import Mapping
from enum import EnumMeta
from typing import TYPE_CHECKING, Any, Literal

from langchain_core.utils.function_calling import convert_to_openai_function, convert_to_openai_tool

from linkspan.call_keywords import check_function, in_chat_form, listed_tools, read_tool
from linkspan.conversation import ResponseFormat
from linkspan.errors import ConfigurationError
from linkspan.json_schema import standing_alone
from linkspan.langchain.typed_dicts import with_plain_fields

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import TypeAlias, Union

    from langchain_core.tools import BaseTool

    from linkspan.conversation import Tool

    #: A tool for ``bind_tools``: a LangChain tool, a function, a pydantic or TypedDict class, a JSON schema or tool
    #: dict.
    ToolLike: TypeAlias = Union[dict[str, Any], type, Callable[..., Any], BaseTool]
    #: Values of ``tool_choice``.
    ToolChoiceLike: TypeAlias = Union[str, bool, dict[str, Any], None]
else:
    # Core resolves the annotations of a model's methods where the model has fallbacks, and its tools take long to load.
    ToolLike = ToolChoiceLike = Any

#: How to request a schema.
Method = Literal["json_schema", "function_calling", "json_mode"]

__all__ = [
    "Method",
    "ToolChoiceLike",
    "ToolLike",
    "as_tool_dicts",
    "schema_format",
    "to_tools",
]


#: Types of dicts that hold a schema with its name: a tool, and a response format.
_ENVELOPES = ("function", "json_schema")


def as_tool_dicts(tools: Sequence[ToolLike] | None, strict: bool | None = None) -> list[dict[str, Any]]:
    """Convert tools to the dicts that LangChain's own code expects among bound arguments."""
    return [_as_tool_dict(tool, strict) for tool in listed_tools(tools)]


def _as_tool_dict(tool: ToolLike, strict: bool | None) -> dict[str, Any]:
    if isinstance(tool, Mapping):
        tool = dict(in_chat_form(tool))
        if _is_server_tool(tool):
            return tool  # refused where it is read; core would make an empty function of it
    made = _converted(convert_to_openai_tool, tool, strict)
    if isinstance(tool, Mapping) or "function" not in made:
        return made
    return {**made, "function": _with_recursion(made["function"], tool)}


def _is_server_tool(tool: Mapping[str, Any]) -> bool:
    """Whether a dict has the type of a provider's own tool, neither a function's nor a JSON Schema's."""
    kind = tool.get("type", "function")
    return kind != "function" and not {"title", "properties", "toolSpec"} & tool.keys()


def to_tools(tools: Sequence[ToolLike] | None, provider: str, strict: bool | None = None) -> list[Tool]:
    """Convert tools to neutral ones.

    Raises:
        UnsupportedContentError: A tool is not a function, such as another provider's web search.
    """
    return [read_tool(tool, provider) for tool in as_tool_dicts(tools, strict)]


def schema_format(schema: Any, strict: bool | None = None) -> ResponseFormat:
    """Return the response format of a pydantic or TypedDict class or a JSON schema.

    Raises:
        ConfigurationError: LangChain cannot create a JSON schema from it.
    """
    if isinstance(schema, EnumMeta):
        # LangChain would treat it as a function and request arguments.
        raise ConfigurationError(
            f"{schema.__name__} is an Enum, not an object schema: use a class with a field of this type."
        )
    function = _with_recursion(_converted(convert_to_openai_function, _without_envelope(schema), strict), schema)
    check_function(function, "schema")
    return ResponseFormat(
        "json_schema",
        schema=function.get("parameters") or {},
        name=function["name"],
        strict=function.get("strict"),
        description=function.get("description") or None,
    )


def _without_envelope(schema: Any) -> Any:
    """Return the function of a tool dict or of a response format; every other form is returned unchanged."""
    if not isinstance(schema, Mapping):
        return schema
    kind = schema.get("type")
    inner = schema.get(kind, schema) if isinstance(kind, str) and kind in _ENVELOPES else schema
    if not isinstance(inner, Mapping) or "name" not in inner or "input_schema" in inner:
        return inner
    return {"parameters": inner.get("schema") or {}, **{key: value for key, value in inner.items() if key != "schema"}}


def _converted(convert: Callable[..., dict[str, Any]], given: Any, strict: bool | None) -> dict[str, Any]:
    try:
        return convert(_as_function(given), strict=strict)
    # RuntimeError: of pydantic 1, which reads TypedDict classes. NameError: of an annotation. AttributeError: of an
    # object that can be called but has no name.
    except (ValueError, TypeError, RuntimeError, NameError, AttributeError) as error:
        raise ConfigurationError(
            f"Cannot derive a JSON schema from {given!r}: give a pydantic class, a TypedDict class without pydantic "
            f"classes in its fields, or a JSON schema with a 'title'. ({error})"
        ) from error


def _as_function(given: Any) -> Any:
    """Return a JSON Schema as a function: core converts only its ``properties``. Other forms are for core."""
    if not isinstance(given, Mapping) or "name" in given or given.get("type") == "function":
        return with_plain_fields(given)
    schema = standing_alone(given) if "$ref" in given else given
    return _function(schema["title"], schema.get("description"), schema) if schema.get("title") else given


def _with_recursion(function: dict[str, Any], given: Any) -> dict[str, Any]:
    """Restore the schema of a recursive class, or of a tool with one: core has ``{}`` in place of the recursion."""
    if "{}" not in str(function.get("parameters")):
        return function
    arguments = getattr(given, "tool_call_schema", given)
    if not hasattr(arguments, "model_json_schema"):
        return function
    schema = standing_alone(arguments.model_json_schema())
    if "'$ref'" not in str(schema):
        return function
    return {**function, "parameters": _function("", None, schema)["parameters"]}


def _function(name: str, description: str | None, schema: Mapping[str, Any]) -> dict[str, Any]:
    parameters = {key: value for key, value in schema.items() if key not in {"title", "description"}}
    return {"name": name, **({"description": description} if description else {}), "parameters": parameters}
