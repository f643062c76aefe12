"""Scale LLM Engine as a LlamaIndex LLM, where LlamaIndex users look for it."""

from __future__ import annotations

from linkspan.llama_index import ChatLLMEngine, LLMEngine

__all__ = ["ChatLLMEngine", "LLMEngine"]
