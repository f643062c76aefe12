"""The tools, tool choice and response format of a call, in all forms in which callers write them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from linkspan.conversation import NamedTool, ResponseFormat, Tool
from linkspan.errors import ConfigurationError, UnsupportedContentError
from linkspan.json_schema import require_object

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from linkspan.conversation import ToolChoice

__all__ = ["check_function", "in_chat_form", "listed_tools", "read_response_format", "read_tool", "read_tool_choice"]

#: Types of a function's fields, and their names for errors.
_FUNCTION_FIELDS: Mapping[str, tuple[type, str]] = {
    "name": (str, "text"),
    "description": (str, "text"),
    "parameters": (Mapping, "a JSON Schema object"),
    "strict": (bool, "True or False"),
}
#: The fields of the parameters in Anthropic's form of a tool, and in MCP's.
_OTHER_PARAMETERS = ("input_schema", "inputSchema")
_CHOICES: Mapping[str, ToolChoice] = {"auto": "auto", "none": "none", "any": "required", "required": "required"}


def listed_tools(tools: Any) -> list[Any]:
    """Return the tools of a call as a list; ``None`` means none.

    Raises:
        ConfigurationError: It is not a list of tools, or a function among them has no name.
    """
    if tools is None:
        return []
    if isinstance(tools, (str, bytes, Mapping)) or not isinstance(tools, Iterable):
        raise ConfigurationError(f"tools must be a list of tools, not {type(tools).__name__}.")
    listed = list(tools)
    for tool in listed:
        if callable(tool) and not any(hasattr(tool, field) for field in ("__name__", "name", "metadata")):
            raise ConfigurationError(
                f"The tool {tool!r} has no name: call it in a function of your own, or give it a name as a tool object."
            )
    return listed


def in_chat_form(tool: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a tool dict in the form of Chat Completions if it is in Anthropic's or MCP's; others are unchanged."""
    parameters = next((tool[field] for field in _OTHER_PARAMETERS if field in tool), None)
    if parameters is None:
        return tool
    function = {field: tool[field] for field in _FUNCTION_FIELDS if tool.get(field) is not None}
    return {"type": "function", "function": {**function, "parameters": parameters}}


def check_function(function: Mapping[str, Any], what: str) -> None:
    """Check the types of a function's fields. ``what`` it is for: a tool or a schema.

    Raises:
        ConfigurationError: A field is of the wrong type.
    """
    for field, (kind, words) in _FUNCTION_FIELDS.items():
        value = function.get(field)
        if value is not None and not isinstance(value, kind):
            raise ConfigurationError(f"The {field} of a {what} must be {words}, not {type(value).__name__}.")


def read_tool(tool: Mapping[str, Any], provider: str) -> Tool:
    """Return the tool of a dict in the form of Chat Completions, Responses, Anthropic or MCP.

    Raises:
        ConfigurationError: It has no name, a field is of the wrong type, or its parameters are not those of an object.
        UnsupportedContentError: It is not a function, such as another provider's web search.
    """
    tool = in_chat_form(tool)
    # The Responses API puts the function's fields next to its type.
    function = tool.get("function", tool)
    if tool.get("type", "function") != "function" or not isinstance(function, Mapping):
        raise UnsupportedContentError(
            f"A tool of type {tool.get('type')!r} runs on its own provider's servers; {provider} takes functions only.",
            provider=provider,
        )
    if not function.get("name"):
        raise ConfigurationError(f"A tool has no name: {dict(function)!r}. Give its function a 'name'.")
    check_function(function, "tool")
    parameters = function.get("parameters") or {}
    if parameters.get("type") != "object" and "properties" not in parameters:
        require_object(parameters, function["name"], "describe its arguments by name", provider)
    return Tool(
        name=function["name"],
        description=function.get("description") or None,
        parameters=parameters,
        strict=function.get("strict"),
    )


def read_tool_choice(choice: Any, names: Sequence[str]) -> ToolChoice | None:
    """Return a neutral tool choice; ``None`` if nothing needs to be sent.

    Args:
        choice: ``"auto"``, ``"none"``, ``"any"`` or ``"required"`` (also ``True``), a tool's name, or a dict in the
            Chat Completions or Anthropic form; ``None`` and ``False`` mean no choice.
        names: The names of the given tools.

    Raises:
        ConfigurationError: The choice names an unknown tool, requires a call without tools, or has an unknown form.
    """
    wanted = _wanted(choice)
    if isinstance(wanted, NamedTool) and wanted.name not in names:
        offered = ", ".join(map(repr, names)) or "none"
        raise ConfigurationError(f"tool_choice names the tool {wanted.name!r}, but the tools given are: {offered}.")
    if wanted == "required" and not names:
        raise ConfigurationError(f"tool_choice={choice!r} demands a tool call, but no tools are given.")
    # Without tools "auto" and "none" mean nothing, and APIs refuse them.
    return wanted if names else None


def _wanted(choice: Any) -> ToolChoice | None:
    if choice is None or choice is False or isinstance(choice, NamedTool):
        return choice or None
    if choice is True:
        return "required"
    if isinstance(choice, str):
        return _CHOICES.get(choice) or NamedTool(choice)
    if isinstance(choice, Mapping):
        function = choice.get("function")
        name = function.get("name") if isinstance(function, Mapping) else choice.get("name")
        if isinstance(name, str):
            return NamedTool(name)
        if choice.get("type") in _CHOICES:
            return _CHOICES[choice["type"]]
    raise ConfigurationError(
        f"Unknown tool_choice {choice!r}: use 'auto', 'none', 'any', 'required', a tool's name, or "
        "{'type': 'function', 'function': {'name': ...}}."
    )


def read_response_format(wanted: Any, read_schema: Callable[[Any], ResponseFormat]) -> ResponseFormat | None:
    """Return a neutral response format.

    Args:
        wanted: A dict in the Chat Completions form (``{"type": "json_schema", "json_schema": {...}}``,
            ``{"type": "json_object"}``, ``{"type": "text"}``), or a schema for ``read_schema``. ``None`` stays
            ``None``.
        read_schema: Reads a class or a JSON schema, as the framework does.

    Raises:
        ConfigurationError: The format has another form.
    """
    if wanted is None or isinstance(wanted, ResponseFormat):
        return wanted
    kind = wanted.get("type") if isinstance(wanted, Mapping) else None
    if kind in ("json_object", "text"):
        return ResponseFormat(kind)
    if kind != "json_schema":
        return read_schema(wanted)
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
