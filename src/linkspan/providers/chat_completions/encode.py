"""Encode a conversation as a Chat Completions body."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from linkspan.call_history import answered_call, object_text, with_call_ids
from linkspan.conversation import DATA_ROLE_ADVICE, Audio, Image, NamedTool, Reasoning, Text, Video, kind_of_part
from linkspan.errors import UnsupportedContentError
from linkspan.providers.chat_completions.call_ids import with_ids_for_model
from linkspan.providers.data_role import carry_data
from linkspan.providers.tool_names import ToolNames, wire_name

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from linkspan.conversation import ChatRequest, Message, Part, ResponseFormat, Tool, ToolChoice

__all__ = ["Dialect", "encode_calls", "encode_request", "prepare", "unsupported_part", "unsupported_role", "url_of"]


@dataclass(frozen=True, kw_only=True)
class Dialect:
    """The differences of an API.

    Attributes:
        provider: The API's short name.
        title: Its display name, for errors.
        roles: The supported roles.
        user_parts: Supported kinds of parts in a user turn, besides text.
        tool_parts: Supported kinds of parts in a tool result, besides text.
        reasoning_field: The key for reasoning of earlier turns; ``None`` if it is unsupported.
        hints: Advice by kind of part, added to the error that refuses it.
        asks_stream_usage: Whether token counts of a stream must be requested.
        text_beside_calls: Whether an assistant turn may have text and tool calls; else the text becomes an earlier
            turn.
        joins_text: Whether content must be one text instead of a list of parts; texts are joined by line breaks.
        check_part: Raises an error for a part that the API refuses in spite of its kind. Not called for texts.
    """

    provider: str
    title: str
    roles: frozenset[str] = frozenset({"system", "user", "assistant", "tool"})
    user_parts: tuple[type, ...] = (Image,)
    tool_parts: tuple[type, ...] = ()
    reasoning_field: str | None = "reasoning_content"
    hints: tuple[tuple[type, str], ...] = ()
    asks_stream_usage: bool = True
    text_beside_calls: bool = True
    joins_text: bool = False
    check_part: Callable[[Part], None] | None = None


def encode_request(request: ChatRequest, dialect: Dialect, *, stream: bool) -> dict[str, Any]:
    """Encode the body. It contains only what the request sets.

    Raises:
        UnsupportedContentError: The API does not support a role or part.
    """
    request = prepare(request)
    messages = carry_data(request, has_role="data" in dialect.roles)
    body: dict[str, Any] = {}
    if request.model is not None:
        body["model"] = request.model
    body["messages"] = _encode_messages(messages, dialect, send_reasoning=request.send_reasoning)
    body.update(request.parameters)
    if request.stop:
        body["stop"] = list(request.stop)
    if request.tools:
        body["tools"] = [_encode_tool(tool) for tool in request.tools]
    if request.tool_choice is not None:
        body["tool_choice"] = _encode_tool_choice(request.tool_choice)
    if request.response_format is not None:
        body["response_format"] = _encode_response_format(request.response_format)
    if stream:
        body["stream"] = True
        if request.stream_usage and dialect.asks_stream_usage:
            body["stream_options"] = {"include_usage": True}
    body.update(request.extra_body)
    return body


def prepare(request: ChatRequest) -> ChatRequest:
    """Return the request with valid tool names, and an id for each call of earlier turns.

    Raises:
        ConfigurationError: Two tools have one name.
    """
    request = ToolNames(request).on_wire(request)
    origin = f"{request.model or ''} {request.model_origin or ''}"
    messages = with_ids_for_model(with_call_ids(request.messages), origin)
    return request if messages is request.messages else replace(request, messages=messages)


def _encode_messages(messages: Sequence[Message], dialect: Dialect, *, send_reasoning: bool) -> list[dict[str, Any]]:
    encoded = []
    roles = dialect.roles
    for place, message in enumerate(messages):
        role, parts = message.role, message.parts
        if (
            len(parts) == 1
            and type(parts[0]) is Text
            and role in roles
            and message.name is None
            and role != "tool"
            and message.tool_call_id is None
            and not (message.tool_calls or message.is_error)
        ):
            # A shortcut for the usual message; the general path below gives the same result.
            encoded.append({"role": role, "content": parts[0].text})
            continue
        turn = _encode_message(message, dialect, place, send_reasoning=send_reasoning)
        if message.tool_calls and turn["content"] is not None and not dialect.text_beside_calls:
            encoded.append({"role": role, "content": turn["content"]})
            turn["content"] = None
        encoded.append(turn)
    return encoded


def _encode_message(message: Message, dialect: Dialect, place: int, *, send_reasoning: bool) -> dict[str, Any]:
    if message.role not in dialect.roles:
        raise unsupported_role(message, dialect, place)
    encoded: dict[str, Any] = {"role": message.role}
    if message.role == "assistant":
        _put_assistant_turn(encoded, message, dialect, place, send_reasoning=send_reasoning)
    else:
        encoded["content"] = _encode_content(message, dialect, place)
    if message.name is not None:
        encoded["name"] = message.name
    if message.role == "tool":
        encoded["tool_call_id"] = answered_call(message, place, dialect.provider)
    elif message.tool_call_id is not None:
        encoded["tool_call_id"] = message.tool_call_id
    return encoded


def _put_assistant_turn(
    encoded: dict[str, Any], message: Message, dialect: Dialect, place: int, *, send_reasoning: bool
) -> None:
    reasoning = [part.text for part in message.parts if isinstance(part, Reasoning) and part.text]
    spoken = [part for part in message.parts if not isinstance(part, Reasoning)]
    content = _encode_parts(spoken, (), message, dialect, place)
    # Mistral's chat templates answer 400 to "" with tool calls; null works everywhere.
    encoded["content"] = None if message.tool_calls and content == "" else content
    if message.tool_calls:
        encoded["tool_calls"] = encode_calls(message)
    if reasoning and send_reasoning:
        if dialect.reasoning_field is None:
            raise UnsupportedContentError(
                f"{dialect.title} has no field for reasoning of earlier turns (message {place}): leave send_reasoning "
                "unset.",
                provider=dialect.provider,
            )
        encoded[dialect.reasoning_field] = "".join(reasoning)


def encode_calls(message: Message) -> list[dict[str, Any]]:
    """Return the tool calls of a turn."""
    return [
        {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": object_text(call.arguments)}}
        for call in message.tool_calls
    ]


def _encode_content(message: Message, dialect: Dialect, place: int) -> str | list[dict[str, Any]]:
    allowed = {"user": dialect.user_parts, "tool": dialect.tool_parts}.get(message.role, ())
    return _encode_parts(_marked_if_failed(message), allowed, message, dialect, place)


def _marked_if_failed(message: Message) -> Sequence[Part]:
    """Return a turn's parts; of a failed tool's result, the first text is marked, or else a mark comes first."""
    if not message.is_error:
        return message.parts
    for number, part in enumerate(message.parts):
        if isinstance(part, Text):
            marked = Text(message.marked_if_failed(part.text))
            return [*message.parts[:number], marked, *message.parts[number + 1 :]]
    return [Text("Error:"), *message.parts]


def _encode_parts(
    parts: Sequence[Part], allowed: tuple[type, ...], message: Message, dialect: Dialect, place: int
) -> str | list[dict[str, Any]]:
    if not parts:
        return ""
    if len(parts) == 1 and isinstance(parts[0], Text):
        return parts[0].text
    encoded = []
    for part in parts:
        if dialect.check_part is not None and not isinstance(part, Text):
            dialect.check_part(part)
        if not isinstance(part, (Text, *allowed)):
            raise unsupported_part(part, message, dialect, place)
        if isinstance(part, Audio) and part.base64 is None:
            raise UnsupportedContentError(
                f"{dialect.title} takes audio as base64, not as a URL ({message.role} message {place}): download it, "
                "and send its content.",
                provider=dialect.provider,
            )
        encoded.append(_encode_part(part))
    if dialect.joins_text:
        return "\n".join(part["text"] for part in encoded)
    return encoded


def _encode_part(part: Part) -> dict[str, Any]:
    if isinstance(part, Text):
        return {"type": "text", "text": part.text}
    if isinstance(part, Image):
        url = url_of(part)
        image = {"url": url} if part.detail is None else {"url": url, "detail": part.detail}
        return {"type": "image_url", "image_url": image}
    if isinstance(part, Audio) and part.base64 is not None:
        return {"type": "input_audio", "input_audio": {"data": part.base64, "format": part.format}}
    if isinstance(part, Video):
        return {"type": "video_url", "video_url": {"url": url_of(part)}}
    raise UnsupportedContentError(f"A part of type {kind_of_part(part)} has no Chat Completions form.")


def url_of(part: Image | Video) -> str:
    """Return a part's URL, or its data as one."""
    return part.url if part.url is not None else f"data:{part.media_type};base64,{part.base64}"


def _encode_tool(tool: Tool) -> dict[str, Any]:
    function = tool.as_function()
    if tool.strict is not None:
        function["strict"] = tool.strict
    return {"type": "function", "function": function}


def _encode_tool_choice(choice: ToolChoice) -> Any:
    if isinstance(choice, NamedTool):
        return {"type": "function", "function": {"name": choice.name}}
    return choice


def _encode_response_format(wanted: ResponseFormat) -> dict[str, Any]:
    if wanted.kind != "json_schema":
        return {"type": wanted.kind}
    schema: dict[str, Any] = {"name": wire_name(wanted.name or "answer"), "schema": dict(wanted.schema or {})}
    if wanted.strict is not None:
        schema["strict"] = wanted.strict
    if wanted.description is not None:
        schema["description"] = wanted.description
    return {"type": "json_schema", "json_schema": schema}


def unsupported_role(message: Message, dialect: Dialect, place: int) -> UnsupportedContentError:
    """Return the error for an unsupported role."""
    known = ", ".join(sorted(dialect.roles))
    way_out = DATA_ROLE_ADVICE if message.role == "data" else f"It knows {known}."
    return UnsupportedContentError(
        f"{dialect.title} has no role {message.role!r} (message {place}). {way_out}", provider=dialect.provider
    )


def unsupported_part(part: Part, message: Message, dialect: Dialect, place: int) -> UnsupportedContentError:
    """Return the error for an unsupported part in a message of this role."""
    hint = next((f" {text}" for kind, text in dialect.hints if isinstance(part, kind)), "")
    return UnsupportedContentError(
        f"{dialect.title} cannot carry a part of type {kind_of_part(part)!r} in a {message.role} message "
        f"(message {place}).{hint}",
        provider=dialect.provider,
    )
