"""One sandbox for all tests here, and each chat and completion class of both frameworks with each way to an object.

``WAYS`` name a class, its route, and how it is asked for an object.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from linkspan import langchain, llama_index
from linkspan.conversation import ToolCall
from linkspan_sandbox import LLMEngineOptions, Reply, Sandbox

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

KEY = "a-very-secret-key-0123456789"

#: By name: the class, its arguments, and where the sandbox has its API.
LANGCHAIN: dict[str, tuple[type[Any], dict[str, Any], str]] = {
    "scaleway": (langchain.ChatScaleway, {"model": "llama-3.3-70b-instruct"}, "scaleway_url"),
    "responses": (langchain.ChatScaleway, {"model": "gpt-oss-120b", "api": "responses"}, "scaleway_url"),
    "gray_swan": (langchain.ChatGraySwan, {}, "gray_swan_url"),
    "chat_v2": (langchain.ChatLLMEngine, {"model": "llama-3-8b-instruct"}, "llm_engine_url"),
    "chat_v1": (
        langchain.ChatLLMEngine,
        {"model": "llama-2-7b", "api": "v1", "chat_template": "chatml", "guided_decoding": True},
        "llm_engine_url",
    ),
    "chat_generate": (langchain.ChatDataCrunch, {"chat_template": "chatml"}, "tgi_url"),
    "chat_messages": (langchain.ChatDataCrunch, {"api": "messages"}, "tgi_url"),
    "llm_engine": (langchain.LLMEngine, {"model": "llama-2-7b", "guided_decoding": True}, "llm_engine_url"),
    "datacrunch": (langchain.DataCrunch, {}, "tgi_url"),
}
LANGCHAIN_WAYS = [
    *(("scaleway", method) for method in ("json_schema", "json_mode", "function_calling")),
    *(("responses", method) for method in ("json_schema", "json_mode", "function_calling")),
    *(("gray_swan", method) for method in ("json_mode", "function_calling")),
    *(("chat_v2", method) for method in ("json_schema", "json_mode", "function_calling")),
    *(("chat_messages", method) for method in ("json_schema", "json_mode", "function_calling")),
    *((kind, method) for kind in ("chat_v1", "chat_generate") for method in ("json_schema", "json_mode")),
    *((kind, "json_schema") for kind in ("llm_engine", "datacrunch")),
]

LLAMA_INDEX: dict[str, tuple[type[Any], dict[str, Any], str]] = {
    "scaleway": (llama_index.Scaleway, {"model": "llama-3.3-70b-instruct"}, "scaleway_url"),
    "responses": (llama_index.Scaleway, {"model": "gpt-oss-120b", "api": "responses"}, "scaleway_url"),
    "gray_swan": (llama_index.GraySwan, {}, "gray_swan_url"),
    "chat_llm_engine": (llama_index.ChatLLMEngine, {"model": "llama-3-8b-instruct"}, "llm_engine_url"),
    "chat_datacrunch": (llama_index.ChatDataCrunch, {}, "tgi_url"),
    "llm_engine": (llama_index.LLMEngine, {"model": "llama-2-7b", "guided_decoding": True}, "llm_engine_url"),
    "datacrunch": (llama_index.DataCrunch, {}, "tgi_url"),
}
LLAMA_INDEX_WAYS = [
    *(
        (kind, mode)
        for kind in ("scaleway", "responses", "chat_llm_engine", "chat_datacrunch")
        for mode in ("default", "function", "llm")
    ),
    *(("gray_swan", mode) for mode in ("default", "llm")),
    *((kind, mode) for kind in ("llm_engine", "datacrunch") for mode in ("default", "llm")),
]


def reply(text: str, *, by_call: str | None = None, finish_reason: str = "stop") -> Reply:
    """An answer whose text, or the arguments of whose call, are this text."""
    if by_call is None:
        return Reply(text, finish_reason=finish_reason)
    return Reply(tool_calls=[ToolCall("c", by_call, text)], finish_reason=finish_reason)


@pytest.fixture
def sandbox_settings() -> dict[str, Any]:
    # The prompt API has objects on old images alone.
    return {"llm_engine_options": LLMEngineOptions(obeys_guides=True)}


@pytest.fixture
def make(sandbox: Sandbox) -> Iterator[Callable[..., Any]]:
    """Build a model of a kind of ``LANGCHAIN`` or ``LLAMA_INDEX``."""
    made: list[Any] = []

    def build(kinds: dict[str, tuple[type[Any], dict[str, Any], str]], kind: str, **fields: Any) -> Any:
        cls, own, where = kinds[kind]
        base = {"api_key": KEY, "base_url": getattr(sandbox, where), "max_retries": 0, "timeout": 60}
        made.append(cls(**{**base, **own, **fields}))
        return made[-1]

    yield build
    for model in made:
        model.close()
