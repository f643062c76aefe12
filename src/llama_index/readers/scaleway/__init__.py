"""Readers by Scaleway Generative APIs, where LlamaIndex users look for them."""

from __future__ import annotations

from linkspan.llama_index import ScalewayOCRReader, ScalewayTranscriptionReader

__all__ = ["ScalewayOCRReader", "ScalewayTranscriptionReader"]
