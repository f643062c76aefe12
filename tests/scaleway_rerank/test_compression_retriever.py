"""``ScalewayRerank`` behind LangChain's own retriever that compresses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from langchain_classic.retrievers import ContextualCompressionRetriever
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever

from linkspan.langchain import ScalewayRerank

if TYPE_CHECKING:
    from linkspan_sandbox import Sandbox

DOCUMENTS = [
    Document("Bicycles travel free of charge.", metadata={"source": "fares"}),
    Document("The linkspan is 60 metres long.", metadata={"source": "harbour"}),
    Document("The ferry leaves at nine.", metadata={"source": "ferry"}),
]


class _Everything(BaseRetriever):
    def _get_relevant_documents(self, query: str, *, run_manager: Any) -> list[Document]:
        return DOCUMENTS


@pytest.mark.parametrize("way", ["invoke", "ainvoke"])
async def test_documents_come_back_ranked(sandbox: Sandbox, way: str) -> None:
    async with ScalewayRerank(top_n=2, base_url=sandbox.scaleway_url, api_key=sandbox.api_key) as reranker:
        retriever = ContextualCompressionRetriever(base_compressor=reranker, base_retriever=_Everything())
        question = "How long is the linkspan?"
        found = retriever.invoke(question) if way == "invoke" else await retriever.ainvoke(question)
    assert len(found) == 2
    assert found[0].metadata["source"] == "harbour"
    assert found[0].metadata["relevance_score"] >= found[1].metadata["relevance_score"]
    assert "relevance_score" not in DOCUMENTS[1].metadata
