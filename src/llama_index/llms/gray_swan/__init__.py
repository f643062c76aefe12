"""Gray Swan Cygnet as a LlamaIndex LLM, where LlamaIndex users look for it."""

from __future__ import annotations

from linkspan.llama_index import GraySwan

__all__ = ["GraySwan"]
