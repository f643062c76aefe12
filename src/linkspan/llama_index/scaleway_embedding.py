"""Embeddings of Scaleway Generative APIs in LlamaIndex."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.schema import MetadataMode
from pydantic import Field, PrivateAttr

from linkspan.concurrency import LoopGates
from linkspan.llama_index.component import LlamaIndexComponent
from linkspan.providers.scaleway_embeddings import without_text
from linkspan.routes.embeddings import with_text, with_zeros
from linkspan.settings.scaleway_embeddings import ScalewayEmbeddingSettings, instruction_field

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Mapping, Sequence

    from llama_index.core.schema import BaseNode

__all__ = ["ScalewayEmbedding"]


class ScalewayEmbedding(ScalewayEmbeddingSettings, LlamaIndexComponent, BaseEmbedding):
    r"""An embedding model of Scaleway's Generative APIs, or of your own deployment.

    Texts are sent unchanged, including line breaks; vectors are in the order of the texts (see
    docs/apis/scaleway.md#embeddings). LlamaIndex passes ``embed_batch_size`` texts at a time. These are sent in
    requests of ``chunk_size`` texts, at most ``max_concurrency`` at once (async: per event loop). In an ingestion
    pipeline, nodes without text (scans, pictures) pass through without a vector.

    Example:
        >>> from llama_index.embeddings.scaleway import ScalewayEmbedding
        >>> embed_model = ScalewayEmbedding(model="qwen3-embedding-8b")  # the key comes from SCW_SECRET_KEY
        >>> vector = embed_model.get_query_embedding("Where is Oslo?")

    Raises:
        ConfigurationError: An unknown or invalid argument, or no key.
    """

    text_instruction: str = instruction_field("document")
    embed_batch_size: int = Field(
        default=2048,
        gt=0,
        le=2048,
        description="Number of texts that LlamaIndex passes at a time; its progress bar advances by this.",
    )

    _gates: LoopGates | None = PrivateAttr(default=None)

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self._gates = LoopGates(self.max_concurrency)
        self.__dict__["model_name"] = self.model

    @classmethod
    def _prepared(cls, settings: Mapping[str, Any]) -> dict[str, Any]:
        # A stored object has core's name next to the field.
        same = settings.get("model_name") == settings.get("model")
        return super()._prepared({name: value for name, value in settings.items() if name != "model_name" or not same})

    def _changed(self, update: Mapping[str, Any]) -> None:
        super()._changed(update)
        # Core's name for the model, which its events show.
        self.__dict__["model_name"] = self.model
        self._gates = LoopGates(self.max_concurrency)

    def _gate(self) -> asyncio.Semaphore:
        return (self._gates or LoopGates(self.max_concurrency)).current()

    # ------------------------------------------------------------------ LlamaIndex's methods

    def __call__(self, nodes: Sequence[BaseNode], **kwargs: Any) -> Sequence[BaseNode]:
        """Embed nodes in place. Nodes without text keep their position and get no vector."""
        super().__call__(_with_text(nodes), **kwargs)
        return nodes

    async def acall(self, nodes: Sequence[BaseNode], **kwargs: Any) -> Sequence[BaseNode]:
        """Embed nodes in place. Nodes without text keep their position and get no vector."""
        await super().acall(_with_text(nodes), **kwargs)
        return nodes

    def get_text_embedding_batch(
        self, texts: list[str], show_progress: bool = False, **kwargs: Any
    ) -> list[list[float]]:
        """Embed texts, ``embed_batch_size`` at a time."""
        checked = self._call().checked(texts)
        vectors = super().get_text_embedding_batch(with_text(checked), show_progress, **kwargs)
        return with_zeros(checked, vectors, self.dimensions)

    async def aget_text_embedding_batch(
        self, texts: list[str], show_progress: bool = False, **kwargs: Any
    ) -> list[list[float]]:
        """Embed texts, ``embed_batch_size`` at a time."""
        checked = self._call().checked(texts)
        vectors = await super().aget_text_embedding_batch(with_text(checked), show_progress, **kwargs)
        return with_zeros(checked, vectors, self.dimensions)

    def _get_query_embedding(self, query: str) -> list[float]:
        return self.embed([query], instruction=self.query_instruction).vectors[0]

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return (await self.aembed([query], instruction=self.query_instruction)).vectors[0]

    def _get_text_embedding(self, text: str) -> list[float]:
        return self._get_text_embeddings([text])[0]

    async def _aget_text_embedding(self, text: str) -> list[float]:
        return (await self._aget_text_embeddings([text]))[0]

    def _get_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        return self.embed(texts, instruction=self.text_instruction).vectors

    async def _aget_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        return (await self.aembed(texts, instruction=self.text_instruction)).vectors


def _with_text(nodes: Sequence[BaseNode]) -> list[BaseNode]:
    blank = set(without_text([node.get_content(metadata_mode=MetadataMode.EMBED) for node in nodes]))
    return [node for place, node in enumerate(nodes) if place not in blank]
