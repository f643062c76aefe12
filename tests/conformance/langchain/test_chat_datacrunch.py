"""LangChain's integration suite on ``ChatDataCrunch``, by TGI's ``generate`` and a chat template."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from linkspan.langchain import ChatDataCrunch
from tests.conformance.langchain.chat_suite import ChatModelSuite

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel


class TestChatDataCrunch(ChatModelSuite):
    dialect: ClassVar[str] = "datacrunch"

    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return ChatDataCrunch

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {**super().chat_model_params, "chat_template": "chatml"}

    @property
    def has_tool_calling(self) -> bool:
        return False

    @property
    def has_structured_output(self) -> bool:
        return True

    @property
    def model_override_value(self) -> str:
        return "mixtral"
