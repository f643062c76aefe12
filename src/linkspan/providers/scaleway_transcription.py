"""Encode and decode transcription calls of Scaleway Generative APIs (see docs/apis/scaleway.md#sound-and-documents)."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic_core import from_json

from linkspan.errors import InvalidResponseError, UnsupportedContentError
from linkspan.files import sniff_sound
from linkspan.providers.codec import Form
from linkspan.providers.error_bodies import refuse_page, request_id_of
from linkspan.providers.scaleway import SCALEWAY, read_object
from linkspan.providers.wire import as_list, as_name, as_number, as_object, as_text
from linkspan.rate_limits import rate_limit_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from linkspan.files import InputFile

__all__ = [
    "DEFAULT_TRANSCRIPTION_MODEL",
    "TRANSCRIPTIONS_PATH",
    "Passage",
    "TimedText",
    "Transcript",
    "decode_transcript",
    "encode_transcription",
]

#: The route below the base URL.
TRANSCRIPTIONS_PATH = "audio/transcriptions"
#: The only serverless model for this route.
DEFAULT_TRANSCRIPTION_MODEL = "whisper-large-v3"
#: Response formats that are text, not JSON.
_TEXT_FORMATS = frozenset({"text", "srt", "vtt"})

#: File name endings by the media type that the first bytes show.
_FORMATS = {
    "flac": ("flac",),
    "m4a": ("m4a", "mp4"),
    "mp3": ("mp3", "mpeg", "mpga"),
    "ogg": ("ogg", "oga"),
    "wav": ("wav",),
    "webm": ("webm",),
}
_ENDINGS = frozenset(ending for endings in _FORMATS.values() for ending in endings)
#: Seen to be refused, whatever their content.
_REFUSED = frozenset({"aac", "amr", "opus"})
_MEDIA_TYPES = {"m4a": "audio/mp4", "mp3": "audio/mpeg"}
_NAME = SCALEWAY.name


class Passage(NamedTuple):
    """A text of a file with its metadata: becomes one document of a framework."""

    text: str
    metadata: dict[str, Any]


@dataclass(slots=True, frozen=True)
class TimedText:
    """A segment or word of a transcript.

    Attributes:
        text: Its text.
        start: Seconds from the beginning of the file.
        end: Seconds from the beginning of the file.
    """

    text: str
    start: float
    end: float


@dataclass(slots=True)
class Transcript:
    """The transcript of a file.

    Attributes:
        text: The whole transcript, in the requested format.
        language: The language, as the server names it.
        duration: Seconds of audio.
        segments: Segments with their times, if requested.
        words: Words with their times, if requested.
        model: The model that was called.
        request_id: The server's id of the request.
        rate_limit: The rate limits in the answer's headers.
        raw: The answer as received, if it is JSON.
    """

    text: str
    language: str | None = None
    duration: float | None = None
    segments: list[TimedText] = field(default_factory=list)
    words: list[TimedText] = field(default_factory=list)
    model: str | None = None
    request_id: str | None = None
    rate_limit: dict[str, int | str] | None = None
    raw: Mapping[str, Any] | None = None

    def passages(self, *, split_segments: bool) -> list[Passage]:
        """Return the text as one passage, or as one per segment with ``start`` and ``end``.

        Raises:
            InvalidResponseError: There is text, but no segments to split it by.
        """
        facts = {"model": self.model, "language": self.language, "duration": self.duration}
        known = {name: fact for name, fact in facts.items() if fact is not None}
        if not split_segments:
            timed = {"segments": _as_dicts(self.segments), "words": _as_dicts(self.words)}
            return [Passage(self.text, {**known, **{name: parts for name, parts in timed.items() if parts}})]
        if self.text.strip() and not self.segments:
            raise InvalidResponseError(
                f"{_NAME}: the answer has no segments to split the transcript by: set split_segments=False.",
                provider=_NAME,
                request_id=self.request_id,
            )
        return [Passage(one.text.strip(), {**known, "start": one.start, "end": one.end}) for one in self.segments]


def _as_dicts(parts: Sequence[TimedText]) -> list[dict[str, Any]]:
    return [{"text": part.text, "start": part.start, "end": part.end} for part in parts]


def encode_transcription(
    file: InputFile, model: str, parameters: Mapping[str, Any], extra_body: Mapping[str, Any]
) -> Form:
    """Encode the form of a request.

    Raises:
        InvalidRequestError: The file is empty or larger than 25 MB.
        UnsupportedContentError: The file's format is not supported.
    """
    file.check_size(_NAME)
    ending = _ending_of(file)
    fields = {"model": model}
    for name, value in {**parameters, **extra_body}.items():
        # The name that OpenAI's client and vLLM use for a list.
        fields[f"{name}[]" if isinstance(value, list) and not name.endswith("[]") else name] = value
    stem = PurePath(file.name).stem or "sound"
    return Form(fields, f"{stem}.{ending}", file.content, _MEDIA_TYPES.get(ending, f"audio/{ending}"))


def _ending_of(file: InputFile) -> str:
    """Return the ending of the file name to send, by which servers recognize the format."""
    said = file.suffix or _ending_by_type(file.media_type)
    shown = sniff_sound(file.content)
    wrong = said if said in _REFUSED else shown if shown is not None and shown not in _FORMATS else None
    if wrong is None and shown is None and said not in _ENDINGS:
        wrong = said or "of an unknown format"
    if wrong is not None:
        raise UnsupportedContentError(
            f"{_NAME}: {file.shown} cannot be transcribed: it is {wrong}, and what is taken is "
            f"{', '.join(sorted(_FORMATS))}. Convert it first, for example: ffmpeg -i FILE out.ogg",
            provider=_NAME,
        )
    return said if shown is None or said in _FORMATS[shown] else shown


def _ending_by_type(media_type: str | None) -> str:
    name = (media_type or "").partition(";")[0].rpartition("/")[2].lower().removeprefix("x-")
    return {"mp4": "m4a", "wave": "wav", "vnd.wave": "wav"}.get(name, name)


def decode_transcript(body: bytes, headers: Mapping[str, str], *, response_format: str, model: str) -> Transcript:
    """Decode an answer.

    Raises:
        InvalidResponseError: The answer holds no text, or is in another format.
        LinkspanError: The answer is an error with status 200.
    """
    known: dict[str, Any] = {"request_id": request_id_of(headers), "rate_limit": rate_limit_of(headers), "model": model}
    if response_format in _TEXT_FORMATS and not _holds_object(body):
        refuse_page(_NAME, body, headers)
        text = body.decode("utf-8", "replace")
        return Transcript(text.strip() if response_format == "text" else text, **known)
    parsed = read_object(body, headers)
    if not isinstance(parsed.get("text"), str):
        raise InvalidResponseError(
            f"{_NAME}: the answer holds no transcript.", provider=_NAME, request_id=known["request_id"]
        )
    if response_format in _TEXT_FORMATS - {"text"}:
        raise InvalidResponseError(
            f"{_NAME}: the answer is JSON instead of {response_format}: the model may not support that format.",
            provider=_NAME,
            request_id=known["request_id"],
        )
    return Transcript(
        parsed["text"],
        language=as_name(parsed.get("language"), "language"),
        duration=_duration(parsed.get("duration")),
        segments=[_part(part, "text") for part in as_list(parsed.get("segments"), "segments")],
        words=[_part(part, "word") for part in as_list(parsed.get("words"), "words")],
        raw=parsed,
        **known,
    )


def _holds_object(body: bytes) -> bool:
    """Whether an answer is a JSON object: an error, or from a server that ignores the text formats, such as vLLM."""
    try:
        return body[:1] == b"{" and isinstance(from_json(body), dict)
    except ValueError:
        return False


def _duration(value: Any) -> float | None:
    # OpenAI's older servers send the duration as text.
    try:
        return float(value) if isinstance(value, str) else as_number(value, "duration")
    except ValueError:
        return None


def _part(value: Any, name: str) -> TimedText:
    fields = as_object(value, "a segment")
    start, end = as_number(fields.get("start"), "start"), as_number(fields.get("end"), "end")
    if start is None or end is None:
        raise InvalidResponseError(f"{_NAME}: a segment of the answer has no start or no end.", provider=_NAME)
    return TimedText(as_text(fields.get(name), name), start, end)
