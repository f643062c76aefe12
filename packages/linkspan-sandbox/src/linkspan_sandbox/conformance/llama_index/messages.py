"""Points 22 to 24: blocks, images, and the caller's objects."""

from __future__ import annotations

import base64
import io
import struct
import zlib
from typing import TYPE_CHECKING, Any

import pytest
from llama_index.core.base.llms.types import (
    AudioBlock,
    CachePoint,
    ChatMessage,
    CitableBlock,
    CitationBlock,
    DocumentBlock,
    ImageBlock,
    MessageRole,
    TextBlock,
    ThinkingBlock,
    ToolCallBlock,
    VideoBlock,
)
from llama_index.core.prompts import PromptTemplate
from llama_index.core.tools import FunctionTool
from llama_index.core.types import PydanticProgramMode
from pydantic import BaseModel

from linkspan_sandbox import Reply
from linkspan_sandbox.conformance.llama_index.base import CHAT_WAYS, LLMSuite, Script, ask, each
from linkspan_sandbox.conformance.needs import needs

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = ["PNG", "MessageTests"]


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


#: A minimal image: one grey pixel.
PNG = (
    b"\x89PNG\r\n\x1a\n"
    + _chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0))
    + _chunk(b"IDAT", zlib.compress(b"\x00\x7f"))
    + _chunk(b"IEND", b"")
)
_BASE64 = base64.b64encode(PNG).decode()
_DATA_URL = f"data:image/png;base64,{_BASE64}"
_MARK = b"the-mark-of-this-block"
_MARKED = base64.b64encode(_MARK).decode()


def _document() -> DocumentBlock:
    return DocumentBlock(data=_MARK, title="paper.pdf", document_mimetype="application/pdf")


def _citable() -> CitableBlock:
    return CitableBlock(title="A book", source="shelf", content=[TextBlock(text=_MARK.decode())])


def _citation() -> CitationBlock:
    return CitationBlock(
        cited_content=TextBlock(text=_MARK.decode()), source="shelf", title="A book", additional_location_info={}
    )


#: A block, the word that must name it in an error, and what must be in the request otherwise.
_BLOCKS: dict[str, tuple[Callable[[], Any], str, str]] = {
    "text": (lambda: TextBlock(text=_MARK.decode()), "text", _MARK.decode()),
    "image": (lambda: ImageBlock(image=PNG), "image", _BASE64),
    "audio": (lambda: AudioBlock(audio=_MARK, format="wav"), "audio", _MARKED),
    "video": (lambda: VideoBlock(video=_MARK, video_mimetype="video/mp4"), "video", _MARKED),
    "document": (_document, "document|file", _MARKED),
    "cache point": (lambda: CachePoint(cache_control={"type": "ephemeral"}), "cachepoint|cache point", "ephemeral"),
    "citable": (_citable, "citable", _MARK.decode()),
    "citation": (_citation, "citation", _MARK.decode()),
}


class Answer(BaseModel):
    """An answer."""

    word: str


def look_up(page: int) -> str:
    """Look a page up."""
    return f"page {page}"


class MessageTests(LLMSuite):
    """How messages reach the API."""

    @pytest.mark.parametrize("kind", list(_BLOCKS))
    def test_a_block_is_sent_or_refused(self, make: Callable[..., Any], script: Script, kind: str) -> None:
        """Point 22: every type of block is in the request, or raises an error that names it. None is dropped.

        Except a cache point if the API caches automatically: the answer is the same.
        """
        build, name, mark = _BLOCKS[kind]
        script.reply("ok")
        message = ChatMessage(role=MessageRole.USER, blocks=[TextBlock(text="See:"), build()])
        try:
            make().chat([message])
        except Exception as error:  # noqa: BLE001  # each package has its own
            refusal = str(error).lower()
            assert any(word in refusal for word in name.split("|")), refusal
            assert script.requests == 0
        else:
            body = script.sandbox.last_request.content.decode()
            assert "See:" in body
            assert mark in body or (kind == "cache point" and self.caches_prompts)

    def test_texts_are_joined_as_core_joins_them(self, make: Callable[..., Any], script: Script) -> None:
        """Point 22: two text blocks are two lines or two parts, never joined without a separator."""
        script.reply("ok")
        make().chat([ChatMessage(blocks=[TextBlock(text="one"), TextBlock(text="two")])])
        call = script.calls[-1]
        text = call.prompt if call.prompt is not None else call.messages[-1]["content"]
        if not isinstance(text, str):
            assert [part["text"] for part in text] in (["one", "two"], ["one\ntwo"])
        else:
            assert "one\ntwo" in text

    @needs("supports_tools")
    def test_thoughts_and_calls_of_earlier_turns(self, make: Callable[..., Any], script: Script) -> None:
        """Point 22: turns from memory with reasoning, an empty text and calls: each call is sent once."""
        script.reply("ok")
        call = {"id": "c1", "type": "function", "function": {"name": "look_up", "arguments": '{"page": 3}'}}
        turn = ChatMessage(
            role=MessageRole.ASSISTANT,
            blocks=[
                ThinkingBlock(content="Let me see."),
                TextBlock(text=""),
                ToolCallBlock(tool_call_id="c1", tool_name="look_up", tool_kwargs={"page": 3}),
            ],
            additional_kwargs={"tool_calls": [call]},
        )
        result = ChatMessage("page 3", role=MessageRole.TOOL, additional_kwargs={"tool_call_id": "c1"})
        make().chat([ChatMessage("Page 3?"), turn, result])
        asked, called, answered = script.calls[-1].messages
        assert [(sent["id"], sent["function"]["name"]) for sent in called["tool_calls"]] == [("c1", "look_up")]
        assert not called.get("content")
        assert (answered["role"], answered["tool_call_id"], asked["role"]) == ("tool", "c1", "user")

    @pytest.mark.parametrize("given_as", ["url", "data url", "path", "no suffix", "bytes", "BytesIO"])
    def test_images(self, make: Callable[..., Any], script: Script, tmp_path: Path, given_as: str) -> None:
        """Point 23: an image arrives with its type however it is given; an API without images raises."""
        script.reply("ok")
        block = _image(given_as, tmp_path)
        message = ChatMessage(role=MessageRole.USER, blocks=[TextBlock(text="What is it?"), block])
        if not self.supports_images:
            with pytest.raises(Exception, match=r"(?i)image"):
                make().chat([message])
            assert script.requests == 0
            return
        llm = make()
        for _ in range(2):  # a byte stream must not be consumed
            llm.chat([message])
            parts = script.calls[-1].messages[-1]["content"]
            urls = [part["image_url"]["url"] for part in parts if part["type"] == "image_url"]
            assert urls == ["https://example.org/dot.png" if given_as == "url" else _DATA_URL]

    @each(CHAT_WAYS)
    def test_messages_are_left_alone(self, make: Callable[..., Any], script: Script, way: str) -> None:
        """Point 24: the caller's messages are unchanged."""
        script.reply("ok")
        messages = [ChatMessage("a", role=MessageRole.SYSTEM), ChatMessage("b")]
        before = [message.model_copy(deep=True) for message in messages]
        ask(make(), way, messages)
        assert messages == before

    @needs("supports_tools")
    def test_the_history_is_left_alone(self, make: Callable[..., Any], script: Script) -> None:
        """Point 24: a tool chat's history is copied; the user message may be a ``ChatMessage``."""
        script.reply("ok")
        history = [ChatMessage("before")]
        make().chat_with_tools([FunctionTool.from_defaults(look_up)], user_msg=ChatMessage("now"), chat_history=history)
        assert [message.content for message in history] == ["before"]
        assert [message["content"] for message in script.calls[-1].messages] == ["before", "now"]

    def test_options_are_left_alone(self, make: Callable[..., Any], script: Script) -> None:
        """Point 24: so is ``llm_kwargs``."""
        script.reply(Reply('{"word": "yes"}'))
        options = {"temperature": 0.5}
        llm = make() if self.supports_json_schema else make(pydantic_program_mode=PydanticProgramMode.LLM)
        assert llm.structured_predict(Answer, PromptTemplate("?"), llm_kwargs=options) == Answer(word="yes")
        assert options == {"temperature": 0.5}


def _image(given_as: str, folder: Path) -> ImageBlock:
    if given_as == "url":
        return ImageBlock(url="https://example.org/dot.png")
    if given_as == "data url":
        return ImageBlock(url=_DATA_URL)
    if given_as == "bytes":
        return ImageBlock(image=PNG)
    if given_as == "BytesIO":
        return ImageBlock(image=io.BytesIO(PNG))
    path = folder / ("dot.png" if given_as == "path" else "dot")
    path.write_bytes(PNG)
    return ImageBlock(path=path)
