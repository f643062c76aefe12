"""linkspan's classes for LangChain. Their errors are those of ``linkspan.errors`` and of langchain-core at once.

It needs the extra ``linkspan[langchain]``.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

try:
    import langchain_core as _core  # noqa: F401
except ModuleNotFoundError as error:
    raise ImportError(
        f"linkspan.langchain needs {error.name}, which comes with an extra: pip install 'linkspan[langchain]'",
        name=error.name,
    ) from error

if TYPE_CHECKING:
    from linkspan.langchain.chat_datacrunch import ChatDataCrunch
    from linkspan.langchain.chat_llm_engine import ChatLLMEngine
    from linkspan.langchain.chat_model import LinkspanChatModel
    from linkspan.langchain.cygnal import Cygnal, CygnalGuard
    from linkspan.langchain.cygnal_decisions import CygnalDecisionModel as CygnalDecisionModel
    from linkspan.langchain.cygnal_middleware import CygnalMiddleware as CygnalMiddleware
    from linkspan.langchain.data_role import (
        data_after_question,
        data_message,
        data_messages,
        data_template,
        retrieve_as_data,
    )
    from linkspan.langchain.datacrunch import DataCrunch
    from linkspan.langchain.decision_model import ChatDecisionModel as ChatDecisionModel
    from linkspan.langchain.gray_swan import ChatGraySwan
    from linkspan.langchain.llm_engine import LLMEngine
    from linkspan.langchain.registration import register, serializable_classes
    from linkspan.langchain.scaleway import ChatScaleway
    from linkspan.langchain.scaleway_embeddings import ScalewayEmbeddings
    from linkspan.langchain.scaleway_parsers import ScalewayOCRParser, ScalewayTranscriptionParser
    from linkspan.langchain.scaleway_rerank import ScalewayRerank
    from linkspan.langchain.tool_results import ToolResultsAsData as ToolResultsAsData

__all__ = [
    "ChatDataCrunch",
    "ChatGraySwan",
    "ChatLLMEngine",
    "ChatScaleway",
    "Cygnal",
    "CygnalGuard",
    "DataCrunch",
    "LLMEngine",
    "LinkspanChatModel",
    "ScalewayEmbeddings",
    "ScalewayOCRParser",
    "ScalewayRerank",
    "ScalewayTranscriptionParser",
    "data_after_question",
    "data_message",
    "data_messages",
    "data_template",
    "register",
    "retrieve_as_data",
    "serializable_classes",
]

#: The module of each name, imported on first access: one class needs neither the other APIs nor prompt templates, whose
#: parsers take long to load. Names that need more than core 1.6 (middleware, decision models) are not in __all__.
_MODULES = {
    "ChatDecisionModel": "decision_model",
    "ChatDataCrunch": "chat_datacrunch",
    "ChatGraySwan": "gray_swan",
    "ChatLLMEngine": "chat_llm_engine",
    "ChatScaleway": "scaleway",
    "Cygnal": "cygnal",
    "CygnalDecisionModel": "cygnal_decisions",
    "CygnalGuard": "cygnal",
    "CygnalMiddleware": "cygnal_middleware",
    "DataCrunch": "datacrunch",
    "LLMEngine": "llm_engine",
    "LinkspanChatModel": "chat_model",
    "ScalewayEmbeddings": "scaleway_embeddings",
    "ScalewayOCRParser": "scaleway_parsers",
    "ScalewayRerank": "scaleway_rerank",
    "ScalewayTranscriptionParser": "scaleway_parsers",
    "ToolResultsAsData": "tool_results",
    "data_after_question": "data_role",
    "data_message": "data_role",
    "data_messages": "data_role",
    "data_template": "data_role",
    "register": "registration",
    "retrieve_as_data": "data_role",
    "serializable_classes": "registration",
}
#: The requirements of the names that are not in __all__.
_DECISIONS = (
    "needs decision models, which came with langchain-core 1.8 (Python 3.11): pip install 'langchain-core>=1.8'"
)
_MIDDLEWARE = "is middleware for LangChain's agents and needs {}: pip install langchain"
_NEEDS = {
    "ChatDecisionModel": _DECISIONS,
    "CygnalDecisionModel": _DECISIONS,
    "CygnalMiddleware": _MIDDLEWARE,
    "ToolResultsAsData": _MIDDLEWARE,
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        module = import_module(f"{__name__}.{_MODULES[name]}")
    except ModuleNotFoundError as error:
        if name not in _NEEDS:
            raise
        raise ImportError(f"{name} {_NEEDS[name].format(error.name)}", name=error.name) from error
    value = globals()[name] = getattr(module, name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
