"""Create images from bytes, base64, data URLs and addresses. The type comes from the first bytes."""

from __future__ import annotations

import base64 as b64
import binascii
import re

from linkspan.conversation import Image
from linkspan.errors import ConfigurationError

__all__ = ["image_from_base64", "image_from_bytes", "image_from_url", "sniff_media_type"]

_SIGNATURES: tuple[tuple[bytes, str], ...] = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"BM", "image/bmp"),
    (b"II*\x00", "image/tiff"),
    (b"MM\x00*", "image/tiff"),
    (b"%PDF-", "application/pdf"),
)
_DATA_URL = re.compile(r"data:(?P<type>[^;,]*)(?P<options>(?:;[^;,]*)*),(?P<data>.*)", re.DOTALL | re.IGNORECASE)
_SNIFFED_BASE64 = 512  # characters: 384 bytes, enough for every signature and for an SVG's first tag


def sniff_media_type(data: bytes) -> str | None:
    """Return the media type by the first bytes; ``None`` if it is unknown."""
    for signature, media_type in _SIGNATURES:
        if data.startswith(signature):
            return media_type
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    if data[4:12] in {b"ftypavif", b"ftypheic", b"ftypheix", b"ftypmif1"}:
        return "image/avif" if data[8:12] == b"avif" else "image/heic"
    if b"<svg" in data[:384].lower():
        return "image/svg+xml"
    return None


def image_from_bytes(data: bytes, *, detail: str | None = None) -> Image:
    """Create an image from a file's bytes.

    Raises:
        ConfigurationError: The bytes are empty, or the image type is unknown.
    """
    if not data:
        raise ConfigurationError("The image is empty: 0 bytes.")
    return image_from_base64(b64.b64encode(data).decode("ascii"), None, detail=detail)


def image_from_base64(base64: str, media_type: str | None, *, detail: str | None = None) -> Image:
    """Create an image from base64. ``media_type`` is used only if the bytes do not show their type.

    Raises:
        ConfigurationError: The text is not base64, or the image type is unknown.
    """
    if not isinstance(base64, str):
        raise ConfigurationError(f"The image's data must be base64 text, not {type(base64).__name__}.")
    base64 = re.sub(r"\s+", "", base64)
    try:
        head = b64.b64decode(base64[:_SNIFFED_BASE64], validate=True)
    except (binascii.Error, ValueError):
        raise ConfigurationError("The image's data is not base64. Pass the encoded bytes, or a URL.") from None
    found = sniff_media_type(head) or media_type
    if not head or not found:
        raise ConfigurationError("Unknown image type: pass a media type, or a file in a known image format.")
    return Image(base64=base64, media_type=found, detail=detail)


def image_from_url(url: str, *, detail: str | None = None) -> Image:
    """Create an image from a URL, which is passed on and never downloaded here, or from a ``data:`` URL.

    Raises:
        ConfigurationError: The URL is neither ``http(s)`` nor a base64 ``data:`` URL.
    """
    if not isinstance(url, str):
        raise ConfigurationError(f"An image's URL must be text, not {type(url).__name__}.")
    if url[:5].lower() != "data:":
        if re.match(r"https?://[^\s/]", url, re.IGNORECASE):
            return Image(url=url, detail=detail)
        raise ConfigurationError(
            f"An image needs an http(s) or data: URL, not {url[:40]!r}. Pass a file's bytes as base64 with its type."
        )
    match = _DATA_URL.fullmatch(url)
    if match is None or ";base64" not in match["options"].lower():
        raise ConfigurationError("The image's data: URL is not base64: write data:<type>;base64,<data>.")
    return image_from_base64(match["data"], match["type"] or None, detail=detail)
