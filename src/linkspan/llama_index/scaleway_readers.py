"""Readers for LlamaIndex: transcription and OCR by Scaleway Generative APIs."""

from __future__ import annotations

import asyncio
from os import PathLike
from typing import TYPE_CHECKING, Any, Union

from llama_index.core.readers.base import BasePydanticReader
from llama_index.core.schema import Document

from linkspan.files import InputFile, is_url, name_of, read_path
from linkspan.llama_index.component import LlamaIndexComponent
from linkspan.settings.scaleway_documents import ScalewayOCRSettings, ScalewayTranscriptionSettings

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from linkspan.providers.scaleway_ocr import OcrAnswer
    from linkspan.providers.scaleway_transcription import Passage, Transcript

__all__ = ["ScalewayOCRReader", "ScalewayTranscriptionReader"]

#: A file's path, or its bytes.
FileSource = Union[str, PathLike[str], bytes]


class _ScalewayReader(LlamaIndexComponent, BasePydanticReader):
    """Abstract base of the readers: a file's passages as documents."""

    def lazy_load_data(
        self, file: FileSource, extra_info: Mapping[str, Any] | None = None, fs: Any = None
    ) -> Iterable[Document]:
        """Read a file: one document, or one per segment or page.

        Args:
            file: Its path, or its bytes; for OCR also a URL.
            extra_info: Further metadata.
            fs: An fsspec file system. Default: the local one.
        """
        return _documents(file, self._passages(file, fs), extra_info)

    async def aload_data(
        self, file: FileSource, extra_info: Mapping[str, Any] | None = None, fs: Any = None
    ) -> list[Document]:
        """Read a file; see ``lazy_load_data``."""
        return _documents(file, await self._apassages(file, fs), extra_info)

    def _passages(self, file: FileSource, fs: Any) -> Sequence[Passage]:
        raise NotImplementedError

    async def _apassages(self, file: FileSource, fs: Any) -> Sequence[Passage]:
        raise NotImplementedError


class ScalewayTranscriptionReader(ScalewayTranscriptionSettings, _ScalewayReader):
    """Transcribes audio files (see docs/apis/scaleway.md#sound-and-documents).

    Accepts flac, m4a, mp3, ogg, wav and webm of up to 25 MB; anything else is refused before it is sent. Documents have
    ``file_name``, ``model`` and, if the answer has them, ``language`` and ``duration`` (seconds) as metadata; only the
    name is embedded with the text. ``segments`` and ``words`` are not shown to a model either.

    Example:
        >>> from llama_index.core import SimpleDirectoryReader
        >>> reader = ScalewayTranscriptionReader(language="en")  # the key comes from SCW_SECRET_KEY
        >>> SimpleDirectoryReader("meetings", file_extractor={".mp3": reader, ".wav": reader}).load_data()

    Raises:
        ConfigurationError: An unknown or invalid argument, or no key.
    """

    def transcribe(self, file: FileSource, fs: Any = None) -> Transcript:
        """Transcribe a file and return what documents omit, too: request id, rate limits, the raw answer."""
        return self._call().run(_input_file(file, fs))

    async def atranscribe(self, file: FileSource, fs: Any = None) -> Transcript:
        """Transcribe a file; see ``transcribe``."""
        return await self._call().arun(await asyncio.to_thread(_input_file, file, fs))

    def _passages(self, file: FileSource, fs: Any) -> Sequence[Passage]:
        return self.transcribe(file, fs).passages(split_segments=self.split_segments)

    async def _apassages(self, file: FileSource, fs: Any) -> Sequence[Passage]:
        return (await self.atranscribe(file, fs)).passages(split_segments=self.split_segments)


class ScalewayOCRReader(ScalewayOCRSettings, _ScalewayReader):
    """Reads the pages of documents and images as Markdown (beta; see docs/apis/scaleway.md#sound-and-documents).

    An ``http(s)`` URL is fetched by the service itself, so it must be a public or presigned URL.
    Scaleway documents only URLs. Files are sent inside the request, as Mistral's API, which Scaleway's follows, allows:
    PDF, DOCX, PPTX and images of up to 25 MB.

    There is one document per page, even if empty, with ``file_name``, ``page`` (from 0), ``page_label`` and ``model``
    as metadata; only name and label are embedded with the text.

    Example:
        >>> from llama_index.core import SimpleDirectoryReader
        >>> SimpleDirectoryReader("scans", file_extractor={".pdf": ScalewayOCRReader()}).load_data()

    Raises:
        ConfigurationError: An unknown or invalid argument, or no key.
    """

    def read(self, file: FileSource, fs: Any = None) -> OcrAnswer:
        """Read a file and return what documents omit, too: images, counts, request id, rate limits."""
        return self._call().run(_place_or_file(file, fs))

    async def aread(self, file: FileSource, fs: Any = None) -> OcrAnswer:
        """Read a file; see ``read``."""
        return await self._call().arun(await asyncio.to_thread(_place_or_file, file, fs))

    def _passages(self, file: FileSource, fs: Any) -> Sequence[Passage]:
        return self.read(file, fs).passages()

    async def _apassages(self, file: FileSource, fs: Any) -> Sequence[Passage]:
        return (await self.aread(file, fs)).passages()


def _input_file(file: FileSource, fs: Any) -> InputFile:
    if isinstance(file, bytes):
        return InputFile(file)
    return InputFile(read_path(file, fs), name_of(file))


def _place_or_file(file: FileSource, fs: Any) -> InputFile | str:
    return file if isinstance(file, str) and is_url(file) else _input_file(file, fs)


def _documents(file: FileSource, passages: Sequence[Passage], extra_info: Mapping[str, Any] | None) -> list[Document]:
    name = {} if isinstance(file, bytes) else {"file_name": name_of(file)}
    return [
        Document(
            text=text,
            metadata={**name, **metadata, **(extra_info or {})},
            excluded_embed_metadata_keys=[key for key in metadata if key != "page_label"],
            # Lists of times repeat the text, and would not fit into a node beside it.
            excluded_llm_metadata_keys=[key for key, value in metadata.items() if isinstance(value, list)],
        )
        for text, metadata in passages
    ]
