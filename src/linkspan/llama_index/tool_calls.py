"""Read tool calls from LlamaIndex's responses, and keep half calls from running."""

from __future__ import annotations

import contextlib
import json
from copy import deepcopy
from typing import TYPE_CHECKING, Any

from llama_index.core.base.llms.types import ChatMessage, ChatResponse, ToolCallBlock
from llama_index.core.llms.function_calling import FunctionCallingLLM
from llama_index.core.llms.llm import ToolSelection
from pydantic import ConfigDict

from linkspan.conversation import Completion, ToolCall
from linkspan.errors import ContentBlockedError, InvalidResponseError
from linkspan.llama_index.partial_answers import PartialChatResponse
from linkspan.owned_generator import OwnedGenerator
from linkspan.providers.filters.blocked import block_reason
from linkspan.tool_arguments import CUT_OFF_REASONS, as_json_text, judge_calls, parse_arguments

if TYPE_CHECKING:
    from collections.abc import Sequence

    from llama_index.core.base.llms.types import ChatResponseAsyncGen, ChatResponseGen
    from llama_index.core.tools.types import BaseTool

    from linkspan.errors import LinkspanError

__all__ = ["CheckedToolStreams", "NoToolCallError", "first_call_only", "legacy_call", "tool_selections"]


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
