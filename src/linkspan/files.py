"""Read files to send, up to a limit; detect their type by first bytes, name or given type."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from linkspan.errors import InvalidRequestError, UnsupportedContentError
from linkspan.media import sniff_media_type

if TYPE_CHECKING:
    import os

__all__ = ["LARGEST_FILE", "InputFile", "is_url", "name_of", "read_path", "sniff_sound"]

#: Scaleway's limit for a file: 25 MB, by the larger interpretation.
LARGEST_FILE = 25 * 1024 * 1024

_SOUND_SIGNATURES = (
    (b"fLaC", "flac"),
    (b"OggS", "ogg"),
    (b"ID3", "mp3"),
    (b"\x1aE\xdf\xa3", "webm"),
    (b"#!AMR", "amr"),
    (b"FORM", "aiff"),
    (b"\x30\x26\xb2\x75", "wma"),
)


@dataclass(frozen=True, slots=True)
class InputFile:
    """A file's content, name and type.

    The name has no folders, and may be empty. The type is the one given by the file's owner.
    """

    content: bytes = field(repr=False)
    name: str = ""
    media_type: str | None = None

    @property
    def suffix(self) -> str:
        """The name's ending, in lower case, without the dot."""
        return PurePath(self.name).suffix[1:].lower()

    @property
    def shown(self) -> str:
        """How errors call it."""
        return repr(self.name) if self.name else "the file"

    def check_size(self, provider: str) -> None:
        """Refuse an empty file, and one that is too large.

        Raises:
            InvalidRequestError: The file is empty or too large.
        """
        if not self.content:
            raise InvalidRequestError(f"{provider}: {self.shown} is empty: 0 bytes.", provider=provider)
        if len(self.content) > LARGEST_FILE:
            raise InvalidRequestError(
                f"{provider}: {self.shown} has more than {LARGEST_FILE >> 20} MB, the most that is taken. Split it, or "
                "compress it.",
                provider=provider,
            )


def is_url(place: Any) -> bool:
    """Return whether a path is an ``http(s)`` URL."""
    return isinstance(place, str) and re.match(r"https?://[^\s/]", place, re.IGNORECASE) is not None


def name_of(place: str | os.PathLike[str]) -> str:
    """Return the name of a file without its folders; of an address without the query, which may hold a signature."""
    path = urlsplit(place).path if isinstance(place, str) and is_url(place) else place
    return PurePath(path).name


def read_path(path: str | os.PathLike[str], fs: Any = None) -> bytes:
    """Return a file's bytes; of one that is too large, just enough to detect that.

    ``fs`` is an fsspec file system; ``None`` means the local one.

    Raises:
        UnsupportedContentError: The path is a URL, which the local file system would take for a folder.
        OSError: The file cannot be read.
    """
    if fs is None and is_url(path):
        raise UnsupportedContentError(
            f"A URL cannot be read as a file: fetch {name_of(path) or 'the file'!r} first, and pass its path or bytes."
        )
    with Path(path).open("rb") if fs is None else fs.open(str(path), "rb") as file:
        content: bytes = file.read(LARGEST_FILE + 1)
    return content


def sniff_sound(content: bytes) -> str | None:
    """Return the audio format that the first bytes show, the media type of anything else, or ``None`` if unknown."""
    if content[:4] == b"RIFF" and content[8:12] == b"WAVE":
        return "wav"
    for signature, name in _SOUND_SIGNATURES:
        if content.startswith(signature):
            return name
    other = sniff_media_type(content) or _sniff_other(content)
    if other is None and content[4:8] == b"ftyp":
        return "m4a"
    if other is None and content[:1] == b"\xff" and len(content) > 1:
        # A frame of MPEG audio: layer 0 is AAC's.
        kind = content[1] & 0x06 if content[1] & 0xE0 == 0xE0 else None
        return "aac" if kind == 0 else "mp3" if kind in {2, 4} else None
    return other


def _sniff_other(content: bytes) -> str | None:
    """Return the media type of an archive or a text, which no audio format resembles; ``None`` for anything else."""
    if content.startswith(b"PK\x03\x04"):
        return "application/zip"
    # Cut within a character, the end of the excerpt would not decode.
    text = content[:512].decode("utf-8", "ignore")
    whole = len(text.encode()) >= min(len(content), 512) - 3
    return "text/plain" if whole and len(text) > 4 and all(one.isprintable() or one.isspace() for one in text) else None
