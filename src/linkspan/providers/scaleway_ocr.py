"""OCR calls of Scaleway Generative APIs (beta): pages as Markdown (see docs/apis/scaleway.md#sound-and-documents)."""

from __future__ import annotations

import base64
import mimetypes
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from linkspan.errors import InvalidRequestError, InvalidResponseError, UnsupportedContentError
from linkspan.media import sniff_media_type
from linkspan.providers.error_bodies import request_id_of
from linkspan.providers.scaleway import SCALEWAY, read_object
from linkspan.providers.scaleway_transcription import Passage
from linkspan.providers.wire import as_count, as_list, as_name, as_object
from linkspan.rate_limits import rate_limit_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from linkspan.errors import LinkspanError
    from linkspan.files import InputFile

__all__ = ["DEFAULT_OCR_MODEL", "OCR_PATH", "OcrAnswer", "OcrPage", "decode_ocr", "encode_ocr", "explain_refusal"]

#: The route below the base URL.
OCR_PATH = "ocr"
#: The only model that Scaleway documents for this route.
DEFAULT_OCR_MODEL = "mistral-ocr-2512"

#: Document types other than images. Office formats are ZIP archives, recognized by name or type.
_DOCUMENTS = {
    "application/pdf": "pdf",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": "docx",
    "application/vnd.openxmlformats-officedocument.presentationml.presentation": "pptx",
}
_IMAGES = frozenset({"image/png", "image/jpeg", "image/gif", "image/bmp", "image/tiff", "image/webp", "image/avif"})
_NAME = SCALEWAY.name


@dataclass(slots=True, frozen=True)
class OcrPage:
    """A page of a document.

    Attributes:
        index: Its number, counted from 0.
        markdown: Its content.
        raw: The page as received, including positions of images.
    """

    index: int
    markdown: str
    raw: Mapping[str, Any]


@dataclass(slots=True)
class OcrAnswer:
    """The pages of a document, in order.

    Attributes:
        pages: All pages, or those requested, including empty ones.
        model: The model's name, as the answer gives it.
        usage: The server's counts (pages, bytes).
        request_id: The server's id of the request.
        rate_limit: The rate limits in the answer's headers.
    """

    pages: list[OcrPage]
    model: str | None = None
    usage: Mapping[str, Any] | None = None
    request_id: str | None = None
    rate_limit: dict[str, int | str] | None = None

    def passages(self) -> list[Passage]:
        """Return one passage per page, with ``page`` (from 0) and ``page_label`` (from "1")."""
        known = {} if self.model is None else {"model": self.model}
        return [
            Passage(page.markdown, {**known, "page": page.index, "page_label": str(page.index + 1)})
            for page in self.pages
        ]


def encode_ocr(
    document: InputFile | str, model: str, pages: Sequence[int] | None, extra_body: Mapping[str, Any]
) -> dict[str, Any]:
    """Encode the body of a request.

    A file is sent as a ``data:`` URL. ``pages`` are counted from 0; ``None`` means all.

    Raises:
        InvalidRequestError: The file is empty or larger than 25 MB.
        UnsupportedContentError: The file is neither a document nor an image of a supported type.
    """
    if isinstance(document, str):
        url, media_type = document, mimetypes.guess_type(urlsplit(document).path)[0]
    else:
        document.check_size(_NAME)
        media_type = _media_type(document)
        url = f"data:{media_type};base64,{base64.b64encode(document.content).decode('ascii')}"
    kind = "image_url" if media_type in _IMAGES else "document_url"
    body: dict[str, Any] = {"model": model, "document": {"type": kind, kind: url}}
    if pages is not None:
        body["pages"] = list(pages)
    return {**body, **extra_body}


def _media_type(file: InputFile) -> str:
    shown = sniff_media_type(file.content)
    if shown is None and file.content[:4] == b"PK\x03\x04":
        by_ending = {ending: media_type for media_type, ending in _DOCUMENTS.items()}
        shown = by_ending.get(file.suffix) or file.media_type
    if shown is None and b"%PDF-" in file.content[:1024]:
        # PDF readers accept other bytes before the header.
        shown = "application/pdf"
    if shown in _DOCUMENTS or shown in _IMAGES:
        return str(shown)
    is_mislabelled = shown is None and file.suffix in _DOCUMENTS.values()
    found = f"no {file.suffix} by its content" if is_mislabelled else shown or file.suffix or "of an unknown type"
    raise UnsupportedContentError(
        f"{_NAME}: {file.shown} cannot be read by OCR: it is {found}. "
        f"Supported are {', '.join(_DOCUMENTS.values())} and images "
        f"({', '.join(sorted(one[6:] for one in _IMAGES))}).",
        provider=_NAME,
    )


def explain_refusal(error: LinkspanError, document: InputFile | str) -> None:
    """Add a hint if a file's content was refused, because Scaleway documents URLs only."""
    if isinstance(error, InvalidRequestError) and error.status_code is not None and not isinstance(document, str):
        error.with_hint(
            "The file was sent inside the request, but Scaleway documents OCR of URLs only. Upload it to Object "
            "Storage and pass its (presigned) URL."
        )


def decode_ocr(body: bytes, headers: Mapping[str, str], *, pages: Sequence[int] | None = None) -> OcrAnswer:
    """Decode an answer. Pages that were not requested are left out.

    Raises:
        InvalidResponseError: There are no pages, a page has no text or no valid index, or a page is missing.
        LinkspanError: The answer is an error with status 200.
    """
    parsed = read_object(body, headers)
    request_id = request_id_of(headers)
    found = sorted(_pages(as_list(parsed.get("pages"), "pages"), request_id), key=lambda page: page.index)
    if pages is None:
        # The first page of each gap.
        missing = [page.index + 1 for page, later in pairwise(found) if later.index > page.index + 1]
    else:
        missing = sorted(set(pages) - {page.index for page in found})
        found = [page for page in found if page.index in pages]
    if not found or missing:
        what = f"the pages {missing} are missing" if missing else "it holds no pages"
        raise InvalidResponseError(
            f"{_NAME}: OCR's answer is incomplete: {what}.", provider=_NAME, request_id=request_id
        )
    usage = parsed.get("usage_info")
    return OcrAnswer(
        found,
        as_name(parsed.get("model"), "model"),
        usage if isinstance(usage, dict) else None,
        request_id,
        rate_limit_of(headers),
    )


def _pages(items: Sequence[Any], request_id: str | None) -> list[OcrPage]:
    pages: dict[int, OcrPage] = {}
    for item in items:
        fields = as_object(item, "a page")
        index, markdown = as_count(fields.get("index"), "index"), fields.get("markdown")
        if index is None or index < 0 or index in pages or not isinstance(markdown, str):
            raise InvalidResponseError(
                f"{_NAME}: a page of OCR's answer has no text, or its index {index!r} is missing or occurs twice.",
                provider=_NAME,
                request_id=request_id,
            )
        pages[index] = OcrPage(index, markdown, fields)
    return list(pages.values())
