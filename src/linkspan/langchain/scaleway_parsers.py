"""Blob parsers for LangChain: transcription and OCR by Scaleway Generative APIs."""

from __future__ import annotations

import asyncio
from pathlib import PurePath
from typing import TYPE_CHECKING

from langchain_core.document_loaders import BaseBlobParser, Blob
from langchain_core.documents import Document

from linkspan.files import InputFile, is_url, read_path
from linkspan.langchain.component import LangChainComponent
from linkspan.settings.scaleway_documents import ScalewayOCRSettings, ScalewayTranscriptionSettings

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from linkspan.providers.scaleway_ocr import OcrAnswer
    from linkspan.providers.scaleway_transcription import Passage, Transcript

__all__ = ["ScalewayOCRParser", "ScalewayTranscriptionParser"]


class ScalewayTranscriptionParser(ScalewayTranscriptionSettings, LangChainComponent, BaseBlobParser):
    """Transcribes audio files (see docs/apis/scaleway.md#sound-and-documents).

    Accepts flac, m4a, mp3, ogg, wav and webm of up to 25 MB; anything else is refused before it is sent. Documents have
    ``source``, ``model`` and, if the answer has them, ``language`` and ``duration`` (seconds) as metadata.

    Example::

        from langchain_core.document_loaders import Blob

        from linkspan.langchain import ScalewayTranscriptionParser

        parser = ScalewayTranscriptionParser(language="en", split_segments=True)  # the key comes from SCW_SECRET_KEY
        for document in parser.lazy_parse(Blob.from_path("meeting.mp3")):
            print(document.metadata["start"], document.page_content)

    Raises:
        ConfigurationError: At construction: an unknown or invalid argument, or no key.
        ModelError: A call failed; the error is both langchain-core's and one of ``linkspan.errors``.
    """

    def lazy_parse(self, blob: Blob) -> Iterator[Document]:
        """Transcribe a blob: one document, or one per segment."""
        with self._errors():
            passages = self.transcribe(blob).passages(split_segments=self.split_segments)
        yield from _documents(blob, passages)

    async def aparse(self, blob: Blob) -> list[Document]:
        """Transcribe a blob; see ``lazy_parse``."""
        with self._errors():
            passages = (await self.atranscribe(blob)).passages(split_segments=self.split_segments)
        return _documents(blob, passages)

    def transcribe(self, blob: Blob) -> Transcript:
        """Transcribe a blob and return what documents omit, too: request id, rate limits, the raw answer."""
        with self._errors():
            return self._call().run(_input_file(blob))

    async def atranscribe(self, blob: Blob) -> Transcript:
        """Transcribe a blob; see ``transcribe``."""
        with self._errors():
            return await self._call().arun(await asyncio.to_thread(_input_file, blob))


class ScalewayOCRParser(ScalewayOCRSettings, LangChainComponent, BaseBlobParser):
    """Reads the pages of documents and images as Markdown (beta; see docs/apis/scaleway.md#sound-and-documents).

    A blob whose path is an ``http(s)`` URL is fetched by the service itself, so it must be a public or presigned URL.
    Scaleway documents only URLs. Files are sent inside the request, as Mistral's API, which Scaleway's follows, allows:
    PDF, DOCX, PPTX and images of up to 25 MB.

    There is one document per page, even if empty, with ``source``, ``page`` (from 0), ``page_label`` and ``model`` as
    metadata.

    Example::

        from langchain_core.document_loaders import Blob

        from linkspan.langchain import ScalewayOCRParser

        pages = ScalewayOCRParser().parse(Blob.from_path("https://example.com/scan.pdf"))

    Raises:
        ConfigurationError: At construction: an unknown or invalid argument, or no key.
        ModelError: A call failed; the error is both langchain-core's and one of ``linkspan.errors``.
    """

    def lazy_parse(self, blob: Blob) -> Iterator[Document]:
        """Read a blob: one document per page."""
        yield from _documents(blob, self.read(blob).passages())

    async def aparse(self, blob: Blob) -> list[Document]:
        """Read a blob; see ``lazy_parse``."""
        return _documents(blob, (await self.aread(blob)).passages())

    def read(self, blob: Blob) -> OcrAnswer:
        """Read a blob and return what documents omit, too: images, counts, request id, rate limits."""
        with self._errors():
            return self._call().run(_place_or_file(blob))

    async def aread(self, blob: Blob) -> OcrAnswer:
        """Read a blob; see ``read``."""
        with self._errors():
            return await self._call().arun(await asyncio.to_thread(_place_or_file, blob))


def _input_file(blob: Blob) -> InputFile:
    # A blob of another class may load its bytes from elsewhere.
    is_plain = blob.data is None and blob.path is not None and type(blob).as_bytes is Blob.as_bytes
    content = read_path(str(blob.path)) if is_plain else blob.as_bytes()
    return InputFile(content, PurePath(str(blob.path or blob.source or "")).name, blob.mimetype)


def _place_or_file(blob: Blob) -> InputFile | str:
    return str(blob.path) if blob.data is None and is_url(blob.path) else _input_file(blob)


def _documents(blob: Blob, passages: Sequence[Passage]) -> list[Document]:
    source = {} if blob.source is None else {"source": blob.source}
    return [Document(text, metadata={**blob.metadata, **source, **metadata}) for text, metadata in passages]
