"""Convert LangChain messages to the neutral conversation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    ChatMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)

from linkspan.call_history import arguments_text
from linkspan.conversation import ENCRYPTED_REASONING, Audio, File, Message, Reasoning, Text, ToolCall, Video
from linkspan.errors import InvalidRequestError, UnsupportedContentError
from linkspan.media import image_from_base64, image_from_url
from linkspan.tool_arguments import parse_arguments
from linkspan.turns import refusal_as_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from linkspan.conversation import Part, Role

__all__ = ["to_conversation"]

_ROLES: dict[str, Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "ai": "assistant",
    "tool": "tool",
    "data": "data",
}

#: Blocks that repeat ``AIMessage.tool_calls`` and ``invalid_tool_calls``, as several providers spell them.
_CALL_BLOCKS = frozenset(
    {"tool_call", "invalid_tool_call", "tool_call_chunk", "tool_use", "function_call", "custom_tool_call"}
)


def to_conversation(messages: Sequence[BaseMessage], provider: str) -> list[Message]:
    """Convert LangChain messages to neutral ones.

    Raises:
        UnsupportedContentError: No API supports a role or content block.
        InvalidRequestError: Arguments of an earlier call are not JSON, or a message is malformed.
    """
    converted: list[Message] = []
    try:
        for message in messages:
            converted.append(_to_message(message, provider, len(converted)))
    except (AttributeError, KeyError, TypeError) as error:  # core checks the types of new messages, not of changes
        place = len(converted)
        raise InvalidRequestError(
            f"Message {place} of the conversation, {type(messages[place]).__name__}, is malformed: a part of it is of "
            f"the wrong type or missing ({type(error).__name__}: {error}).",
            provider=provider,
        ) from error
    return converted


def _to_message(message: BaseMessage, provider: str, place: int) -> Message:
    content = message.content
    if isinstance(content, str):
        # A shortcut for the usual message; the general path below gives the same result.
        if type(message) is HumanMessage:
            return Message("user", [Text(content)], message.name)
        if type(message) is AIMessage and content and _only_text(message):
            return Message("assistant", [Text(content)], message.name)
    role = _role_of(message, provider)
    if isinstance(message, AIMessage):
        return _assistant(message, provider, place)
    parts = _parts(message.content, provider)
    if role == "tool":
        return _tool(message, parts)
    return Message(role, parts, name=message.name)


def _only_text(message: AIMessage) -> bool:
    return not (
        message.tool_calls
        or message.additional_kwargs
        or message.invalid_tool_calls
        or message.response_metadata.get("extra")
    )


def _role_of(message: BaseMessage, provider: str) -> Role:
    if isinstance(message, HumanMessage):
        return "user"
    if isinstance(message, AIMessage):
        return "assistant"
    if isinstance(message, SystemMessage):
        return "system"
    if isinstance(message, ToolMessage):
        return "tool"
    if isinstance(message, ChatMessage):
        role = _ROLES.get(message.role)
        if role is not None:
            return role
        raise UnsupportedContentError(
            f"The role {message.role!r} of a ChatMessage is unknown to {provider}; use one of {', '.join(_ROLES)}.",
            provider=provider,
        )
    raise UnsupportedContentError(
        f"A message of type {message.type!r} ({type(message).__name__}) cannot be sent to {provider}.",
        provider=provider,
    )


def _tool(message: BaseMessage, parts: list[Part]) -> Message:
    extra = message.additional_kwargs
    call_id = message.tool_call_id if isinstance(message, ToolMessage) else extra.get("tool_call_id")
    failed = isinstance(message, ToolMessage) and message.status == "error"
    return Message("tool", parts, name=message.name, tool_call_id=call_id or None, is_error=failed)


def _assistant(message: AIMessage, provider: str, place: int) -> Message:
    calls = [
        ToolCall(call_id, name, arguments_text(arguments, name=name, place=place, provider=provider))
        for call_id, name, arguments in _tool_calls(message)
    ]
    parts = refusal_as_text(_spoken_parts(message.content, provider), message.additional_kwargs.get("refusal"))
    if not any(not isinstance(part, Text) or part.text for part in parts):
        parts = [] if calls else [Text("")]
    reasoning = message.additional_kwargs.get("reasoning_content")
    thought = Reasoning(reasoning if isinstance(reasoning, str) else "", _encrypted_reasoning(message))
    if (thought.text or thought.encrypted) and not any(isinstance(part, Reasoning) for part in parts):
        parts.insert(0, thought)
    return Message("assistant", parts, name=message.name, tool_calls=calls)


def _encrypted_reasoning(message: AIMessage) -> Sequence[str]:
    extra = message.response_metadata.get("extra")
    return extra.get(ENCRYPTED_REASONING, ()) if isinstance(extra, Mapping) else ()


def _tool_calls(message: AIMessage) -> Iterator[tuple[str | None, str, Any]]:
    """Yield id, name and arguments of each call, including invalid ones."""
    begun = _begun_arguments(message)
    for call in message.tool_calls:
        yield call.get("id"), call["name"], begun.get(call.get("id"), call["args"])
    for broken in message.invalid_tool_calls:
        yield broken.get("id"), broken.get("name") or "", broken.get("args")
    if message.tool_calls or message.invalid_tool_calls:
        return
    if not isinstance(message.content, str):
        # A hand-written history may have its calls only as blocks.
        for block in message.content:
            if isinstance(block, dict) and block.get("type") in _CALL_BLOCKS:
                yield _call_of_block(block)
    function = message.additional_kwargs.get("function_call")
    if isinstance(function, Mapping) and function.get("name"):
        yield None, function["name"], function.get("arguments")  # OpenAI's form of calls before it had tools.


def _begun_arguments(message: AIMessage) -> dict[str | None, str]:
    """Return the text of unfinished arguments by call id, of a stream that was not read to its end.

    The message shows what can be parsed so far, which would look like what the model wrote.
    """
    chunks = message.tool_call_chunks if isinstance(message, AIMessageChunk) else ()
    return {chunk["id"]: chunk["args"] for chunk in chunks if chunk["args"] and parse_arguments(chunk["args"]) is None}


def _call_of_block(block: Mapping[str, Any]) -> tuple[str | None, str, Any]:
    """Read a call from a content block: ``input`` (Anthropic), ``args`` or ``arguments`` (others)."""
    arguments = next((block[key] for key in ("args", "input", "arguments") if block.get(key) is not None), None)
    name = block.get("name") or ""
    if not isinstance(name, str):
        raise TypeError(f"the name of a tool call must be text, not {type(name).__name__}")
    return block.get("call_id") or block.get("id"), name, arguments


# --------------------------------------------------------------------------- content


def _parts(content: str | Sequence[str | Mapping[str, Any]], provider: str) -> list[Part]:
    if isinstance(content, str):
        return [Text(content)]
    return [Text(block) if isinstance(block, str) else _part(block, provider) for block in content]


def _spoken_parts(content: str | Sequence[str | Mapping[str, Any]], provider: str) -> list[Part]:
    """Return the parts of an assistant turn, without the private records of its provider.

    Such records (hidden thoughts, signatures, calls and results of tools that ran on its servers) mean nothing to
    another model. They are dropped, so that a conversation can move from one provider to another.
    """
    if isinstance(content, str):
        return [Text(content)]
    parts: list[Part] = []
    for block in content:
        part = Text(block) if isinstance(block, str) else _part_of_answer(block, provider)
        if part is not None:
            parts.append(part)
    return parts


def _part_of_answer(block: Mapping[str, Any], provider: str) -> Part | None:
    kind = block.get("type")
    if kind in _CALL_BLOCKS:
        return None
    if kind == "non_standard":
        value = block.get("value")
        return _part_of_answer(value, provider) if isinstance(value, Mapping) else None
    if kind == "reasoning_content":
        # Bedrock's form of reasoning.
        inner = block.get("reasoning_content")
        thought = inner.get("text") if isinstance(inner, Mapping) else inner
        return Reasoning(thought) if isinstance(thought, str) else None
    # A block with text is not a private record, whatever its type (``output_text``). Merged chunks of other
    # providers may lack a type.
    is_text = kind not in _READERS or (kind == "text" and block.get("text") is None)
    return _text(block) if is_text else _part(block, provider)


def _part(block: Mapping[str, Any], provider: str) -> Part:
    kind = block.get("type")
    read = _READERS.get(kind) if isinstance(kind, str) else None
    part = read(block) if read is not None else None
    if part is not None:
        return part
    facts = "of that type" if read is None else f"with only the keys {sorted(block)}"
    raise UnsupportedContentError(f"Content block {kind!r}: {provider} cannot carry one {facts}.", provider=provider)


def _text(block: Mapping[str, Any]) -> Part | None:
    text = block.get("text")
    return Text(text) if isinstance(text, str) else None


def _refusal(block: Mapping[str, Any]) -> Part | None:
    text = block.get("refusal")
    return Text(text) if isinstance(text, str) else None


def _non_standard(block: Mapping[str, Any]) -> Part | None:
    # The v1 form of a refusal.
    value = block.get("value")
    return _refusal(value) if isinstance(value, Mapping) and value.get("type") == "refusal" else None


def _plain_text(block: Mapping[str, Any]) -> Part | None:
    text = block.get("text")
    if not isinstance(text, str):
        return None
    lead = [str(block[key]) for key in ("title", "context") if block.get(key)]
    return Text("\n".join([*lead, text]))


def _reasoning(block: Mapping[str, Any]) -> Part | None:
    forms = ("reasoning", "thinking", "summary", "content")
    text = next((block[name] for name in forms if block.get(name) is not None), "")
    if isinstance(text, list):
        # OpenAI's and Mistral's forms: a list of texts.
        text = "\n".join(str(entry.get("text", "")) for entry in text if isinstance(entry, Mapping))
    # A v1 reasoning block may contain only another provider's signature, which is not text to send.
    return Reasoning(text) if isinstance(text, str) else None


def _image_url(block: Mapping[str, Any]) -> Part | None:
    given = block.get("image_url")
    if isinstance(given, Mapping):
        url, detail = given.get("url"), given.get("detail") or _detail(block)
    else:
        url, detail = given, _detail(block)
    return image_from_url(url, detail=detail) if isinstance(url, str) else None


def _image(block: Mapping[str, Any]) -> Part | None:
    detail = _detail(block)
    source = block.get("source")
    if isinstance(source, Mapping):
        # Anthropic's form.
        block = {"url": source.get("url"), "base64": source.get("data"), "mime_type": source.get("media_type")}
    url, base64, media_type = _located(block)
    if url is not None:
        return image_from_url(url, detail=detail)
    if base64 is not None:
        return image_from_base64(base64, media_type, detail=detail)
    return None


def _audio(block: Mapping[str, Any]) -> Part | None:
    inner = block.get("input_audio")
    if isinstance(inner, Mapping):
        return Audio(base64=inner.get("data"), format=inner.get("format"))
    url, base64, media_type = _located(block)
    if url is None and base64 is None:
        return None
    subtype = media_type.partition("/")[2].partition(";")[0] if media_type else None
    names = {"mpeg": "mp3", "x-wav": "wav", "wave": "wav"}
    return Audio(base64=base64, format=names.get(subtype, subtype) if subtype else None, url=url)


def _video(block: Mapping[str, Any]) -> Part | None:
    inner = block.get("video_url")
    if isinstance(inner, Mapping):
        return Video(url=inner.get("url"))
    url, base64, media_type = _located(block)
    return None if url is None and base64 is None else Video(base64=base64, media_type=media_type, url=url)


def _file(block: Mapping[str, Any]) -> Part | None:
    inner = block.get("file")
    if isinstance(inner, Mapping):
        data = inner.get("file_data")
        return File(url=data, file_id=inner.get("file_id"), filename=inner.get("filename"))
    url, base64, media_type = _located(block)
    file_id = block.get("file_id")
    if url is None and base64 is None and file_id is None:
        return None
    filename = block.get("filename") or _extras(block).get("filename")
    return File(base64=base64, media_type=media_type, url=url, file_id=file_id, filename=filename)


def _located(block: Mapping[str, Any]) -> tuple[str | None, str | None, str | None]:
    """Return URL, base64 data and media type of a v1 block, or of a v0 block with its ``source_type``."""
    base64 = block.get("base64")
    if base64 is None and block.get("source_type") == "base64":
        base64 = block.get("data")
    return block.get("url"), base64, block.get("mime_type")


def _extras(block: Mapping[str, Any]) -> Mapping[str, Any]:
    # Core moves unknown keys of v0 blocks to ``extras``.
    extras = block.get("extras") or block.get("metadata")
    return extras if isinstance(extras, Mapping) else {}


def _detail(block: Mapping[str, Any]) -> str | None:
    detail = block.get("detail") or _extras(block).get("detail")
    return str(detail) if detail else None


_READERS: dict[str, Callable[[Mapping[str, Any]], Part | None]] = {
    "text": _text,
    "refusal": _refusal,
    "non_standard": _non_standard,
    "text-plain": _plain_text,
    "reasoning": _reasoning,
    "thinking": _reasoning,
    "image_url": _image_url,
    "image": _image,
    "audio": _audio,
    "input_audio": _audio,
    "video": _video,
    "video_url": _video,
    "file": _file,
}
