"""Convert LlamaIndex's tools and schemas to neutral ones."""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING, Any

from llama_index.core.base.llms.types import ChatMessage, MessageRole
from pydantic import BaseModel

from linkspan.call_keywords import read_tool
from linkspan.conversation import ResponseFormat
from linkspan.errors import ConfigurationError
from linkspan.json_schema import standing_alone

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from llama_index.core.tools.types import BaseTool

    from linkspan.conversation import Tool

__all__ = ["chat_arguments", "is_pydantic_class", "pydantic_format", "tool_from"]


def chat_arguments(
    tools: Sequence[BaseTool],
    user_msg: str | ChatMessage | None,
    chat_history: Sequence[ChatMessage] | None,
    *,
    tool_required: bool,
    tool_choice: Any,
    strict: bool | None,
    options: Mapping[str, Any],
) -> dict[str, Any]:
    """Return the arguments for ``chat`` that offer tools to the model. The history is copied, never changed.

    Args:
        tools: The tools; without any it is an ordinary chat.
        user_msg: The user's turn, added after the history.
        chat_history: Earlier turns.
        tool_required: Whether the model must call a tool; ``tool_choice`` overrides it.
        tool_choice: The caller's choice; ``None`` (which core's programs also pass) means no choice.
        strict: Whether the server must enforce the tools' schemas; ``None`` sends nothing.
        options: Further arguments of the call, passed on.
    """
    messages = list(chat_history or ())
    if user_msg is not None:
        messages.append(
            user_msg if isinstance(user_msg, ChatMessage) else ChatMessage(role=MessageRole.USER, content=user_msg)
        )
    arguments = {**options, "messages": messages}
    if not tools:
        return arguments
    arguments["tools"] = [_specification(tool, strict) for tool in tools]
    choice = "required" if tool_choice is None and tool_required else tool_choice
    if choice is not None:
        arguments["tool_choice"] = choice
    return arguments


def _specification(tool: Any, strict: bool | None) -> dict[str, Any]:
    specification = deepcopy(_as_dict(tool))
    if strict is not None:
        specification.get("function", specification)["strict"] = strict
    return specification


def _described(tool: Any) -> dict[str, Any]:
    """Convert a LlamaIndex tool to a Chat Completions dict, with its own name.

    Core cleans names and then does not find the tool by the cleaned name; the codec cleans names and restores them in
    answers. Core also drops top-level keys of a schema other than its properties, such as a ``$ref``.
    """
    metadata = tool.metadata
    described: dict[str, Any] = metadata.to_openai_tool(skip_length_check=True)
    function = {**described["function"], "name": metadata.get_name()}
    if metadata.fn_schema is not None and (
        "$defs" in function["parameters"] or "properties" not in function["parameters"]
    ):
        whole = standing_alone(metadata.fn_schema.model_json_schema())
        function["parameters"] = {name: value for name, value in whole.items() if name not in {"title", "description"}}
    return {**described, "function": function}


def tool_from(tool: Any, provider: str) -> Tool:
    """Convert a LlamaIndex tool, a function, or a dict in the Chat Completions or Responses form.

    Raises:
        ConfigurationError: The tool has another form.
        UnsupportedContentError: It is not a function, such as another provider's web search.
    """
    return read_tool(_as_dict(tool), provider)


def _as_dict(tool: Any) -> dict[str, Any]:
    try:
        if not isinstance(tool, dict) and not hasattr(tool, "metadata") and callable(tool):
            from llama_index.core.tools import FunctionTool  # noqa: PLC0415  # functions are rarely given as they are

            tool = FunctionTool.from_defaults(tool)
        if hasattr(tool, "metadata"):
            tool = _described(tool)
    except (ValueError, TypeError, RuntimeError, NameError, AttributeError) as error:  # of core and of pydantic
        raise ConfigurationError(
            f"tools: {tool!r} cannot be described as a function whose arguments have types: {error}"
        ) from error
    if not isinstance(tool, dict):
        raise ConfigurationError(
            "tools: each must be a LlamaIndex tool, a function or a dict of the form "
            f'{{"type": "function", "function": {{"name": ..., "parameters": ...}}}}, not {type(tool).__name__}'
        )
    return tool


def is_pydantic_class(schema: Any) -> bool:
    """Whether it is a class of pydantic 2. On Python 3.10, ``issubclass`` fails for ``list[int]``."""
    return BaseModel in getattr(schema, "__mro__", ())


def pydantic_format(schema: Any) -> ResponseFormat:
    """Return the response format of a pydantic class.

    Raises:
        ConfigurationError: The schema is not a pydantic class.
    """
    if is_pydantic_class(schema):
        described = schema.model_json_schema()
        return ResponseFormat(
            "json_schema", schema=described, name=schema.__name__, description=described.get("description")
        )
    raise ConfigurationError(
        'response_format must be {"type": "json_schema", "json_schema": {"name": ..., "schema": {...}}}, '
        '{"type": "json_object"}, {"type": "text"} or a pydantic class.'
    )
