"""LangChain's integration suite on ``ChatLLMEngine``, by the chat API (v2)."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from linkspan.langchain import ChatLLMEngine
from tests.conformance.langchain.chat_suite import ChatModelSuite

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel


class TestChatLLMEngine(ChatModelSuite):
    dialect: ClassVar[str] = "llm-engine"

    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return ChatLLMEngine

    @property
    def model_override_value(self) -> str:
        return "qwen2-72b-instruct"

    @property
    def supports_json_mode(self) -> bool:
        return True

    @property
    def supports_image_inputs(self) -> bool:
        return True

    @property
    def supports_image_urls(self) -> bool:
        return True

    @property
    def supports_audio_inputs(self) -> bool:
        return True

    @property
    def supports_anthropic_inputs(self) -> bool:
        return True
