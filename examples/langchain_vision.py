"""Images in LangChain with Scaleway: one by URL, one from local bytes; then both in one question.

``python examples/langchain_vision.py`` calls the real service if ``SCW_SECRET_KEY`` is set. Without a key it starts a
stand-in on this machine with scripted answers that ignore the images: ``pip install 'linkspan[langchain,sandbox]'``.
"""

from __future__ import annotations

import base64
import os
import struct
import zlib
from contextlib import ExitStack
from typing import Any

from langchain_core.messages import HumanMessage

from linkspan.langchain import ChatScaleway

#: A vision model: `linkspan models scaleway` lists them.
MODEL = "mistral-small-3.2-24b-instruct-2506"
#: The service fetches it, so the URL must be public.
ADDRESS = "https://picsum.photos/id/32/512/512"


def main() -> None:
    """Ask three questions."""
    with ExitStack() as stack:
        where = {} if os.environ.get("SCW_SECRET_KEY") else start_sandbox(stack)
        chat = stack.enter_context(ChatScaleway(model=MODEL, temperature=0, max_tokens=200, **where))

        there = {"type": "image", "url": ADDRESS}
        # Or a file's bytes: Path("flag.png").read_bytes().
        here = {"type": "image", "base64": base64.b64encode(flag()).decode(), "mime_type": "image/png"}

        print(chat.invoke(ask("What does this picture show, in one sentence?", there)).text)
        for piece in chat.stream(ask("Which colours has this flag, from left to right?", here)):
            print(piece.text, end="", flush=True)
        print()
        print(chat.invoke(ask("Which of these two pictures is a photograph?", there, here)).text)


def ask(question: str, *pictures: dict[str, Any]) -> list[HumanMessage]:
    """Return a question about images."""
    return [HumanMessage([{"type": "text", "text": question}, *pictures])]


def flag(width: int = 96, height: int = 64) -> bytes:
    """Return a PNG of a flag in three stripes: blue, white and red."""
    stripes = (b"\x00\x30\x90", b"\xff\xff\xff", b"\xd0\x20\x30")
    line = b"\x00" + b"".join(stripe * (width // 3) for stripe in stripes)
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(line * height)),
        (b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )


def start_sandbox(stack: ExitStack) -> dict[str, str]:
    """Start the stand-in and return the arguments that connect to it."""
    from linkspan_sandbox import Rule, run  # noqa: PLC0415  # needed only without a key

    rules = [
        Rule("The stand-in sees no pictures, but this one came by its address.", when="What does this picture"),
        Rule("Blue, white and red.", when="Which colours"),
        Rule("The first one.", when="Which of these two"),
    ]
    sandbox = stack.enter_context(run(rules=rules))
    return {"base_url": sandbox.scaleway_url, "api_key": sandbox.api_key}


if __name__ == "__main__":
    main()
