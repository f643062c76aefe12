"""linkspan for LlamaIndex. It needs the extra ``linkspan[llama-index]``."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

try:
    import llama_index.core as _core  # noqa: F401
except ModuleNotFoundError as error:
    raise ImportError(
        f"linkspan.llama_index needs {error.name}, which comes with an extra: pip install 'linkspan[llama-index]'",
        name=error.name,
    ) from error

if TYPE_CHECKING:
    from linkspan.llama_index.chat_llm import ChatLLM
    from linkspan.llama_index.completion_llm import CompletionLLM
    from linkspan.llama_index.cygnal import Cygnal, CygnalPostprocessor
    from linkspan.llama_index.cygnal_llm import CygnalLLM
    from linkspan.llama_index.cygnal_tool import CygnalTool
    from linkspan.llama_index.data_chat_engine import DataContextChatEngine
    from linkspan.llama_index.data_role import (
        DATA_QA_PROMPT,
        DATA_REFINE_PROMPT,
        DATA_REFINE_TABLE_PROMPT,
        DATA_TREE_SUMMARIZE_PROMPT,
        data_message,
        register_data_prompts,
        unregister_data_prompts,
    )
    from linkspan.llama_index.datacrunch import ChatDataCrunch, DataCrunch
    from linkspan.llama_index.gray_swan import GraySwan
    from linkspan.llama_index.llm_engine import ChatLLMEngine, LLMEngine
    from linkspan.llama_index.messages import DATA_ROLE_MARKER
    from linkspan.llama_index.scaleway import Scaleway
    from linkspan.llama_index.scaleway_embedding import ScalewayEmbedding
    from linkspan.llama_index.scaleway_readers import ScalewayOCRReader, ScalewayTranscriptionReader
    from linkspan.llama_index.scaleway_rerank import ScalewayRerank

__all__ = [
    "DATA_QA_PROMPT",
    "DATA_REFINE_PROMPT",
    "DATA_REFINE_TABLE_PROMPT",
    "DATA_ROLE_MARKER",
    "DATA_TREE_SUMMARIZE_PROMPT",
    "ChatDataCrunch",
    "ChatLLM",
    "ChatLLMEngine",
    "CompletionLLM",
    "Cygnal",
    "CygnalLLM",
    "CygnalPostprocessor",
    "CygnalTool",
    "DataContextChatEngine",
    "DataCrunch",
    "GraySwan",
    "LLMEngine",
    "Scaleway",
    "ScalewayEmbedding",
    "ScalewayOCRReader",
    "ScalewayRerank",
    "ScalewayTranscriptionReader",
    "data_message",
    "register_data_prompts",
    "unregister_data_prompts",
]

#: The module of each name, imported on first access: one class needs neither the other APIs nor chat engines.
_MODULES = {
    "ChatDataCrunch": "datacrunch",
    "ChatLLM": "chat_llm",
    "ChatLLMEngine": "llm_engine",
    "CompletionLLM": "completion_llm",
    "Cygnal": "cygnal",
    "CygnalLLM": "cygnal_llm",
    "CygnalPostprocessor": "cygnal",
    "CygnalTool": "cygnal_tool",
    "DATA_QA_PROMPT": "data_role",
    "DATA_REFINE_PROMPT": "data_role",
    "DATA_REFINE_TABLE_PROMPT": "data_role",
    "DATA_ROLE_MARKER": "messages",
    "DATA_TREE_SUMMARIZE_PROMPT": "data_role",
    "DataContextChatEngine": "data_chat_engine",
    "DataCrunch": "datacrunch",
    "GraySwan": "gray_swan",
    "LLMEngine": "llm_engine",
    "Scaleway": "scaleway",
    "ScalewayEmbedding": "scaleway_embedding",
    "ScalewayOCRReader": "scaleway_readers",
    "ScalewayRerank": "scaleway_rerank",
    "ScalewayTranscriptionReader": "scaleway_readers",
    "data_message": "data_role",
    "register_data_prompts": "data_role",
    "unregister_data_prompts": "data_role",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
