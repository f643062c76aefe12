"""Settings of Scale LLM Engine's classes."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import BaseModel, Field

from linkspan.fields import sent_if_set
from linkspan.options import ChatSettings, ModelName, ModelSettings
from linkspan.providers.error_bodies import refuse_page
from linkspan.providers.llm_engine import LLM_ENGINE, PROMPT_FIELDS, Auth, Framework, LLMEnginePromptCodec
from linkspan.providers.llm_engine.models import HEALTH_PATH, decode_model, model_path
from linkspan.providers.llm_engine.prompt_fields import schema_refusal
from linkspan.settings.listing import ListsModels

if TYPE_CHECKING:
    from collections.abc import Mapping

    from linkspan.providers.codec import Codec
    from linkspan.providers.llm_engine import LLMEngineModel
    from linkspan.providers.provider import Provider

__all__ = ["GuidedDecoding", "LLMEngineChatParameters", "LLMEnginePromptSettings", "LLMEngineSettings"]

_no_page = partial(refuse_page, LLM_ENGINE.name)


class LLMEngineSettings(ListsModels, ModelSettings):
    """A connection to a self-hosted LLM Engine. Environment: ``SCALE_API_KEY``, ``LLM_ENGINE_BASE_PATH``."""

    _provider: ClassVar[Provider] = LLM_ENGINE
    connection_fields: ClassVar[frozenset[str]] = frozenset({"auth", "inference_framework", "guided_decoding"})

    model: ModelName = Field(description="Name of the endpoint; `model_name` is another name.")
    auth: Auth = Field(
        default="basic",
        description="How the key is sent: `basic` (together with `x-api-key`, as the official client does) or "
        "`bearer`.",
    )

    inference_framework: Framework | None = Field(
        default=None,
        description='Inference framework of the endpoint. Set "tensorrt_llm" for TensorRT-LLM: its prompt API streams '
        "end without `finished: true`, which raises `InterruptedStreamError` for every other value.",
    )

    guided_decoding: bool = Field(
        default=False,
        description="Whether the endpoint obeys the `guided_*` fields: images with vLLM before 0.12 do, newer ones "
        "ignore them. With `True`, schemas and choices are sent in these fields. By default, the chat API "
        "(v2) sends a schema as a required tool call, and the prompt API (v1) refuses schemas because it "
        "cannot enforce them.",
    )

    def get_model(self, name: str) -> LLMEngineModel:
        """Return one endpoint of the deployment: its framework, kind and status.

        Raises:
            NotFoundError: The name is unknown, or the endpoint belongs to another team.
            LinkspanError: The call failed for another reason.
        """
        with self._errors():
            return self._endpoint().read(model_path(name), decode_model)

    async def aget_model(self, name: str) -> LLMEngineModel:
        """Return one endpoint of the deployment; see ``get_model``."""
        with self._errors():
            return await self._endpoint().aread(model_path(name), decode_model)

    def check_health(self) -> None:
        """Check that the deployment's gateway is up; says nothing about its models.

        Raises:
            LinkspanError: The gateway is down, or not at this address.
        """
        with self._errors():
            self._endpoint().read(HEALTH_PATH, _no_page)

    async def acheck_health(self) -> None:
        """Check that the gateway is up; see ``check_health``."""
        with self._errors():
            await self._endpoint().aread(HEALTH_PATH, _no_page)


class GuidedDecoding(BaseModel):
    """Fields that force the shape of an answer: at most one per call, and only with `guided_decoding`."""

    guided_json: dict[str, Any] | None = sent_if_set("JSON Schema that the answer must follow.")
    guided_regex: str | None = sent_if_set("Regular expression that the answer must match.")
    guided_choice: list[str] | None = sent_if_set("Allowed answers.")
    guided_grammar: str | None = sent_if_set("Context-free grammar that the answer must follow.")


class LLMEnginePromptSettings(LLMEngineSettings, GuidedDecoding):
    """A model of LLM Engine's prompt API (v1)."""

    argument_aliases: ClassVar[Mapping[str, str]] = {
        **ModelSettings.argument_aliases,
        "max_new_tokens": "max_tokens",
        "stop_sequences": "stop",
    }
    parameter_fields: ClassVar[tuple[str, ...]] = (
        "temperature",
        "max_tokens",
        *(name for name in PROMPT_FIELDS if name not in {"temperature", "max_new_tokens", "stop_sequences"}),
    )

    return_token_log_probs: bool | None = sent_if_set("Request the log probability of each token.")
    presence_penalty: float | None = sent_if_set("Penalty, 0.0 to 2.0, for tokens that already appeared.")
    frequency_penalty: float | None = sent_if_set("Penalty, 0.0 to 2.0, that grows with a token's count so far.")
    top_k: int | None = sent_if_set("Consider only this many of the most likely tokens; -1 for all.")
    top_p: float | None = sent_if_set("Nucleus sampling: consider only the most likely tokens up to this sum.")
    include_stop_str_in_output: bool | None = sent_if_set("Keep the stop text in the answer; vLLM only.")
    skip_special_tokens: bool | None = Field(
        default=None,
        description="Remove special tokens from the answer; vLLM only. Not sent unless set; the server's default is "
        "true.",
    )

    def _prompt_codec(self) -> Codec[Any]:
        """Return the codec of the prompt API."""
        return LLMEnginePromptCodec(
            self.auth, inference_framework=self.inference_framework, guided_decoding=self.guided_decoding
        )

    def _schema_options(self, schema: Mapping[str, Any]) -> dict[str, Any]:
        """Return the parameters that restrict an answer to a JSON schema.

        Raises:
            UnsupportedContentError: The endpoint has no guided decoding, so nothing would enforce the schema.
        """
        if not self.guided_decoding:
            raise schema_refusal()
        return {"guided_json": dict(schema)}

    def _choice_options(self, choices: list[str]) -> dict[str, Any]:
        """Return the parameters that restrict an answer to one of these texts.

        Raises:
            UnsupportedContentError: The endpoint has no guided decoding, so nothing would enforce the choice.
        """
        if not self.guided_decoding:
            raise schema_refusal()
        return {"guided_choice": choices}


class LLMEngineChatParameters(ChatSettings, GuidedDecoding):
    """Parameters of LLM Engine's chat classes."""

    parameter_fields: ClassVar[tuple[str, ...]] = (
        *ChatSettings.parameter_fields,
        "top_k",
        "presence_penalty",
        "frequency_penalty",
        "repetition_penalty",
        "reasoning_effort",
        "return_token_log_probs",
        "guided_json",
        "guided_regex",
        "guided_choice",
        "guided_grammar",
    )

    top_k: int | None = sent_if_set("Consider only this many of the most likely tokens; -1 for all.")
    presence_penalty: float | None = sent_if_set("Penalty for tokens that already appeared.")
    frequency_penalty: float | None = sent_if_set("Penalty that grows with a token's count so far.")
    repetition_penalty: float | None = sent_if_set(
        "Penalty above 0 for tokens that already appeared; 1 turns it off. v2 only."
    )
    reasoning_effort: str | None = sent_if_set("How much a reasoning model reasons. v2 only.")
    return_token_log_probs: bool | None = sent_if_set(
        "Request the log probability of each token. v1 only (on v2: `logprobs`)."
    )
