"""``ScalewayEmbeddings``: embeddings of Scaleway Generative APIs in LangChain."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from langchain_core.embeddings import Embeddings
from pydantic import Field

from linkspan.langchain.component import LangChainComponent
from linkspan.routes.embeddings import EmbeddingCall
from linkspan.settings.scaleway import ScalewayEmbeddingSettings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from linkspan.providers.scaleway_embeddings import Embedded

__all__ = ["ScalewayEmbeddings"]


class ScalewayEmbeddings(ScalewayEmbeddingSettings, LangChainComponent, Embeddings):
    r"""Embedding models of Scaleway Generative APIs (docs/apis/scaleway.md#embeddings).

    Texts are sent as they are, as strings, as many per request as the model takes; vectors come back in the order of
    the texts. An empty list sends nothing.

    Example::

        from linkspan.langchain import ScalewayEmbeddings

        embeddings = ScalewayEmbeddings(model="qwen3-embedding-8b")  # the key comes from SCW_SECRET_KEY
        embeddings.embed_documents(["Paris is in France.", "Oslo is in Norway."])
        embeddings.embed_query("Where is Oslo?")
        embeddings.embed(["..."]).usage  # tokens, as the server counted them

    Instruction-style models find better if the query, not the documents, is told its purpose::

        ScalewayEmbeddings(
            model="qwen3-embedding-8b",
            query_instruction="Instruct: Given a question, retrieve passages that answer it\nQuery: ",
        )

    Raises:
        ConfigurationError: At construction: an argument is unknown or wrong, or the key is missing.
        ModelError: (of langchain-core, and at the same time of ``linkspan.errors``) when a call fails; it names the
            texts of the request that failed. Empty and blank texts (see ``blank_texts``), and anything that is no
            string, are refused before anything is sent.
    """

    document_instruction: str = Field(default="", description="Put before each document exactly as it is.")

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Embed documents.

        Args:
            texts: What to embed; the document instruction is put before each.

        Returns:
            One vector per text, in their order.
        """
        return self.embed(texts, instruction=self.document_instruction).vectors

    def embed_query(self, text: str) -> list[float]:
        """Embed a query, with the query instruction before it."""
        return self.embed([text], instruction=self.query_instruction).vectors[0]

    async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
        """Embed documents; see ``embed_documents``."""
        return (await self.aembed(texts, instruction=self.document_instruction)).vectors

    async def aembed_query(self, text: str) -> list[float]:
        """Embed a query; see ``embed_query``."""
        return (await self.aembed([text], instruction=self.query_instruction)).vectors[0]

    def embed(self, texts: Sequence[str], *, instruction: str = "") -> Embedded:
        """Embed texts and keep what LangChain's methods have no place for: usage, model and request id.

        Args:
            texts: What to embed.
            instruction: Put before each text; none by default.

        Returns:
            ``vectors``, ``usage`` (the sum over all requests), ``model``, ``request_id`` (if there was one request),
            ``rate_limit`` (what the last answer's headers say).
        """
        with self._errors():
            return self._call().run(texts, instruction, self.max_concurrency)

    async def aembed(self, texts: Sequence[str], *, instruction: str = "") -> Embedded:
        """Embed texts; see ``embed``."""
        with self._errors():
            return await self._call().arun(texts, instruction, asyncio.Semaphore(self.max_concurrency))

    def _call(self) -> EmbeddingCall:
        return EmbeddingCall(
            self._endpoint(), self.model, self.dimensions, self.chunk_size, self.extra_body, self.blank_texts
        )
