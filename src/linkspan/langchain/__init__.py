"""linkspan's classes for LangChain. Their errors are those of ``linkspan.errors`` and of langchain-core at once."""

from __future__ import annotations

from linkspan.langchain.chat_model import LinkspanChatModel
from linkspan.langchain.scaleway import ChatScaleway

__all__ = ["ChatScaleway", "LinkspanChatModel"]
