"""Shared by the Chat Completions dialects: parse a request, collect an answer, build common objects."""

from __future__ import annotations

import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from linkspan_sandbox.engine import Call, EngineError, HTTPAnswer, Piece, RawEvent

if TYPE_CHECKING:
    from linkspan.conversation import Delta, TokenLogprob, ToolCallDelta, Usage

__all__ = [
    "Answer",
    "RequestError",
    "first_piece",
    "gather",
    "logprobs_json",
    "new_id",
    "read_call",
    "tool_call_delta_json",
    "usage_json",
    "usage_of_all",
]

#: Sampling parameters that are passed to an engine.
_SAMPLING = ("temperature", "top_p", "top_k", "min_p", "seed", "presence_penalty", "frequency_penalty")


class RequestError(Exception):
    """Raised for a request body that the API does not accept; ``field`` names the offending field."""

    def __init__(self, message: str, *, field: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.field = field


def read_call(body: Any, api: str, roles: Sequence[str]) -> Call:
    """Parse a Chat Completions body.

    Raises:
        RequestError: A field is missing, has the wrong type or is not allowed.
    """
    if not isinstance(body, Mapping):
        raise RequestError("the body must be a JSON object")
    model = body.get("model")
    if not isinstance(model, str) or not model:
        raise RequestError("model is required", field="model")
    stop = _optional(body, "stop", (str, list)) or ()
    if not all(isinstance(text, str) for text in ([stop] if isinstance(stop, str) else stop)):
        raise RequestError("Input should be a valid string", field="stop")
    stream_options = _optional(body, "stream_options", (dict,))
    stream = bool(_optional(body, "stream", (bool,)))
    if stream_options is not None and not stream:
        raise RequestError("Stream options can only be defined when `stream=True`.", field="stream_options")
    tools = _optional(body, "tools", (list,))
    if tools is not None and not tools:
        raise RequestError("tools must not be an empty list", field="tools")
    return Call(
        api=api,
        model=model,
        messages=_messages(body, roles),
        stream=stream,
        max_tokens=_max_tokens(body),
        stop=[stop] if isinstance(stop, str) else list(stop),
        parameters={name: body[name] for name in _SAMPLING if body.get(name) is not None},
        tools=_tools(tools or ()),
        tool_choice=_tool_choice(body, tools or ()),
        response_format=_response_format(body),
        logprobs=(_optional(body, "top_logprobs", (int,)) or 0) if body.get("logprobs") else None,
    )


def _optional(body: Mapping[str, Any], name: str, kinds: tuple[type, ...]) -> Any:
    value = body.get(name)
    if value is None:
        return None
    # A bool is an int in Python, but not in JSON.
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        expected = " or ".join(kind.__name__ for kind in kinds)
        raise RequestError(f"{name} must be {expected}, not {type(value).__name__}", field=name)
    return value


def _max_tokens(body: Mapping[str, Any]) -> int | None:
    for name in ("max_completion_tokens", "max_tokens"):
        value: int | None = _optional(body, name, (int,))
        if value is not None:
            if value < 1:
                raise RequestError(f"{name} must be at least 1, got {value}", field=name)
            return value
    return None


def _messages(body: Mapping[str, Any], roles: Sequence[str]) -> list[Mapping[str, Any]]:
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise RequestError("messages must be a list with at least one message", field="messages")
    for index, message in enumerate(messages):
        place = f"messages[{index}]"
        if not isinstance(message, Mapping):
            raise RequestError(f"{place} must be an object", field="messages")
        role = message.get("role")
        if role not in roles:
            raise RequestError(f"{place}.role must be one of {', '.join(roles)}, not {role!r}", field="messages")
        content = message.get("content")
        if not isinstance(content, (str, list)) and not (role == "assistant" and content is None):
            raise RequestError(f"{place}.content must be a string or a list of parts", field="messages")
        if isinstance(content, list) and not all(isinstance(part, Mapping) and "type" in part for part in content):
            raise RequestError(f"{place}.content must hold objects with a type", field="messages")
        if role == "tool" and not isinstance(message.get("tool_call_id"), str):
            raise RequestError(f"{place}.tool_call_id is required", field="messages")
    return messages


def _tools(tools: Sequence[Any]) -> list[Mapping[str, Any]]:
    for index, tool in enumerate(tools):
        function = tool.get("function") if isinstance(tool, Mapping) and tool.get("type") == "function" else None
        if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
            raise RequestError(f"tools[{index}] must be a function with a name", field="tools")
    return list(tools)


def _tool_choice(body: Mapping[str, Any], tools: Sequence[Mapping[str, Any]]) -> str | Mapping[str, Any] | None:
    choice: str | Mapping[str, Any] | None = _optional(body, "tool_choice", (str, dict))
    if choice is None:
        return None
    if isinstance(choice, str):
        if choice not in ("auto", "none", "required"):
            raise RequestError(f"tool_choice must be auto, none, required or a function, not {choice!r}")
        if choice != "none" and not tools:
            raise RequestError("When using `tool_choice`, `tools` must be set.", field="tool_choice")
        return choice
    function = choice.get("function")
    name = function.get("name") if isinstance(function, Mapping) else None
    if name not in [tool["function"]["name"] for tool in tools]:
        raise RequestError(f"tool_choice names {name!r}, which is not among the tools", field="tool_choice")
    return choice


def _response_format(body: Mapping[str, Any]) -> Mapping[str, Any] | None:
    wanted: Mapping[str, Any] | None = _optional(body, "response_format", (dict,))
    if wanted is None:
        return None
    if wanted.get("type") not in ("text", "json_object", "json_schema"):
        raise RequestError("response_format.type must be text, json_object or json_schema", field="response_format")
    if wanted["type"] == "json_schema" and not isinstance(wanted.get("json_schema"), Mapping):
        raise RequestError("response_format.json_schema is required", field="response_format")
    return wanted


# --------------------------------------------------------------------------- answers


async def first_piece(pieces: AsyncGenerator[Piece, None]) -> tuple[Piece | None, AsyncGenerator[Piece, None]]:
    """Wait for the first piece, so that an earlier failure can still be an HTTP error; return it and all pieces."""
    first = await anext(pieces, None)

    async def all_of_them() -> AsyncGenerator[Piece, None]:
        try:
            if first is not None:
                yield first
                async for piece in pieces:
                    yield piece
        finally:
            await pieces.aclose()

    return first, all_of_them()


@dataclass
class Answer:
    """A whole answer, collected from its pieces."""

    text: str = ""
    reasoning: str = ""
    tool_calls: list[dict[str, Any]] = field(default_factory=list)
    finish_reason: str | None = None
    usage: Usage | None = None
    logprobs: list[TokenLogprob] = field(default_factory=list)
    model: str | None = None


async def gather(pieces: AsyncIterator[Piece]) -> Answer | HTTPAnswer:
    """Collect an answer; an :class:`HTTPAnswer` among the pieces replaces it.

    Raises:
        EngineError: The pieces are stream events, but the call is not streamed.
    """
    answer = Answer()
    async for piece in pieces:
        if isinstance(piece, HTTPAnswer):
            return piece
        if isinstance(piece, RawEvent):
            raise EngineError("the rule's reply has `events` of a stream, but the request is not streamed")
        _add(answer, piece)
    return answer


def _add(answer: Answer, delta: Delta) -> None:
    answer.text += delta.text
    answer.reasoning += delta.reasoning
    answer.finish_reason = delta.finish_reason or answer.finish_reason
    answer.usage = delta.usage or answer.usage
    answer.model = delta.model or answer.model
    answer.logprobs.extend(delta.logprobs or ())
    for call in delta.tool_calls:
        while len(answer.tool_calls) <= call.index:
            answer.tool_calls.append({"id": None, "type": "function", "function": {"name": "", "arguments": ""}})
        target = answer.tool_calls[call.index]
        target["id"] = call.id or target["id"]
        target["function"]["name"] = call.name or target["function"]["name"]
        target["function"]["arguments"] += call.arguments


def new_id(prefix: str) -> str:
    """Return an id in the form that servers use."""
    return f"{prefix}-{uuid.uuid4().hex}"


def usage_json(usage: Usage) -> dict[str, Any]:
    """Return the ``usage`` object."""
    details: Any = None if usage.cached_tokens is None else {"cached_tokens": usage.cached_tokens}
    counts: dict[str, Any] = {
        "prompt_tokens": usage.input_tokens,
        "total_tokens": usage.total_tokens,
        "completion_tokens": usage.output_tokens,
        "prompt_tokens_details": details,
    }
    if usage.reasoning_tokens is not None:
        counts["completion_tokens_details"] = {"reasoning_tokens": usage.reasoning_tokens}
    return counts


def usage_of_all(answers: Sequence[Answer]) -> dict[str, Any] | None:
    """Return the ``usage`` of several answers to one prompt; the prompt's tokens count once."""
    first = answers[0].usage
    if first is None:
        return None
    made = sum(answer.usage.output_tokens or 0 for answer in answers if answer.usage is not None)
    return usage_json(replace(first, output_tokens=made, total_tokens=(first.input_tokens or 0) + made))


def logprobs_json(logprobs: Sequence[TokenLogprob]) -> dict[str, Any]:
    """Return the ``logprobs`` object of a choice."""
    return {
        "content": [
            {**_token_json(entry), "top_logprobs": [_token_json(top) for top in entry.top]} for entry in logprobs
        ]
    }


def _token_json(entry: TokenLogprob) -> dict[str, Any]:
    return {"token": entry.token, "logprob": entry.logprob, "bytes": list(entry.bytes or entry.token.encode())}


def tool_call_delta_json(call: ToolCallDelta) -> dict[str, Any]:
    """Return a piece of a tool call: the first has id, type and name, the others have argument text."""
    if call.name is None:
        return {"index": call.index, "function": {"arguments": call.arguments}}
    function = {"name": call.name, **({"arguments": call.arguments} if call.arguments else {})}
    return {"id": call.id, "type": "function", "index": call.index, "function": function}
