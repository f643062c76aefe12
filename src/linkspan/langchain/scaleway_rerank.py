"""``ScalewayRerank``: reranking by Scaleway Generative APIs in LangChain."""

from __future__ import annotations

from collections.abc import Sequence  # noqa: TC003  # pydantic looks at annotations at run time
from typing import TYPE_CHECKING, Any, Union

from langchain_core.documents import BaseDocumentCompressor, Document

from linkspan.langchain.component import LangChainComponent
from linkspan.settings.scaleway_rerank import ScalewayRerankSettings

if TYPE_CHECKING:
    from langchain_core.callbacks import Callbacks

    from linkspan.providers.scaleway_rerank import Ranking

__all__ = ["ScalewayRerank"]


class ScalewayRerank(ScalewayRerankSettings, LangChainComponent, BaseDocumentCompressor):
    """Ranks documents by relevance to a query (docs/apis/scaleway.md#rerank).

    The score is the cosine similarity of two embeddings, not a cross-encoder's: the API documents only an embedding
    model for this. Scores compare the documents of one query; they are not probabilities. A document without
    text (a scan, a picture) is not sent: it comes last, with a score of ``None``.

    Example::

        from linkspan.langchain import ScalewayRerank

        reranker = ScalewayRerank(top_n=3)  # the key comes from SCW_SECRET_KEY
        best = reranker.compress_documents(documents, "Where is Oslo?")
        best[0].metadata["relevance_score"]

    Raises:
        ConfigurationError: At construction: an unknown or invalid argument, or no key.
        ModelError: A call failed; the error is both langchain-core's and one of ``linkspan.errors``.
    """

    def rerank(
        self, documents: Sequence[Union[str, Document]], query: str, *, top_n: int | None = None
    ) -> list[dict[str, Any]]:
        """Rank texts or documents.

        Args:
            documents: The documents to rank. An empty list sends nothing.
            query: The text to compare them with.
            top_n: Number of best documents to return. Default: the instance's.

        Returns:
            Best first: ``{"index": position in documents, "relevance_score": cosine similarity}``; documents without
            text have the score ``None``.
        """
        with self._errors():
            return _as_dicts(self._call(top_n).run(query, _texts(documents)))

    async def arerank(
        self, documents: Sequence[Union[str, Document]], query: str, *, top_n: int | None = None
    ) -> list[dict[str, Any]]:
        """Rank texts or documents; see ``rerank``."""
        with self._errors():
            return _as_dicts(await self._call(top_n).arun(query, _texts(documents)))

    def compress_documents(
        self,
        documents: Sequence[Document],
        query: str,
        callbacks: Callbacks | None = None,  # noqa: ARG002  # there is no event of LangChain for this
    ) -> Sequence[Document]:
        """Return copies of the best documents, best first, with ``metadata["relevance_score"]``."""
        return _copies(documents, self.rerank(documents, query))

    async def acompress_documents(
        self,
        documents: Sequence[Document],
        query: str,
        callbacks: Callbacks | None = None,  # noqa: ARG002  # there is no event of LangChain for this
    ) -> Sequence[Document]:
        """Return copies of the best documents, best first, with ``metadata["relevance_score"]``."""
        return _copies(documents, await self.arerank(documents, query))


def _texts(documents: Sequence[Any]) -> Sequence[Any]:
    if isinstance(documents, str):
        return documents  # refused by the call; its letters are no documents
    return [document.page_content if isinstance(document, Document) else document for document in documents]


def _as_dicts(ranking: Ranking) -> list[dict[str, Any]]:
    return [{"index": result.index, "relevance_score": result.score} for result in ranking.results]


def _copies(documents: Sequence[Document], results: Sequence[dict[str, Any]]) -> list[Document]:
    copies = []
    for result in results:
        document = documents[result["index"]]
        metadata = {**document.metadata, "relevance_score": result["relevance_score"]}
        copies.append(document.model_copy(update={"metadata": metadata}))
    return copies
