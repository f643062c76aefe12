"""linkspan's classes for LangChain. Their errors are those of ``linkspan.errors`` and of langchain-core at once.

It needs the extra ``linkspan[langchain]``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

try:
    import langchain_core as _core  # noqa: F401
except ModuleNotFoundError as error:
    raise ImportError(
        f"linkspan.langchain needs {error.name}, which comes with an extra: pip install 'linkspan[langchain]'",
        name=error.name,
    ) from error

from linkspan.langchain.chat_datacrunch import ChatDataCrunch
from linkspan.langchain.chat_llm_engine import ChatLLMEngine
from linkspan.langchain.chat_model import LinkspanChatModel
from linkspan.langchain.data_role import (
    data_after_question,
    data_message,
    data_messages,
    data_template,
    retrieve_as_data,
)
from linkspan.langchain.datacrunch import DataCrunch
from linkspan.langchain.gray_swan import ChatGraySwan
from linkspan.langchain.llm_engine import LLMEngine
from linkspan.langchain.registration import register, serializable_classes
from linkspan.langchain.scaleway import ChatScaleway
from linkspan.langchain.scaleway_embeddings import ScalewayEmbeddings
from linkspan.langchain.scaleway_rerank import ScalewayRerank

__all__ = [
    "ChatDataCrunch",
    "ChatGraySwan",
    "ChatLLMEngine",
    "ChatScaleway",
    "DataCrunch",
    "LLMEngine",
    "LinkspanChatModel",
    "ScalewayEmbeddings",
    "ScalewayRerank",
    "data_after_question",
    "data_message",
    "data_messages",
    "data_template",
    "register",
    "retrieve_as_data",
    "serializable_classes",
]

if TYPE_CHECKING:
    from linkspan.langchain.tool_results import ToolResultsAsData as ToolResultsAsData


def __getattr__(name: str) -> Any:
    # Agents' middleware needs the package langchain, which models do not; so it is not in __all__ either.
    if name != "ToolResultsAsData":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        from linkspan.langchain.tool_results import ToolResultsAsData  # noqa: PLC0415  # see above
    except ModuleNotFoundError as error:
        raise ImportError(
            f"{name} is middleware for LangChain's agents and needs {error.name}: pip install langchain",
            name=error.name,
        ) from error
    return ToolResultsAsData
