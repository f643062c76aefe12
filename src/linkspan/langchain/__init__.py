"""linkspan's classes for LangChain. Their errors are those of ``linkspan.errors`` and of langchain-core at once.

It needs the extra ``linkspan[langchain]``.
"""

from __future__ import annotations

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
from linkspan.langchain.datacrunch import DataCrunch
from linkspan.langchain.gray_swan import ChatGraySwan
from linkspan.langchain.llm_engine import LLMEngine
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
]
