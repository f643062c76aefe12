"""The same words mean the same in both frameworks: api, chat template, a server's address, model names."""

from __future__ import annotations

import json
from typing import Any

import pytest

from linkspan.errors import LinkspanError
from tests.both.subjects import Server, Subject

CONTAINER = "http://127.0.0.1:9/my-deployment"
GATEWAY = "https://inference.verda.com/v1"
LEGACY = "https://inference.datacrunch.io/v1/completions"
LLAMA = "llama-3-8b-instruct"
JINJA = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"

CASES: list[tuple[str, dict[str, Any]]] = [
    ("ChatDataCrunch", {"base_url": CONTAINER}),
    ("ChatDataCrunch", {"base_url": CONTAINER, "chat_template": "llama-3"}),
    (
        "ChatDataCrunch",
        {"base_url": CONTAINER, "chat_template": JINJA},
    ),
    ("ChatDataCrunch", {"base_url": CONTAINER, "chat_template": "unknown"}),
    ("ChatDataCrunch", {"base_url": CONTAINER, "api": "generate"}),
    ("ChatDataCrunch", {"base_url": CONTAINER, "api": "generate", "model": LLAMA}),
    ("ChatDataCrunch", {"base_url": CONTAINER, "api": "messages", "chat_template": "llama-3"}),
    ("ChatDataCrunch", {"base_url": CONTAINER, "api": "openai", "model": "m"}),
    ("ChatDataCrunch", {"base_url": CONTAINER, "api": "openai", "chat_template": "llama-3"}),
    ("ChatDataCrunch", {"base_url": CONTAINER, "api": "completions"}),
    ("ChatDataCrunch", {"base_url": f"{CONTAINER}/v1"}),
    ("ChatDataCrunch", {"base_url": f"{CONTAINER}/v1/chat/completions"}),
    ("ChatDataCrunch", {"base_url": f"{CONTAINER}/generate"}),
    ("ChatDataCrunch", {"base_url": GATEWAY, "model": "m"}),
    ("ChatDataCrunch", {"base_url": GATEWAY, "model": "m", "api": "messages"}),
    ("ChatDataCrunch", {"base_url": LEGACY, "model": LLAMA}),
    ("ChatDataCrunch", {"base_url": LEGACY, "model": "m"}),
    ("ChatDataCrunch", {"base_url": LEGACY, "model": LLAMA, "api": "messages"}),
    ("DataCrunch", {"base_url": CONTAINER}),
    ("DataCrunch", {"base_url": CONTAINER, "api": "openai", "model": "m"}),
    ("DataCrunch", {"base_url": CONTAINER, "api": "messages"}),
    ("DataCrunch", {"base_url": f"{CONTAINER}/generate_stream"}),
    ("DataCrunch", {"base_url": GATEWAY, "model": "m"}),
    ("DataCrunch", {"base_url": LEGACY, "model": "m"}),
    ("DataCrunch", {"base_url": LEGACY}),
    ("ChatLLMEngine", {"base_url": CONTAINER, "model": "m"}),
    ("ChatLLMEngine", {"base_url": CONTAINER, "model": "m", "api": "v1"}),
    ("ChatLLMEngine", {"base_url": CONTAINER, "model": LLAMA, "api": "v1"}),
    ("ChatLLMEngine", {"base_url": CONTAINER, "model": "m", "api": "v1", "chat_template": "llama-3"}),
    ("ChatLLMEngine", {"base_url": CONTAINER, "model": "m", "chat_template": "llama-3"}),
    ("ChatLLMEngine", {"base_url": CONTAINER, "model": "m", "api": "v3"}),
    ("LLMEngine", {"base_url": CONTAINER, "model": "m"}),
]


def outcome(framework: str, name: str, settings: dict[str, Any]) -> str | tuple[str, Any]:
    """What a call sends, and where to; or the words with which the object or the call is refused."""
    subject, server = Subject(framework, name, settings), Server()
    try:
        subject.ask(subject.make(server), max_tokens=9)
    except LinkspanError as error:
        return str(error)
    request = server.requests[-1]
    return str(request.url), json.loads(request.content)


@pytest.mark.parametrize(("name", "settings"), CASES, ids=lambda one: one if isinstance(one, str) else str(one))
def test_both_frameworks_send_the_same_or_refuse_alike(name: str, settings: dict[str, Any]) -> None:
    assert outcome("langchain", name, settings) == outcome("llama_index", name, settings)


@pytest.mark.parametrize("name", ["DataCrunch", "LLMEngine"])
def test_a_template_given_to_a_class_of_prompts_names_the_class_of_chats(name: str) -> None:
    text = outcome("langchain", name, {"base_url": CONTAINER, "model": "m", "chat_template": "llama-3"})
    assert f"Chat{name}" in text
