"""LangChain's integration suite on ``ChatScaleway`` over the Responses API."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from linkspan.langchain.errors import UnsupportedContentError
from tests.conformance.langchain.test_chat_scaleway import TestChatScaleway

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel


class TestChatScalewayResponses(TestChatScaleway):
    dialect: ClassVar[str] = "responses"

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {**super().chat_model_params, "api": "responses"}

    @property
    def supports_image_tool_message(self) -> bool:
        return False

    @property
    def supports_audio_inputs(self) -> bool:
        return False

    @property
    def supports_anthropic_inputs(self) -> bool:
        return False

    @pytest.mark.xfail(raises=UnsupportedContentError, reason="the API's messages have no name")
    def test_message_with_name(self, model: BaseChatModel) -> None:
        super().test_message_with_name(model)


# It would be collected here, too.
del TestChatScaleway
