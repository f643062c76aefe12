"""Both frameworks' readers of sound and documents as one kind of thing, against the sandbox."""

from __future__ import annotations

import asyncio
import io
import re
import wave
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.document_loaders import Blob

from linkspan.langchain import ScalewayOCRParser, ScalewayTranscriptionParser
from linkspan.llama_index import ScalewayOCRReader, ScalewayTranscriptionReader

if TYPE_CHECKING:
    from linkspan_sandbox import Sandbox

CLASSES = {
    "transcription": (ScalewayTranscriptionParser, ScalewayTranscriptionReader),
    "ocr": (ScalewayOCRParser, ScalewayOCRReader),
}
#: Reads a file: ``read(kind, place, **settings)`` returns a text and its metadata per document.
Read = Callable[..., list[tuple[str, dict[str, Any]]]]
#: Checks that a file is refused before the network: ``refuses(kind, name, content, error, said)``.
Refuses = Callable[[str, str, bytes, type[Exception], str], None]


def sound() -> bytes:
    """A second of silence."""
    written = io.BytesIO()
    with wave.open(written, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(1)
        file.setframerate(800)
        file.writeframes(bytes(800))
    return written.getvalue()


@pytest.fixture
def settings(sandbox: Sandbox) -> dict[str, Any]:
    return {"api_key": sandbox.api_key, "base_url": sandbox.scaleway_url, "max_retries": 0}


@pytest.fixture(params=["langchain", "langchain async", "llama_index", "llama_index async"])
def read(request: pytest.FixtureRequest, settings: dict[str, Any]) -> Read:
    framework, _, is_async = request.param.partition(" ")

    def call(kind: str, place: Any, **further: Any) -> list[tuple[str, dict[str, Any]]]:
        made: Any = CLASSES[kind][framework == "llama_index"](**{**settings, **further})
        if framework == "llama_index":
            documents = asyncio.run(made.aload_data(place)) if is_async else made.load_data(place)
            return [(document.text, document.metadata) for document in documents]
        blob = Blob.from_path(place) if isinstance(place, (str, Path)) else Blob.from_data(place)
        documents = asyncio.run(made.aparse(blob)) if is_async else made.parse(blob)
        return [(document.page_content, document.metadata) for document in documents]

    return call


@pytest.fixture
def refuses(sandbox: Sandbox, read: Read, tmp_path: Path) -> Refuses:
    def check(kind: str, name: str, content: bytes, error: type[Exception], said: str) -> None:
        (tmp_path / name).write_bytes(content)
        refused = None
        try:
            read(kind, tmp_path / name)
        except error as raised:
            refused = str(raised)
        assert refused is not None, f"{name} of {content[:9]!r} is not refused"
        assert re.search(said, refused), f"{name} of {content[:9]!r} is refused as: {refused}"
        assert not sandbox.requests, name

    return check
