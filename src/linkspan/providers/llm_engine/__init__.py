"""Scale LLM Engine: prompts on its v1 API, chat on its v2 API, and its model list."""

from linkspan.providers.llm_engine.chat import LLMEngineChatCodec
from linkspan.providers.llm_engine.models import (
    LLMEngineModel,
    decode_model,
    model_path,
)
from linkspan.providers.llm_engine.prompt import LLMEnginePromptCodec
from linkspan.providers.llm_engine.prompt_fields import DEFAULT_MAX_NEW_TOKENS, DEFAULT_TEMPERATURE, PROMPT_FIELDS
from linkspan.providers.llm_engine.provider import LLM_ENGINE, Auth, Framework

__all__ = [
    "DEFAULT_MAX_NEW_TOKENS",
    "DEFAULT_TEMPERATURE",
    "LLM_ENGINE",
    "PROMPT_FIELDS",
    "Auth",
    "Framework",
    "LLMEngineChatCodec",
    "LLMEngineModel",
    "LLMEnginePromptCodec",
    "decode_model",
    "model_path",
]
