"""Settings of the classes for Scaleway's transcription and OCR."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, NonNegativeInt

from linkspan.errors import ConfigurationError
from linkspan.fields import sent_if_set
from linkspan.options import ModelName  # noqa: TC001  # pydantic reads the annotations at run time
from linkspan.providers.scaleway import SCALEWAY
from linkspan.providers.scaleway_ocr import DEFAULT_OCR_MODEL
from linkspan.providers.scaleway_transcription import DEFAULT_TRANSCRIPTION_MODEL
from linkspan.routes.documents import OcrCall, TranscriptionCall
from linkspan.settings.scaleway import ScalewaySettings

__all__ = ["ScalewayOCRSettings", "ScalewayTranscriptionSettings"]


class ScalewayTranscriptionSettings(ScalewaySettings):
    """A transcription model of Scaleway."""

    model: ModelName = Field(
        default=DEFAULT_TRANSCRIPTION_MODEL, description="Name of the model; `model_name` is another name."
    )
    language: str | None = Field(
        default=None, description='Spoken language, such as "fr". Default: the model detects it.'
    )
    prompt: str | None = sent_if_set("Text that helps the model: names, terms, the preceding text.")
    temperature: float | None = sent_if_set("Sampling temperature, 0 to 1.", ge=0, le=1)
    response_format: Literal["json", "text", "verbose_json", "srt", "vtt"] | None = Field(
        default=None,
        description='Format of the answer: "json" (the default) or "text" for the text only, "verbose_json" with '
        'language, duration and times, "srt" or "vtt" for subtitles.',
    )
    timestamp_granularities: list[Literal["segment", "word"]] | None = sent_if_set(
        "Times to request; the answer is then `verbose_json`."
    )
    split_segments: bool = Field(
        default=False,
        description="Return one document per segment, with `start` and `end` in seconds, instead of one in total.",
    )

    def _check(self) -> None:
        super()._check()
        times = self.timestamp_granularities
        if (times or self.split_segments) and self.response_format not in {None, "verbose_json"}:
            raise ConfigurationError(
                f"response_format={self.response_format!r} has no times, which timestamp_granularities and "
                'split_segments need: leave it out, or use "verbose_json".',
                provider=SCALEWAY.name,
            )
        if self.split_segments and times is not None and "segment" not in times:
            raise ConfigurationError(
                'split_segments needs the times of segments: add "segment" to timestamp_granularities.',
                provider=SCALEWAY.name,
            )

    def _call(self) -> TranscriptionCall:
        timed = self.timestamp_granularities or self.split_segments
        parameters: dict[str, Any] = {
            "language": self.language,
            "prompt": self.prompt,
            "temperature": self.temperature,
            "response_format": self.response_format or ("verbose_json" if timed else None),
            "timestamp_granularities": self.timestamp_granularities,
        }
        given = {name: value for name, value in parameters.items() if value is not None}
        return TranscriptionCall(self._endpoint(), self.model, given, self.extra_body)


class ScalewayOCRSettings(ScalewaySettings):
    """An OCR model of Scaleway."""

    model: ModelName = Field(default=DEFAULT_OCR_MODEL, description="Name of the model; `model_name` is another name.")
    pages: list[NonNegativeInt] | None = Field(
        default=None, min_length=1, description="Pages to read, counted from 0. Default: all."
    )

    def _call(self) -> OcrCall:
        return OcrCall(self._endpoint(), self.model, self.pages, self.extra_body)
