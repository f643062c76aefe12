"""Reranking by Scaleway Generative APIs, where LlamaIndex users look for it."""

from __future__ import annotations

from linkspan.llama_index import ScalewayRerank

__all__ = ["ScalewayRerank"]
