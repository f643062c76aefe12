"""Transcription by Scaleway Generative APIs: sound in, text out (see docs/apis/scaleway.md#sound-and-documents)."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, NamedTuple

from linkspan.errors import InvalidResponseError, UnsupportedContentError
from linkspan.files import sniff_sound
from linkspan.form import Form
from linkspan.providers.chat_completions.decode import error_in
from linkspan.providers.error_bodies import request_id_of
from linkspan.providers.scaleway import SCALEWAY, ScalewayChatCodec
from linkspan.providers.scaleway_embeddings import read_object
from linkspan.providers.wire import as_list, as_name, as_number, as_object, as_text, parse_json
from linkspan.rate_limits import rate_limit_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from linkspan.files import InputFile

__all__ = [
    "DEFAULT_TRANSCRIPTION_MODEL",
    "TEXT_FORMATS",
    "TRANSCRIPTIONS_PATH",
    "Passage",
    "TimedText",
    "Transcript",
    "decode_transcript",
    "encode_transcription",
]

#: The route below the base URL.
TRANSCRIPTIONS_PATH = "audio/transcriptions"
#: The only serverless model for it.
DEFAULT_TRANSCRIPTION_MODEL = "whisper-large-v3"
#: Response formats that are text, not JSON.
TEXT_FORMATS = frozenset({"text", "srt", "vtt"})

#: By what the first bytes show: the name endings that mean it.
_FORMATS = {
    "flac": ("flac",),
    "m4a": ("m4a", "mp4"),
    "mp3": ("mp3", "mpeg", "mpga"),
    "ogg": ("ogg", "oga"),
    "wav": ("wav",),
    "webm": ("webm",),
}
_ENDINGS = frozenset(ending for endings in _FORMATS.values() for ending in endings)
#: Seen to be refused, whatever they hold.
_REFUSED = frozenset({"aac", "amr", "opus"})
_MEDIA_TYPES = {"m4a": "audio/mp4", "mp3": "audio/mpeg"}
_NAME = SCALEWAY.name


class Passage(NamedTuple):
    """A text of a file, with what is known of it: one document of a framework."""

    text: str
    metadata: dict[str, Any]


@dataclass(slots=True, frozen=True)
class TimedText:
    """A segment or a word of what was said.

    Attributes:
        text: The words.
        start: Seconds from the beginning.
        end: Likewise.
    """

    text: str
    start: float
    end: float


@dataclass(slots=True)
class Transcript:
    """What was said in a file.

    Attributes:
        text: All of it, in the format that was asked for.
        language: The language, as the server names it.
        duration: Seconds of sound.
        segments: Parts with their times, if they were asked for.
        words: Single words with their times, likewise.
        model: The model that was asked.
        request_id: The server's id of the request.
        rate_limit: What the answer's headers say about rate limits.
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
            InvalidResponseError: There are words, but no segments to split them by.
        """
        facts = {"model": self.model, "language": self.language, "duration": self.duration}
        known = {name: fact for name, fact in facts.items() if fact is not None}
        if not split_segments:
            timed = {"segments": _as_dicts(self.segments), "words": _as_dicts(self.words)}
            return [Passage(self.text, {**known, **{name: parts for name, parts in timed.items() if parts}})]
        if self.text.strip() and not self.segments:
            raise InvalidResponseError(
                f"{_NAME}: the transcript was to be split by its segments, but the answer has none: set "
                "split_segments=False.",
                provider=_NAME,
                request_id=self.request_id,
            )
        return [Passage(one.text.strip(), {**known, "start": one.start, "end": one.end}) for one in self.segments]


def _as_dicts(parts: Sequence[TimedText]) -> list[dict[str, Any]]:
    return [{"text": part.text, "start": part.start, "end": part.end} for part in parts]


def encode_transcription(
    file: InputFile, model: str, parameters: Mapping[str, Any], extra_body: Mapping[str, Any]
) -> Form:
    """Write the form of a request.

    Args:
        file: The sound.
        model: Name of the model.
        parameters: Those that are set, under the API's own names.
        extra_body: Further fields, merged in last.

    Raises:
        InvalidRequestError: The file is empty or larger than 25 MB.
        UnsupportedContentError: It is of a format that is not taken.
    """
    file.check_size(_NAME)
    ending = _ending_of(file)
    fields = {"model": model}
    for name, value in {**parameters, **extra_body}.items():
        # The name that OpenAI's client and vLLM have for a list.
        fields[f"{name}[]" if isinstance(value, list) and not name.endswith("[]") else name] = value
    stem = PurePath(file.name).stem or "sound"
    return Form(fields, f"{stem}.{ending}", file.content, _MEDIA_TYPES.get(ending, f"audio/{ending}"))


def _ending_of(file: InputFile) -> str:
    """Return the ending of the name under which a file is sent: servers tell its format by that."""
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
    """Read an answer.

    Args:
        body: The answer's body.
        headers: The answer's headers.
        response_format: What was asked for.
        model: The model that was asked.

    Raises:
        InvalidResponseError: It holds no text.
        LinkspanError: The answer is an error under status 200.
    """
    known: dict[str, Any] = {"request_id": request_id_of(headers), "rate_limit": rate_limit_of(headers), "model": model}
    if response_format in TEXT_FORMATS:
        if body[:1] == b"{":
            error = error_in(parse_json(body, _NAME), _NAME, headers)
            if error is not None:
                raise ScalewayChatCodec().explain(error)
        text = body.decode("utf-8", "replace")
        return Transcript(text.strip() if response_format == "text" else text, **known)
    parsed = read_object(body, headers)
    if not isinstance(parsed.get("text"), str):
        raise InvalidResponseError(
            f"{_NAME}: the answer holds no transcript.", provider=_NAME, request_id=known["request_id"]
        )
    return Transcript(
        parsed["text"],
        language=as_name(parsed.get("language"), "language"),
        duration=_seconds(parsed.get("duration"), "duration"),
        segments=[_part(part, "text") for part in as_list(parsed.get("segments"), "segments")],
        words=[_part(part, "word") for part in as_list(parsed.get("words"), "words")],
        raw=parsed,
        **known,
    )


def _seconds(value: Any, name: str) -> float | None:
    # OpenAI's older servers write the duration as text.
    try:
        return float(value) if isinstance(value, str) else as_number(value, name)
    except ValueError:
        return None


def _part(value: Any, name: str) -> TimedText:
    fields = as_object(value, "a segment")
    start, end = as_number(fields.get("start"), "start"), as_number(fields.get("end"), "end")
    if start is None or end is None:
        raise InvalidResponseError(f"{_NAME}: a segment of the answer has no start or no end.", provider=_NAME)
    return TimedText(as_text(fields.get(name), name), start, end)
