"""``ScalewayEmbeddings``: embeddings of Scaleway Generative APIs in LangChain."""

from __future__ import annotations

from langchain_core.embeddings import Embeddings

from linkspan.langchain.component import LangChainComponent
from linkspan.settings.scaleway_embeddings import ScalewayEmbeddingSettings, instruction_field

__all__ = ["ScalewayEmbeddings"]


class ScalewayEmbeddings(ScalewayEmbeddingSettings, LangChainComponent, Embeddings):
    r"""Embedding models of Scaleway Generative APIs (docs/apis/scaleway.md#embeddings).

    Texts are sent unchanged, as many per request as the model accepts; vectors are in the order of the texts. An empty
    list sends nothing.

    Example::

        from linkspan.langchain import ScalewayEmbeddings

        embeddings = ScalewayEmbeddings(model="qwen3-embedding-8b")  # the key comes from SCW_SECRET_KEY
        embeddings.embed_documents(["Paris is in France.", "Oslo is in Norway."])
        embeddings.embed_query("Where is Oslo?")
        embeddings.embed(["..."]).usage  # tokens, counted by the server

    Instruction-tuned models retrieve better with an instruction before the query, not before documents::

        ScalewayEmbeddings(
            model="qwen3-embedding-8b",
            query_instruction="Instruct: Given a question, retrieve passages that answer it\nQuery: ",
        )

    Raises:
        ConfigurationError: At construction: an unknown or invalid argument, or no key.
        ModelError: A call failed; the error is both langchain-core's and one of ``linkspan.errors``, and names the
            texts of the failed request. Empty and blank texts (see ``blank_texts``), and anything that is not a string,
            are refused before anything is sent.
    """

    document_instruction: str = instruction_field("document")

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Embed documents.

        Args:
            texts: The texts to embed; the document instruction is put before each.

        Returns:
            One vector per text, in order.
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
