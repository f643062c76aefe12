"""Embeddings of Scaleway Generative APIs, where LlamaIndex users look for them."""

from __future__ import annotations

from linkspan.llama_index import ScalewayEmbedding

__all__ = ["ScalewayEmbedding"]
