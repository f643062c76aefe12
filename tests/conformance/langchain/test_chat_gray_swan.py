"""LangChain's integration suite on ``ChatGraySwan``."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import pytest

from linkspan.langchain import ChatGraySwan
from linkspan.langchain.errors import UnsupportedContentError
from tests.conformance.langchain.chat_suite import ChatModelSuite

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel


class TestChatGraySwan(ChatModelSuite):
    dialect: ClassVar[str] = "gray-swan"

    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return ChatGraySwan

    @property
    def model_override_value(self) -> str:
        return "cygnet-llama-3"

    @property
    def supports_json_mode(self) -> bool:
        return True

    @property
    def supports_anthropic_inputs(self) -> bool:
        return True

    @pytest.mark.xfail(
        raises=AssertionError,
        reason="the API's streams carry no token counts, as far as is known",
    )
    def test_usage_metadata_streaming(self, model: BaseChatModel) -> None:
        super().test_usage_metadata_streaming(model)

    @pytest.mark.xfail(
        raises=UnsupportedContentError,
        reason="the API's messages have a role and a text, no name",
    )
    def test_message_with_name(self, model: BaseChatModel) -> None:
        super().test_message_with_name(model)

    @pytest.mark.xfail(
        raises=UnsupportedContentError,
        reason="the API documents tool_choice by name only, not any of several tools",
    )
    def test_tool_choice(self, model: BaseChatModel) -> None:
        super().test_tool_choice(model)
