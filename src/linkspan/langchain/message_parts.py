"""Convert the content of LangChain messages to neutral parts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from linkspan.conversation import Audio, File, Reasoning, Text, Video
from linkspan.errors import UnsupportedContentError
from linkspan.media import image_from_base64, image_from_url

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from linkspan.conversation import Part

__all__ = ["CALL_BLOCKS", "parts_of", "parts_of_answer"]

#: Blocks that repeat ``AIMessage.tool_calls`` and ``invalid_tool_calls``, as several providers spell them.
CALL_BLOCKS = frozenset(
    {"tool_call", "invalid_tool_call", "tool_call_chunk", "tool_use", "function_call", "custom_tool_call"}
)


def parts_of(content: str | Sequence[str | Mapping[str, Any]], provider: str) -> list[Part]:
    """Return the parts of a message.

    Raises:
        UnsupportedContentError: No API supports a content block.
    """
    if isinstance(content, str):
        return [Text(content)]
    return [Text(block) if isinstance(block, str) else _part(block, provider) for block in content]


def parts_of_answer(content: str | Sequence[str | Mapping[str, Any]], provider: str) -> list[Part]:
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
    if kind in CALL_BLOCKS:
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
