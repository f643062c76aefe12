"""Transcription and OCR of the Scaleway dialect (docs/apis/scaleway.md#sound-and-documents).

Files are not processed: a rule gives the content of a file (form feeds separate a document's pages); without one, a
single sentence names the file. Requests and answers follow OpenAI's and Mistral's clients. Each word of a transcript
lasts half a second, and each sentence is a segment.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from email.parser import HeaderParser
from pathlib import PurePath
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from starlette.responses import Response

from linkspan_sandbox.json_bodies import parse_json
from linkspan_sandbox.responses import json_response

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["DocumentError", "OcrRequest", "TranscriptionRequest", "read_ocr", "read_transcription"]

LARGEST_FILE = 25 * 1024 * 1024
#: The file extensions that the service accepts.
SOUND_ENDINGS = frozenset({"flac", "m4a", "mp3", "mp4", "mpeg", "mpga", "oga", "ogg", "wav", "webm"})
RESPONSE_FORMATS = frozenset({"json", "text", "verbose_json", "srt", "vtt"})
TRANSCRIPTION_MODEL = "whisper-large-v3"
OCR_MODEL = "mistral-ocr-2512"
_SECONDS_PER_WORD = 0.5


class DocumentError(Exception):
    """Raised for a refused request, with its status."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.message = message
        self.status = status


@dataclass
class TranscriptionRequest:
    """A request that was taken.

    Args:
        model: The requested model.
        name: The file's name.
        size: The file's size in bytes.
        fields: The form's other fields; list names lose their brackets.
    """

    model: str
    name: str
    size: int
    fields: Mapping[str, Any] = field(default_factory=dict)

    def answer(self, said: str | None, headers: Mapping[str, str]) -> Response:
        """Answer with the transcript, in the requested format."""
        text = f"The sandbox heard {self.name}, {self.size} bytes." if said is None else said
        wanted = self.fields.get("response_format", "json")
        segments = _segments(text)
        seconds = segments[-1]["end"] if segments else 0.0
        if wanted in ("srt", "vtt"):
            return Response(_subtitles(segments, wanted), 200, dict(headers), "text/plain")
        if wanted == "text":
            return Response(f"{text}\n", 200, dict(headers), "text/plain")
        body: dict[str, Any] = {"text": text}
        if wanted == "verbose_json":
            times = self.fields.get("timestamp_granularities", ["segment"])
            language = self.fields.get("language", "english")
            body = {"task": "transcribe", "language": language, "duration": seconds, "text": text}
            if "segment" in times:
                body["segments"] = segments
            if "word" in times:
                body["words"] = _words(text)
        return json_response({**body, "usage": {"type": "duration", "seconds": seconds}}, headers=headers)


def read_transcription(content: bytes, content_type: str) -> TranscriptionRequest:
    """Parse the form of ``/audio/transcriptions``.

    Raises:
        DocumentError: Scaleway would refuse the request.
    """
    fields, file = _form(content, content_type)
    if file is None:
        raise DocumentError("payload validation: file is required")
    name, data = file
    model = fields.pop("model", None)
    if model != TRANSCRIPTION_MODEL:
        raise DocumentError(f"model '{model}' not found", 422)
    if len(data) > LARGEST_FILE:
        raise DocumentError("payload validation: the file is larger than 25 MB", 413)
    if not data or PurePath(name).suffix[1:].lower() not in SOUND_ENDINGS:
        raise DocumentError("Invalid file format")
    if fields.get("response_format", "json") not in RESPONSE_FORMATS:
        raise DocumentError("payload validation: response_format is unknown")
    if "timestamp_granularities" in fields and fields.get("response_format") != "verbose_json":
        raise DocumentError("payload validation: timestamp_granularities needs response_format verbose_json")
    return TranscriptionRequest(model, name, len(data), fields)


def _form(content: bytes, content_type: str) -> tuple[dict[str, Any], tuple[str, bytes] | None]:
    boundary = re.search(r'multipart/form-data;.*boundary="?([^";]+)', content_type)
    if boundary is None:
        raise DocumentError("payload validation: the body is not multipart/form-data")
    fields: dict[str, Any] = {}
    file = None
    for part in content.split(f"--{boundary[1]}".encode())[1:-1]:
        head, _, data = part.removesuffix(b"\r\n").partition(b"\r\n\r\n")
        headers = HeaderParser().parsestr(head.decode("utf-8", "replace").strip())
        name = str(headers.get_param("name", header="content-disposition"))
        if name == "file":
            file = (headers.get_filename() or "", data)
        elif name.endswith("[]"):
            fields.setdefault(name[:-2], []).append(data.decode("utf-8", "replace"))
        else:
            fields[name] = data.decode("utf-8", "replace")
    return fields, file


def _words(text: str) -> list[dict[str, Any]]:
    return [
        {"word": word, "start": place * _SECONDS_PER_WORD, "end": (place + 1) * _SECONDS_PER_WORD}
        for place, word in enumerate(text.split())
    ]


def _segments(text: str) -> list[dict[str, Any]]:
    segments: list[dict[str, Any]] = []
    start = 0.0
    for sentence in re.split(r"(?<=[.!?])\s+", text.strip()) if text.strip() else ():
        end = start + _SECONDS_PER_WORD * len(sentence.split())
        segments.append({"id": len(segments), "seek": 0, "start": start, "end": end, "text": f" {sentence}"})
        segments[-1] |= {"tokens": [], "temperature": 0.0, "avg_logprob": -0.25}
        segments[-1] |= {"compression_ratio": 1.0, "no_speech_prob": 0.0}
        start = end
    return segments


def _subtitles(segments: list[dict[str, Any]], wanted: str) -> str:
    mark = "," if wanted == "srt" else "."
    blocks = [] if wanted == "srt" else ["WEBVTT"]
    for segment in segments:
        times = f"{_clock(segment['start'], mark)} --> {_clock(segment['end'], mark)}"
        number = f"{segment['id'] + 1}\n" if wanted == "srt" else ""
        blocks.append(f"{number}{times}\n{segment['text'].strip()}")
    return "\n\n".join(blocks) + "\n"


def _clock(seconds: float, mark: str) -> str:
    whole, rest = divmod(round(seconds * 1000), 1000)
    return f"{whole // 3600:02d}:{whole // 60 % 60:02d}:{whole % 60:02d}{mark}{rest:03d}"


@dataclass
class OcrRequest:
    """A request that was taken.

    Args:
        model: The requested model.
        name: The document's URL, or the media type of an inline document.
        size: Length of the URL in bytes.
        pages: The requested pages; ``None`` for all.
    """

    model: str
    name: str
    size: int
    pages: list[int] | None = None

    def answer(self, said: str | None, headers: Mapping[str, str]) -> Response:
        """Answer with the text of the pages, which form feeds separate."""
        title = PurePath(urlsplit(self.name).path).name or "document"
        texts = (f"# {title}\n\nRead by the sandbox." if said is None else said).split("\f")
        pages = [
            {
                "index": index,
                "markdown": text,
                "images": [],
                "dimensions": {"dpi": 200, "height": 2200, "width": 1700},
            }
            for index, text in enumerate(texts)
            if self.pages is None or index in self.pages
        ]
        usage = {"pages_processed": len(pages), "doc_size_bytes": self.size}
        body = {"pages": pages, "model": self.model, "document_annotation": None, "usage_info": usage}
        return json_response(body, headers=headers)


def read_ocr(content: bytes, _: str) -> OcrRequest:
    """Parse the body of ``/ocr``.

    Raises:
        DocumentError: Scaleway would refuse the request.
    """
    try:
        body = parse_json(content)
    except ValueError as error:
        raise DocumentError(f"payload validation: the body is not valid JSON: {error}") from error
    document = body.get("document") if isinstance(body, dict) else None
    document = document if isinstance(document, dict) else {}
    kind = document.get("type")
    if kind not in ("document_url", "image_url"):
        raise DocumentError("payload validation: document must be a document_url or an image_url")
    if body.get("model") != OCR_MODEL:
        raise DocumentError(f"model '{body.get('model')}' not found", 422)
    url = document[kind].get("url") if isinstance(document.get(kind), dict) else document.get(kind)
    if not isinstance(url, str) or not _is_url(url):
        raise DocumentError(f"payload validation: {kind} must be an http(s) or data: URL")
    pages = body.get("pages")
    if pages is not None and not (isinstance(pages, list) and all(type(page) is int for page in pages)):
        raise DocumentError("payload validation: pages must be a list of numbers")
    return OcrRequest(OCR_MODEL, url.partition(",")[0] if url.startswith("data:") else url, len(url), pages)


def _is_url(text: str) -> bool:
    try:
        urlsplit(text)
    except ValueError:
        return False
    return bool(re.match(r"https?://|data:[\w/.+-]+;base64,", text))
