"""Convert LlamaIndex messages and blocks to the neutral conversation."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llama_index.core.base.llms.types import (
    AudioBlock,
    CachePoint,
    ChatMessage,
    CitationBlock,
    DocumentBlock,
    ImageBlock,
    MessageRole,
    TextBlock,
    ThinkingBlock,
    ToolCallBlock,
    VideoBlock,
)

from linkspan.call_history import arguments_text
from linkspan.conversation import (
    ENCRYPTED_REASONING,
    Audio,
    File,
    Image,
    Message,
    Reasoning,
    Text,
    ToolCall,
    Video,
)
from linkspan.errors import InvalidRequestError, LinkspanError, UnsupportedContentError
from linkspan.media import image_from_base64, image_from_bytes, image_from_url
from linkspan.turns import refusal_as_text

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from io import IOBase

    from linkspan.conversation import Part, Role

__all__ = ["DATA_ROLE_MARKER", "messages_from_llama_index"]

#: Key in ``ChatMessage.additional_kwargs`` that marks untrusted text when its value is ``"data"``. The marker, unlike
#: a subclass or a further role, survives memory and JSON.
DATA_ROLE_MARKER = "linkspan_role"

_ROLES: dict[MessageRole, Role] = {
    MessageRole.SYSTEM: "system",
    MessageRole.DEVELOPER: "system",
    MessageRole.USER: "user",
    MessageRole.ASSISTANT: "assistant",
    MessageRole.CHATBOT: "assistant",
    MessageRole.MODEL: "assistant",
    MessageRole.TOOL: "tool",
    MessageRole.FUNCTION: "tool",
}


def messages_from_llama_index(
    messages: Sequence[ChatMessage], *, provider: str, drop_cache_points: bool = False
) -> list[Message]:
    """Convert LlamaIndex messages to neutral ones. The input is not changed.

    ``drop_cache_points`` leaves out ``CachePoint``: the API caches by itself.

    Raises:
        UnsupportedContentError: A message has an unsupported block, or an unknown data marker.
        InvalidRequestError: Arguments of an earlier call are not JSON, a message is not a ``ChatMessage``, or a file of
            one cannot be read.
    """
    for place, message in enumerate(messages):
        if not isinstance(message, ChatMessage):
            raise InvalidRequestError(
                f"message {place} must be a ChatMessage of LlamaIndex, not a {type(message).__name__}: "
                "ChatMessage(role=..., content=...)",
                provider=provider,
            )
    if drop_cache_points:
        messages = [_without_cache_points(message) for message in messages]
    converted: list[Message] = []
    try:
        for message in messages:
            converted.append(_message(message, provider, len(converted)))
    except LinkspanError:
        raise
    except (AttributeError, KeyError, TypeError, ValueError, OSError) as error:  # ValueError: of a closed file
        raise InvalidRequestError(
            f"message {len(converted)} cannot be read: a part of it is of the wrong type, or a file is missing or "
            f"closed ({type(error).__name__}: {error})",
            provider=provider,
        ) from error
    return converted


def _without_cache_points(message: ChatMessage) -> ChatMessage:
    kept = [block for block in message.blocks if not isinstance(block, CachePoint)]
    return message if len(kept) == len(message.blocks) else message.model_copy(update={"blocks": kept})


def _message(message: ChatMessage, provider: str, place: int) -> Message:
    kwargs = message.additional_kwargs
    blocks = message.blocks
    if len(blocks) == 1 and type(blocks[0]) is TextBlock and not kwargs:
        # A shortcut for the usual message; the general path below gives the same result.
        return Message(_ROLES[message.role], [Text(blocks[0].text)])
    role = _role(message, provider)
    is_result = _ROLES[message.role] == "tool"  # also if it is marked as data
    tool_calls = []
    if role == "assistant":
        tool_calls = [
            ToolCall(call_id, name, arguments_text(arguments, name=name, place=place, provider=provider))
            for call_id, name, arguments in _tool_calls(message)
        ]
        # Another provider's notes on its own answer, which mean nothing to this model.
        blocks = [block for block in blocks if not isinstance(block, (CachePoint, CitationBlock, ToolCallBlock))]
    parts = _parts(blocks, provider, f"{role} message {place}")
    if role == "assistant":
        parts = refusal_as_text(parts, kwargs.get("refusal"))
    if tool_calls:
        # Agents return a turn that only calls tools with an empty text, which is not content.
        parts = [part for part in parts if not (isinstance(part, Text) and not part.text)]
    return Message(
        role=role,
        parts=parts,
        name=_name(kwargs.get("name")),
        tool_calls=tool_calls,
        # After ``return_direct``, agents leave the id on an assistant turn, where it means nothing.
        tool_call_id=_name(kwargs.get("tool_call_id")) if is_result else None,
        is_error=is_result and bool(kwargs.get("is_error")),
    )


def _role(message: ChatMessage, provider: str) -> Role:
    marker = message.additional_kwargs.get(DATA_ROLE_MARKER)
    if marker is None:
        return _ROLES[message.role]
    if marker == "data":
        return "data"
    raise UnsupportedContentError(
        f'additional_kwargs["{DATA_ROLE_MARKER}"] is {marker!r}; it may only be "data", or absent', provider=provider
    )


# --------------------------------------------------------------------------- tool calls


def _tool_calls(message: ChatMessage) -> list[tuple[str | None, str, Any]]:
    """Return id, name and arguments of each call: from the blocks, else from ``additional_kwargs``."""
    blocks = [block for block in message.blocks if isinstance(block, ToolCallBlock)]
    if blocks:
        return [(block.tool_call_id, block.tool_name, block.tool_kwargs) for block in blocks]
    kwargs = message.additional_kwargs
    calls = [(_name(_get(call, "id")), _get(call, "function")) for call in kwargs.get("tool_calls") or ()]
    if not calls and kwargs.get("function_call"):
        calls = [(None, kwargs["function_call"])]  # OpenAI's form of calls before it had tools
    return [(call_id, str(_get(function, "name") or ""), _get(function, "arguments")) for call_id, function in calls]


def _name(value: Any) -> str | None:
    """Return an id or a name as text: other packages also keep numbers."""
    return None if value is None else str(value)


def _get(holder: Any, name: str) -> Any:
    return holder.get(name) if isinstance(holder, dict) else getattr(holder, name, None)


# --------------------------------------------------------------------------- blocks


def _parts(blocks: Sequence[Any], provider: str, where: str) -> list[Part]:
    parts: list[Part] = []
    for block in blocks:
        part = _part(block, provider, where)
        if part is None:
            continue
        last = parts[-1] if parts else None
        if isinstance(part, Text) and isinstance(last, Text):
            last.text += "\n" + part.text  # as ChatMessage.content joins them
        else:
            parts.append(part)
    return parts


def _part(block: Any, provider: str, where: str) -> Part | None:
    for kind, convert in _CONVERTERS.items():
        if isinstance(block, kind):
            return convert(block)
    raise UnsupportedContentError(
        f"a {type(block).__name__} cannot be sent to {provider} ({where}): remove it, or send its content as text",
        provider=provider,
    )


def _text(block: TextBlock) -> Text:
    return Text(block.text)


def _reasoning(block: ThinkingBlock) -> Reasoning | None:
    encrypted = block.additional_information.get(ENCRYPTED_REASONING, ())
    return Reasoning(block.content or "", encrypted) if block.content or encrypted else None


def _image(block: ImageBlock) -> Image:
    if block.image is not None:
        if isinstance(block.image, bytes):
            # The block's own validator has stored them as base64.
            return image_from_base64(block.image.decode("ascii"), block.image_mimetype, detail=block.detail)
        return image_from_bytes(_read(block.image), detail=block.detail)
    if block.path is not None:
        return image_from_bytes(Path(block.path).read_bytes(), detail=block.detail)
    if block.url is not None:
        return image_from_url(str(block.url), detail=block.detail)
    raise UnsupportedContentError("an ImageBlock needs image, path or url")


def _audio(block: AudioBlock) -> Audio:
    if block.audio is None and block.path is None and block.url is not None:
        return Audio(url=str(block.url), format=block.format)
    return Audio(base64=_base64(block, block.audio), format=block.format)


def _video(block: VideoBlock) -> Video:
    if block.video is None and block.path is None and block.url is not None:
        return Video(url=str(block.url), media_type=block.video_mimetype)
    return Video(base64=_base64(block, block.video), media_type=block.video_mimetype)


def _document(block: DocumentBlock) -> File:
    if block.data is None and block.path is None and block.url is not None:
        return File(url=block.url, media_type=block.document_mimetype, filename=block.title)
    return File(base64=_base64(block, block.data), media_type=block.document_mimetype, filename=block.title)


def _base64(block: AudioBlock | VideoBlock | DocumentBlock, data: bytes | IOBase | None) -> str:
    if isinstance(data, bytes):
        return data.decode("ascii")  # the block's own validator has stored them as base64
    if data is not None:
        return base64.b64encode(_read(data)).decode("ascii")
    if block.path is not None:
        return base64.b64encode(Path(block.path).read_bytes()).decode("ascii")
    raise UnsupportedContentError(f"a {type(block).__name__} needs data, path or url")


def _read(stream: IOBase) -> bytes:
    """Read a stream and restore its position, because the same block is sent again with the next turn."""
    position = stream.tell()
    stream.seek(0)
    data: bytes = stream.read()
    stream.seek(position)
    return data


_CONVERTERS: dict[type, Callable[[Any], Part | None]] = {
    TextBlock: _text,
    ImageBlock: _image,
    ThinkingBlock: _reasoning,
    AudioBlock: _audio,
    VideoBlock: _video,
    DocumentBlock: _document,
}
