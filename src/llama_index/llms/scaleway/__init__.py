"""Scaleway Generative APIs as a LlamaIndex LLM, where LlamaIndex users look for it."""

from __future__ import annotations

from linkspan.llama_index import Scaleway

__all__ = ["Scaleway"]
