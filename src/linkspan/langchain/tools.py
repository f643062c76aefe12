"""Convert LangChain's tools and schemas to neutral ones."""

from __future__ import annotations

from collections.abc import Mapping
from enum import EnumMeta
from typing import TYPE_CHECKING, Any

from langchain_core.utils.function_calling import convert_to_openai_function, convert_to_openai_tool

from linkspan.conversation import ResponseFormat, Tool
from linkspan.errors import ConfigurationError, UnsupportedContentError
from linkspan.langchain.typed_dicts import with_plain_fields

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import TypeAlias, Union

    from langchain_core.tools import BaseTool

    #: A tool for ``bind_tools``: a LangChain tool, a function, a pydantic or TypedDict class, a JSON schema or tool
    #: dict.
    ToolLike: TypeAlias = Union[dict[str, Any], type, Callable[..., Any], BaseTool]
    #: Values of ``tool_choice``.
    ToolChoiceLike: TypeAlias = Union[str, bool, dict[str, Any], None]

__all__ = [
    "as_tool_dicts",
    "schema_format",
    "to_tools",
]


def as_tool_dicts(tools: Sequence[ToolLike], strict: bool | None = None) -> list[dict[str, Any]]:
    """Convert tools to the dicts that LangChain's own code expects among bound arguments."""
    return [convert_to_openai_tool(with_plain_fields(tool), strict=strict) for tool in tools]


def to_tools(tools: Sequence[ToolLike], provider: str, strict: bool | None = None) -> list[Tool]:
    """Convert tools to neutral ones.

    Raises:
        UnsupportedContentError: A tool is not a function, such as another provider's web search.
    """
    return [_to_tool(tool, provider) for tool in as_tool_dicts(tools, strict)]


def _to_tool(tool: dict[str, Any], provider: str) -> Tool:
    # The Responses API puts the function's fields next to its type.
    function = tool.get("function", tool if tool.get("type") == "function" else None)
    if tool.get("type", "function") != "function" or not isinstance(function, Mapping):
        raise UnsupportedContentError(
            f"A tool of type {tool.get('type')!r} runs on its own provider's servers; {provider} takes functions only.",
            provider=provider,
        )
    if not function.get("name"):
        raise ConfigurationError(f"A tool has no name: {dict(tool)!r}. Give its function a 'name'.")
    return Tool(
        name=function["name"],
        description=function.get("description") or None,
        parameters=function.get("parameters") or {},
        strict=function.get("strict"),
    )


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
    try:
        function = convert_to_openai_function(_described(schema), strict=strict)
    except (ValueError, TypeError) as error:
        raise ConfigurationError(
            f"Cannot derive a JSON schema from {schema!r}: give a pydantic or TypedDict class, or a JSON schema with a "
            f"'title'. ({error})"
        ) from error
    return ResponseFormat(
        "json_schema",
        schema=function.get("parameters") or {},
        name=function["name"],
        strict=strict,
        description=function.get("description") or None,
    )


def _described(schema: Any) -> Any:
    """Return the function of a tool dict; core converts every other form."""
    if not isinstance(schema, Mapping) or schema.get("type") != "function":
        return with_plain_fields(schema)
    function = schema.get("function", schema)
    return {"parameters": {}, **function} if isinstance(function, Mapping) else schema
