"""Settings of Gray Swan Cygnet's classes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from linkspan.errors import ConfigurationError
from linkspan.fields import sent_if_set
from linkspan.options import ChatSettings, ModelName
from linkspan.providers.gray_swan import (
    CHAT_PARAMETERS,
    CONTEXT_WINDOW,
    DEFAULT_MODEL,
    DEFAULT_PATH,
    GRAY_SWAN,
    AnyTool,
    GraySwanChatCodec,
    SpeakerNames,
    gray_swan_base_url,
    gray_swan_model_info,
    undocumented_parameter,
)

if TYPE_CHECKING:
    from linkspan.providers.catalog import ModelInfo
    from linkspan.providers.codec import Codec
    from linkspan.providers.provider import Provider

__all__ = ["GraySwanSettings"]


class GraySwanSettings(ChatSettings):
    """A chat model of Gray Swan. Environment: ``GRAYSWAN_API_KEY``; ``GRAY_SWAN_BASE_URL``."""

    _provider: ClassVar[Provider] = GRAY_SWAN
    #: ``seed`` is listed so that it is refused by name.
    parameter_fields: ClassVar[tuple[str, ...]] = (*CHAT_PARAMETERS, "seed")
    connection_fields: ClassVar[frozenset[str]] = frozenset({"any_tool", "path", "raise_on_block", "speaker_names"})

    model: ModelName = Field(default=DEFAULT_MODEL, description="Name of the model; `model_name` is another name.")
    seed: int | None = Field(default=None, description="Refused: the API documents no seed.")
    frequency_penalty: float | None = sent_if_set("Penalty that grows with a token's count so far.")
    n: int | None = sent_if_set("Number of answers to generate; more than one cannot be streamed.", ge=1)
    moderate_before: bool | None = sent_if_set(
        "Judging by its name, screens the input before generating; the API documents no more."
    )
    path: str = Field(default=DEFAULT_PATH, description="The route below `base_url`.")
    raise_on_block: bool = Field(
        default=False,
        description="Raise `ContentBlockedError` for a blocked answer, also at the end of a stream. The error's "
        "`completion` is the answer.",
    )
    any_tool: AnyTool = Field(
        default="error",
        description="How to handle a request to call any one of several tools, which the API cannot express: `error`, "
        "or `auto`, which lets the model decide whether to call one.",
    )
    speaker_names: SpeakerNames = Field(
        default="error",
        description="How to handle a speaker's name, which messages of this API cannot carry: `error`, or `text`, "
        "which writes it before the text.",
    )
    context_window: int = Field(
        default=CONTEXT_WINDOW,
        gt=0,
        description="Most tokens of prompt and answer together. Unpublished; 8192 is assumed.",
    )

    def _check(self) -> None:
        if self.seed is not None:
            raise ConfigurationError(undocumented_parameter("seed", self.seed), provider=GRAY_SWAN.name)
        super()._check()

    def _resolved_base_url(self) -> str:
        return gray_swan_base_url(self.base_url, self.path)

    def _create_codec(self) -> Codec[Any]:
        return GraySwanChatCodec(
            self.path,
            raise_on_block=self.raise_on_block,
            any_tool=self.any_tool,
            speaker_names=self.speaker_names,
        )

    def _model_info(self) -> ModelInfo:
        return gray_swan_model_info(self.model, self.context_window)
