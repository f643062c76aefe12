"""LangChain's integration suite on ``ChatScaleway``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from linkspan.langchain import ChatScaleway
from tests.conformance.langchain.chat_suite import ChatModelSuite

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel


class TestChatScaleway(ChatModelSuite):
    dialect: ClassVar[str] = "scaleway"
    #: Details of counts are the script's.
    scripted: ClassVar[frozenset[str]] = frozenset({"test_usage_metadata_streaming"})

    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return ChatScaleway

    @property
    def model_override_value(self) -> str:
        return "mistral-small-3.2-24b-instruct-2506"

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
    def supports_image_tool_message(self) -> bool:
        return True

    @property
    def supports_audio_inputs(self) -> bool:
        return True

    @property
    def supports_anthropic_inputs(self) -> bool:
        return True

    @property
    def supported_usage_metadata_details(self) -> Any:
        details = ["reasoning_output", "cache_read_input"]
        return {"invoke": details, "stream": details}
