"""Transcribe audio and read documents at one endpoint, for both frameworks."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from linkspan.errors import LinkspanError
from linkspan.providers.scaleway_ocr import OCR_PATH, OcrAnswer, decode_ocr, encode_ocr, explain_refusal
from linkspan.providers.scaleway_transcription import (
    TRANSCRIPTIONS_PATH,
    Transcript,
    decode_transcript,
    encode_transcription,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from linkspan.endpoint import Endpoint
    from linkspan.files import InputFile

__all__ = ["OcrCall", "TranscriptionCall"]


@dataclass(frozen=True)
class TranscriptionCall:
    """How to transcribe audio.

    ``parameters`` are those that are set, by the API's names.
    """

    endpoint: Endpoint[Any]
    model: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    extra_body: Mapping[str, Any] = field(default_factory=dict)

    def run(self, file: InputFile) -> Transcript:
        """Transcribe a file."""
        form = encode_transcription(file, self.model, self.parameters, self.extra_body)
        return self.endpoint.call(TRANSCRIPTIONS_PATH, form, self._decoder())

    async def arun(self, file: InputFile) -> Transcript:
        """Transcribe a file."""
        form = encode_transcription(file, self.model, self.parameters, self.extra_body)
        return await self.endpoint.acall(TRANSCRIPTIONS_PATH, form, self._decoder())

    def _decoder(self) -> Callable[[bytes, Mapping[str, str]], Transcript]:
        asked = {"response_format": "json", **self.parameters, **self.extra_body}["response_format"]
        return lambda body, headers: decode_transcript(body, headers, response_format=asked, model=self.model)


@dataclass(frozen=True)
class OcrCall:
    """How to read documents.

    ``pages`` are counted from 0; ``None`` means all.
    """

    endpoint: Endpoint[Any]
    model: str
    pages: Sequence[int] | None = None
    extra_body: Mapping[str, Any] = field(default_factory=dict)

    def run(self, document: InputFile | str) -> OcrAnswer:
        """Read a file, or the document at a URL."""
        body = encode_ocr(document, self.model, self.pages, self.extra_body)
        try:
            return self.endpoint.call(OCR_PATH, body, self._decoder())
        except LinkspanError as error:
            explain_refusal(error, document)
            raise

    async def arun(self, document: InputFile | str) -> OcrAnswer:
        """Read a file, or the document at a URL."""
        body = encode_ocr(document, self.model, self.pages, self.extra_body)
        try:
            return await self.endpoint.acall(OCR_PATH, body, self._decoder())
        except LinkspanError as error:
            explain_refusal(error, document)
            raise

    def _decoder(self) -> Callable[[bytes, Mapping[str, str]], OcrAnswer]:
        return lambda body, headers: decode_ocr(body, headers, pages=self.pages)
