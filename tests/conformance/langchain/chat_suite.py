"""What the chat suites have in common: which server records a test, and how a model finds it, or its cassette."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import pytest
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_tests.integration_tests import ChatModelIntegrationTests

from tests.cassettes.tape import HOST

if TYPE_CHECKING:
    from vcr.cassette import Cassette

    from tests.cassettes.tape import Tape

#: What the small local model can answer: plain talk. For the rest a script answers as a larger model would.
_LOCAL = frozenset(
    {
        "test_invoke",
        "test_ainvoke",
        "test_stream",
        "test_astream",
        "test_stream_events_v3",
        "test_astream_events_v3",
        "test_batch",
        "test_abatch",
        "test_conversation",
        "test_double_messages_conversation",
        "test_usage_metadata_streaming",
        "test_stop_sequence",
        "test_message_with_name",
        "test_stream_time",
    }
)

_TOOLS = (
    "test_agent_loop",
    "test_bind_runnables_as_tools",
    "test_structured_few_shot_examples",
    "test_tool_calling",
    "test_tool_calling_async",
    "test_tool_calling_with_no_arguments",
    "test_tool_choice",
    "test_tool_message_error_status",
    "test_tool_message_histories_list_content",
    "test_tool_message_histories_string_content",
    "test_unicode_tool_call_integration",
)
#: The property of the suite that must be true for a test; without it langchain-tests skips the test.
_NEEDS = dict.fromkeys(_TOOLS, "has_tool_calling") | {
    "test_anthropic_inputs": "supports_anthropic_inputs",
    "test_audio_inputs": "supports_audio_inputs",
    "test_image_inputs": "supports_image_inputs",
    "test_image_tool_message": "supports_image_tool_message",
    "test_json_mode": "supports_json_mode",
    "test_pdf_inputs": "supports_pdf_inputs",
    "test_pdf_tool_message": "supports_pdf_tool_message",
}


class ChatModelSuite(ChatModelIntegrationTests):
    """LangChain's standard suite for chat models, over the tape of each test."""

    #: What is behind the hyphen in the names of the provider's sources in ``scripts/record_cassettes.py``.
    dialect: ClassVar[str]
    #: The name to ask for where the cassette does not say which model was asked.
    default_model: ClassVar[str] = "any"
    #: Where replayed requests go.
    replayed_url: ClassVar[str] = f"https://{HOST}/v1"
    #: Tests that the local model could answer otherwise, and cannot here.
    scripted: ClassVar[frozenset[str]] = frozenset()

    tape: Tape

    @pytest.fixture(autouse=True)
    def _tape(self, tape: Tape) -> None:
        self.tape = tape

    @pytest.fixture
    def vcr(self, request: pytest.FixtureRequest, tape: Tape) -> Cassette:
        """The cassette, which the benchmark plays again and again. In place of pytest-recording's fixture."""
        cassette = tape._cassette
        cassette.allow_playback_repeats = request.node.get_closest_marker("benchmark") is not None
        return cassette

    @property
    def chat_model_params(self) -> dict[str, Any]:
        try:
            model = self.tape.model
        except (IndexError, KeyError):
            model = self.default_model
        return {
            "model": model,
            "base_url": self.tape.base_url or self.replayed_url,
            "api_key": self.tape.key,
            "max_retries": 0,
            "temperature": 0,
            "max_tokens": 32,
        }

    @property
    def enable_vcr_tests(self) -> bool:
        return True

    # Asked for by the tests of token counts, where the class says that its API has them.

    def invoke_with_reasoning_output(self, *, stream: bool = False) -> AIMessage:
        return self._ask("Please think: what is 1 + 2?", stream=stream)

    def invoke_with_cache_read_input(self, *, stream: bool = False) -> AIMessage:
        return self._ask("Answer as before, from what is cached.", stream=stream)

    def _ask(self, question: str, *, stream: bool) -> AIMessage:
        model = self.chat_model_class(**self.chat_model_params)
        if not stream:
            return model.invoke(question)
        full: AIMessageChunk | None = None
        for chunk in model.stream(question):
            assert isinstance(chunk, AIMessageChunk)
            full = chunk if full is None else full + chunk
        assert full is not None
        return full


def source_of_test(suite: type[ChatModelSuite], test: str) -> str:
    """Return the name of the source that a test's cassettes are recorded from."""
    if test not in _LOCAL or test in suite.scripted:
        return f"scripted-{suite.dialect}"
    return f"sandbox-{suite.dialect}".removesuffix("-scaleway")


def is_needed(suite: type[ChatModelSuite], test: str) -> bool:
    """Return whether the API has what a test is about."""
    needed = _NEEDS.get(test)
    return needed is None or bool(getattr(suite(), needed))
