"""Convert LlamaIndex's tools and schemas to neutral ones, and read tool calls from responses."""

from __future__ import annotations

import contextlib
import json
from copy import deepcopy
from typing import TYPE_CHECKING, Any

from llama_index.core.base.llms.types import ChatMessage, ChatResponse, MessageRole, ToolCallBlock
from llama_index.core.llms.function_calling import FunctionCallingLLM
from llama_index.core.llms.llm import ToolSelection
from pydantic import BaseModel, ConfigDict

from linkspan.call_keywords import read_tool
from linkspan.conversation import Completion, ResponseFormat, ToolCall
from linkspan.errors import ConfigurationError, ContentBlockedError, InvalidResponseError
from linkspan.json_schema import standing_alone
from linkspan.llama_index.partial_answers import PartialChatResponse
from linkspan.owned_generator import OwnedGenerator
from linkspan.providers.filters.blocked import block_reason
from linkspan.tool_arguments import CUT_OFF_REASONS, as_json_text, judge_calls, parse_arguments

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from llama_index.core.base.llms.types import ChatResponseAsyncGen, ChatResponseGen
    from llama_index.core.tools.types import BaseTool

    from linkspan.conversation import Tool
    from linkspan.errors import LinkspanError

__all__ = [
    "CheckedToolStreams",
    "chat_arguments",
    "first_call_only",
    "is_pydantic_class",
    "legacy_call",
    "pydantic_format",
    "tool_from",
    "tool_selections",
]


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


# --------------------------------------------------------------------------- calls


def first_call_only(response: ChatResponse) -> ChatResponse:
    """Return the response with at most one tool call, both in the blocks and in ``additional_kwargs``."""
    message = response.message
    calls = [block for block in message.blocks if isinstance(block, ToolCallBlock)]
    legacy = message.additional_kwargs.get("tool_calls") or []
    if len(calls) <= 1 and len(legacy) <= 1:
        return response
    surplus = {id(call) for call in calls[1:]}
    kwargs = dict(message.additional_kwargs)
    if legacy:
        kwargs["tool_calls"] = list(legacy[:1])
    blocks = [block for block in message.blocks if id(block) not in surplus]
    trimmed = message.model_copy(update={"blocks": blocks, "additional_kwargs": kwargs})
    return response.model_copy(update={"message": trimmed})


def _checked_chunks(chunks: ChatResponseGen, *, allow_parallel: bool) -> ChatResponseGen:
    """Yield the chunks of a stream, with at most one tool call each unless several are allowed.

    Core's programs ignore what :func:`tool_selections` raises, and would end with half an object. So a broken call ends
    the stream with the error, behind its last chunk. Closing the generator closes the stream.

    Raises:
        InvalidResponseError: The arguments of a call are not one whole JSON object.
    """
    last: ChatResponse | None = None
    with contextlib.closing(chunks) as opened:
        for chunk in opened:
            last = chunk if allow_parallel else first_call_only(chunk)
            yield last
    if last is not None:
        tool_selections(last, error_on_no_tool_call=False)


async def _achecked_chunks(chunks: ChatResponseAsyncGen, *, allow_parallel: bool) -> ChatResponseAsyncGen:
    """Yield the chunks of a stream; see :func:`_checked_chunks`."""
    last: ChatResponse | None = None
    async with OwnedGenerator(chunks) as opened:
        async for chunk in opened:
            last = chunk if allow_parallel else first_call_only(chunk)
            yield last
    if last is not None:
        tool_selections(last, error_on_no_tool_call=False)


class CheckedToolStreams(FunctionCallingLLM):
    """Abstract base of the LLMs whose streams with tools end in an error if a call is broken.

    They also keep ``allow_parallel_tool_calls``, which core leaves to each LLM.
    """

    # As all classes of linkspan: built with the first object, not at import.
    model_config = ConfigDict(defer_build=True)

    def stream_chat_with_tools(  # noqa: PLR0917  # core's signature
        self,
        tools: Sequence[BaseTool],
        user_msg: str | ChatMessage | None = None,
        chat_history: list[ChatMessage] | None = None,
        verbose: bool = False,
        allow_parallel_tool_calls: bool = False,
        tool_required: bool = False,
        **kwargs: Any,
    ) -> ChatResponseGen:
        """Stream a chat with tools: at most one call, unless ``allow_parallel_tool_calls``.

        Raises:
            InvalidResponseError: After the last chunk, if the arguments of a call are not one whole JSON object.
        """
        chunks = super().stream_chat_with_tools(
            tools, user_msg, chat_history, verbose, allow_parallel_tool_calls, tool_required, **kwargs
        )
        return _checked_chunks(chunks, allow_parallel=allow_parallel_tool_calls)

    async def astream_chat_with_tools(  # noqa: PLR0917  # core's signature
        self,
        tools: Sequence[BaseTool],
        user_msg: str | ChatMessage | None = None,
        chat_history: list[ChatMessage] | None = None,
        verbose: bool = False,
        allow_parallel_tool_calls: bool = False,
        tool_required: bool = False,
        **kwargs: Any,
    ) -> ChatResponseAsyncGen:
        """Stream a chat with tools: at most one call, unless ``allow_parallel_tool_calls``.

        Raises:
            InvalidResponseError: After the last chunk, if the arguments of a call are not one whole JSON object.
        """
        chunks = await super().astream_chat_with_tools(
            tools, user_msg, chat_history, verbose, allow_parallel_tool_calls, tool_required, **kwargs
        )
        return _achecked_chunks(chunks, allow_parallel=allow_parallel_tool_calls)


def tool_selections(response: ChatResponse, *, error_on_no_tool_call: bool) -> list[ToolSelection]:
    """Return the calls of an answer in order, or those parsed so far from a chunk before the last.

    The arguments of a finished answer are copies: a tool may change its own, and the history keeps the model's.

    Raises:
        InvalidResponseError: The answer has ended, and the arguments of a call are not one whole JSON object.
        NoToolCallError: There is no call, and ``error_on_no_tool_call`` is set.
        ContentBlockedError: The same, because the answer was blocked or refused.
    """
    blocks = [block for block in response.message.blocks if isinstance(block, ToolCallBlock)]
    if blocks:
        calls = [(block.tool_call_id, block.tool_name, block.tool_kwargs) for block in blocks]
    else:
        calls = [legacy_call(call) for call in response.message.additional_kwargs.get("tool_calls") or ()]
    if not calls and error_on_no_tool_call:
        raise _without_call(response)
    if isinstance(response, PartialChatResponse):
        arguments = [_readable(response, place, given) for place, (_, _, given) in enumerate(calls)]
    else:
        arguments = _whole_arguments(calls, response)
    return [
        ToolSelection(tool_id=call_id or f"call_{number}", tool_name=name, tool_kwargs=given)
        for number, ((call_id, name, _), given) in enumerate(zip(calls, arguments, strict=True))
    ]


class NoToolCallError(InvalidResponseError, ValueError):
    """The model called no tool; also a ``ValueError``, which LlamaIndex's own LLMs raise."""


def _without_call(response: ChatResponse) -> LinkspanError:
    """Return the error for an answer without the expected call."""
    answer = _completion(response, ())
    blocked = block_reason(answer)
    if blocked is not None:
        return ContentBlockedError(
            f"the answer was blocked ({blocked}), so there is no tool call; the error's completion holds it.",
            code=blocked,
            request_id=answer.request_id,
            completion=answer,
        )
    cut = " The token limit cut it off: raise max_tokens." if answer.finish_reason in CUT_OFF_REASONS else ""
    return NoToolCallError(
        "Expected at least one tool call, but the model answered without any "
        f"(finish reason {answer.finish_reason}); the error's partial holds the answer.{cut}",
        request_id=answer.request_id,
        partial=answer,
    )


def _completion(response: ChatResponse, calls: Sequence[ToolCall]) -> Completion:
    facts = response.additional_kwargs
    return Completion(
        text=response.message.content or "",
        tool_calls=list(calls),
        refusal=facts.get("refusal") or "",
        finish_reason=facts.get("finish_reason"),
        request_id=facts.get("request_id"),
    )


def legacy_call(call: Any) -> tuple[str | None, str, Any]:
    """Return the id, the name and the arguments of a call in ``additional_kwargs``, in the form of any LLM."""
    if isinstance(call, dict):
        function = call.get("function") or {}
        return call.get("id"), function.get("name") or "", function.get("arguments")
    return call.id, call.function.name or "", call.function.arguments


def _readable(chunk: PartialChatResponse, place: int, arguments: Any) -> dict[str, Any]:
    return arguments if isinstance(arguments, dict) else chunk.read_arguments(place, as_json_text(arguments))


def _whole_arguments(calls: Sequence[tuple[str | None, str, Any]], response: ChatResponse) -> list[dict[str, Any]]:
    """Return the arguments of all calls of a finished answer. If one call is broken, none may run.

    Raises:
        InvalidResponseError: The arguments of a call are not one whole JSON object.
    """
    read = [
        ToolCall(
            call_id,
            name,
            json.dumps(arguments, default=str) if isinstance(arguments, dict) else as_json_text(arguments),
        )
        for call_id, name, arguments in calls
    ]
    judge_calls(read, response.additional_kwargs.get("finish_reason"))
    problems = [call.problem for call in read if call.problem is not None]
    if problems:
        raise InvalidResponseError(
            " ".join(["The answer's tool calls cannot run.", *problems]),
            request_id=response.additional_kwargs.get("request_id"),
            partial=_completion(response, read),
        )
    return [
        deepcopy(arguments) if isinstance(arguments, dict) else parse_arguments(call.arguments) or {}
        for call, (_, _, arguments) in zip(read, calls, strict=True)
    ]
