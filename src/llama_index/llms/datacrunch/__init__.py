"""DataCrunch (Verda), and any TGI server, as a LlamaIndex LLM, where LlamaIndex users look for it."""

from __future__ import annotations

from linkspan.llama_index import ChatDataCrunch, DataCrunch

__all__ = ["ChatDataCrunch", "DataCrunch"]
