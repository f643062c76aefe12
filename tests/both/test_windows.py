"""The window of a server of one's own: as the user says it, or as a TGI container tells it (``info()``)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from llama_index.core.selectors import LLMSingleSelector, PydanticSingleSelector
from llama_index.core.selectors.utils import get_selector_from_llm

from linkspan import langchain, llama_index
from tests.both.subjects import SUBJECTS, Server, Subject

if TYPE_CHECKING:
    from linkspan_sandbox import Sandbox

OWN_SERVERS = [subject for subject in SUBJECTS if "LLMEngine" in subject.name or "DataCrunch" in subject.name]
CHATS = [subject for subject in OWN_SERVERS if subject.framework == "langchain" and subject.name.startswith("Chat")]


def window_of(model: Any) -> int | None:
    if hasattr(model, "metadata") and not isinstance(model.metadata, (dict, type(None))):
        return model.metadata.context_window
    return model.profile.get("max_input_tokens")


@pytest.mark.parametrize("subject", CHATS, ids=lambda subject: subject.id)
def test_every_chat_model_of_langchains_has_a_profile(subject: Subject) -> None:
    with subject.make(Server()) as model:
        assert model.profile["text_inputs"] is True
        assert model.profile["tool_calling"] is (subject.kind == "chat")
        assert "max_input_tokens" not in model.profile
        model.context_window = 5000
        assert model.profile["max_input_tokens"] == 5000
        model.model = "another"
        assert model.profile["max_input_tokens"] == 5000
        mine = model.model_copy(update={"profile": {"max_input_tokens": 7}})
        mine.base_url = "http://127.0.0.2:9/v1"
        assert mine.profile == {"max_input_tokens": 7}


@pytest.mark.parametrize(
    "subject", [one for one in SUBJECTS if one.framework == "llama_index"], ids=lambda subject: subject.id
)
def test_llama_index_is_told_of_tools_where_the_api_has_them(subject: Subject) -> None:
    with subject.make(Server()) as model:
        assert model.metadata.is_function_calling_model is (subject.kind == "chat")
        # Core asks for the choice by a tool call, or else in words.
        expected = PydanticSingleSelector if subject.kind == "chat" else LLMSingleSelector
        assert type(get_selector_from_llm(model)) is expected


@pytest.mark.parametrize("way", ["info", "ainfo"])
@pytest.mark.parametrize("framework", [langchain, llama_index])
async def test_a_container_tells_its_window(sandbox: Sandbox, framework: Any, way: str) -> None:
    with framework.ChatDataCrunch(base_url=sandbox.tgi_url, api_key="k" * 12) as model:
        before = window_of(model)
        told = model.info() if way == "info" else await model.ainfo()
        assert window_of(model) == told.max_total_tokens != before
        model.base_url = "http://127.0.0.1:9"
        assert window_of(model) == before


def test_a_container_tells_it_to_prompts_too(sandbox: Sandbox) -> None:
    with llama_index.DataCrunch(base_url=sandbox.tgi_url, api_key="k" * 12) as model:
        told = model.info()
        assert window_of(model) == told.max_total_tokens
