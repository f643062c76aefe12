"""LangChain's integration suite on ``ChatDataCrunch`` with a vLLM container."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from linkspan.langchain import ChatDataCrunch
from tests.cassettes.tape import HOST
from tests.conformance.langchain.chat_suite import ChatModelSuite

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel


class TestChatDataCrunchOpenAI(ChatModelSuite):
    dialect: ClassVar[str] = "vllm"
    #: Details of counts are the script's.
    scripted: ClassVar[frozenset[str]] = frozenset({"test_usage_metadata_streaming"})
    #: The class cuts one ``/v1`` off.
    replayed_url: ClassVar[str] = f"https://{HOST}/v1/v1"

    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return ChatDataCrunch

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {**super().chat_model_params, "api": "openai"}

    @property
    def model_override_value(self) -> str:
        return "mixtral"

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
