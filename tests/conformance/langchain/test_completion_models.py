"""Linkspan's suite for completion models on ``LLMEngine`` and ``DataCrunch``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from linkspan.langchain import DataCrunch, LLMEngine
from linkspan_sandbox import LLMEngineOptions
from linkspan_sandbox.conformance.langchain import KEY, CompletionModelTests

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from langchain_core.language_models import BaseLLM

    from linkspan_sandbox import Sandbox


class TestDataCrunch(CompletionModelTests):
    @property
    def model_class(self) -> type[BaseLLM]:
        return DataCrunch

    @property
    def generation_info_keys(self) -> Sequence[str]:
        return ("finish_reason", "generated_tokens", "token_usage")

    @property
    def names_the_model(self) -> bool:
        """A container has one model and needs no name for it."""
        return "model" in self.model_params


class TestDataCrunchLegacy(TestDataCrunch):
    """The provider's own endpoint, which needs a model's name."""

    @property
    def model_params(self) -> dict[str, Any]:
        return {"model": "mixtral"}

    def address(self, server: Sandbox) -> dict[str, Any]:
        return {**super().address(server), "base_url": server.datacrunch_url}


class TestDataCrunchOpenAI(TestDataCrunch):
    """Prompts to a vLLM container."""

    @property
    def model_params(self) -> dict[str, Any]:
        return {"model": "mixtral", "api": "openai"}

    @property
    def generation_info_keys(self) -> Sequence[str]:
        return ("finish_reason", "model_name", "token_usage")

    def address(self, server: Sandbox) -> dict[str, Any]:
        return {**super().address(server), "base_url": server.vllm_url}


class TestLLMEngine(CompletionModelTests):
    # Structured output is there on old images alone.
    sandbox_settings: ClassVar[Mapping[str, Any]] = {"llm_engine_options": LLMEngineOptions(obeys_guides=True)}

    @property
    def model_class(self) -> type[BaseLLM]:
        return LLMEngine

    @property
    def model_params(self) -> dict[str, Any]:
        return {"model": "llama-2-7b", "guided_decoding": True}

    def address(self, server: Sandbox) -> dict[str, Any]:
        return {"base_url": server.llm_engine_url, "api_key": KEY, "max_retries": 0}

    @property
    def generation_info_keys(self) -> Sequence[str]:
        """The API gives no finish reason, and its streams count nothing."""
        return ("model_name",)

    @property
    def marks_the_end_of_streams(self) -> bool:
        return False
