"""LangChain's spellings of tools, tool choices and response formats -> the neutral ones."""

from __future__ import annotations

from collections.abc import Mapping
from enum import EnumMeta
from typing import TYPE_CHECKING, Any

from langchain_core.utils.function_calling import convert_to_openai_function, convert_to_openai_tool

from linkspan.conversation import NamedTool, ResponseFormat, Tool
from linkspan.errors import ConfigurationError, UnsupportedContentError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import TypeAlias, Union

    from langchain_core.tools import BaseTool

    from linkspan.conversation import ToolChoice

    #: What ``bind_tools`` takes: a LangChain tool, a function, a pydantic or TypedDict class, a JSON schema or tool
    #: dict.
    ToolLike: TypeAlias = Union[dict[str, Any], type, Callable[..., Any], BaseTool]
    #: What ``tool_choice`` may be.
    ToolChoiceLike: TypeAlias = Union[str, bool, dict[str, Any], None]

__all__ = [
    "as_tool_dicts",
    "to_response_format",
    "to_tool_choice",
    "to_tools",
]

_WORDS: dict[str, ToolChoice] = {"auto": "auto", "none": "none", "any": "required", "required": "required"}


def as_tool_dicts(tools: Sequence[ToolLike], strict: bool | None = None) -> list[dict[str, Any]]:
    """Return tools in the dict form that LangChain's own code expects among bound arguments."""
    return [convert_to_openai_tool(tool, strict=strict) for tool in tools]


def to_tools(tools: Sequence[ToolLike], provider: str, strict: bool | None = None) -> list[Tool]:
    """Return tools as neutral ones.

    Raises:
        UnsupportedContentError: For a tool that is not a function, such as another provider's web search.
    """
    return [_to_tool(tool, provider) for tool in as_tool_dicts(tools, strict)]


def _to_tool(tool: dict[str, Any], provider: str) -> Tool:
    # The Responses API has the function's fields beside its type.
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


def to_tool_choice(choice: ToolChoiceLike, names: Sequence[str]) -> ToolChoice | None:
    """Return a tool choice as a neutral one; ``None`` if nothing has to be said.

    Args:
        choice: ``"auto"``, ``"none"``, ``"any"`` or ``"required"`` (also ``True``), a tool's name, or a dict in the
            Chat Completions or Anthropic form.
        names: The names of the tools on offer.

    Raises:
        ConfigurationError: If it names a tool that is not on offer, demands a call of none, or is no choice at all.
    """
    wanted = _read_choice(choice)
    if isinstance(wanted, NamedTool) and wanted.name not in names:
        offered = ", ".join(map(repr, names)) or "none"
        raise ConfigurationError(f"tool_choice names the tool {wanted.name!r}, but the tools given are: {offered}.")
    if wanted == "required" and not names:
        raise ConfigurationError(f"tool_choice={choice!r} demands a tool call, but no tools are given.")
    # Without tools "auto" and "none" say nothing, and APIs refuse a choice among nothing.
    return wanted if names else None


def _read_choice(choice: ToolChoiceLike) -> ToolChoice | None:
    if choice is None or choice is False:
        return None
    if choice is True:
        return "required"
    if isinstance(choice, str):
        return _WORDS.get(choice) or NamedTool(choice)
    if isinstance(choice, Mapping):
        function = choice.get("function")
        name = function.get("name") if isinstance(function, Mapping) else choice.get("name")
        if isinstance(name, str):
            return NamedTool(name)
        if choice.get("type") in _WORDS:
            return _WORDS[choice["type"]]
    raise ConfigurationError(
        f"tool_choice={choice!r} is none that is known: use 'auto', 'none', 'any', 'required', a tool's name, or "
        "{'type': 'function', 'function': {'name': ...}}."
    )


def to_response_format(wanted: Any) -> ResponseFormat | None:
    """Return a response format as a neutral one.

    Args:
        wanted: A dict in the Chat Completions form (``{"type": "json_schema", "json_schema": {...}}``,
            ``{"type": "json_object"}``, ``{"type": "text"}``), a pydantic or TypedDict class, or a JSON schema with a
            title. ``None`` stays ``None``.

    Raises:
        ConfigurationError: If it is none of these.
    """
    if wanted is None or isinstance(wanted, ResponseFormat):
        return wanted
    kind = wanted.get("type") if isinstance(wanted, Mapping) else None
    if kind == "json_object":
        return ResponseFormat("json_object")
    if kind == "text":
        return ResponseFormat("text")
    if kind == "json_schema":
        return _from_json_schema(wanted)
    return schema_format(wanted)


def _from_json_schema(wanted: Mapping[str, Any]) -> ResponseFormat:
    inner = wanted.get("json_schema")
    if not isinstance(inner, Mapping) or not isinstance(inner.get("schema"), Mapping):
        raise ConfigurationError(
            "response_format of type 'json_schema' needs {'json_schema': {'name': ..., 'schema': {...}}}."
        )
    schema = inner["schema"]
    return ResponseFormat(
        "json_schema",
        schema=schema,
        name=inner.get("name") or schema.get("title") or "answer",
        strict=inner.get("strict"),
        description=inner.get("description"),
    )


def schema_format(schema: Any, strict: bool | None = None) -> ResponseFormat:
    """Return the response format for a pydantic or TypedDict class or a JSON schema.

    Raises:
        ConfigurationError: If LangChain cannot make a JSON schema of it.
    """
    if isinstance(schema, EnumMeta):
        # LangChain would take it for a function, and ask for the arguments of that.
        raise ConfigurationError(
            f"{schema.__name__} is an Enum, not an object's schema: give a class with a field of this type."
        )
    try:
        function = convert_to_openai_function(_described(schema), strict=strict)
    except (ValueError, TypeError) as error:
        raise ConfigurationError(
            f"No JSON schema can be made of {schema!r}: give a pydantic or TypedDict class, or a JSON schema with a "
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
    """Return the function of a tool dict: core's conversion takes every other form as it is."""
    if not isinstance(schema, Mapping) or schema.get("type") != "function":
        return schema
    function = schema.get("function", schema)
    return {"parameters": {}, **function} if isinstance(function, Mapping) else schema
