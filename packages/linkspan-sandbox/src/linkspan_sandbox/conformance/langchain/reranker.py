"""``RerankerTests``: what users may expect of a LangChain reranker."""

from __future__ import annotations

import asyncio
import pickle
from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.documents import Document

from linkspan_sandbox import HTTPError, Reply
from linkspan_sandbox.conformance.langchain.base import KEY, Suite

if TYPE_CHECKING:
    from collections.abc import Sequence

    from langchain_core.documents import BaseDocumentCompressor

    from linkspan_sandbox import Sandbox

__all__ = ["RerankerTests"]

_QUERY = "Oslo Norway"
#: Best last: two words of the query, one, none.
_TEXTS = ("Rome is in Italy", "Norway is north", "Oslo is in Norway")
_BEST_FIRST = [2, 1, 0]


class RerankerTests(Suite):
    """A suite for subclasses of ``BaseDocumentCompressor`` that rank. Override ``reranker_class``.

    By default the server is the sandbox's Scaleway, which ranks by the words that a document shares with the query.
    """

    # ------------------------------------------------------------------ what to override

    @property
    def reranker_class(self) -> type[BaseDocumentCompressor]:
        """The class."""
        raise NotImplementedError(f"{type(self).__name__} must override reranker_class")

    @property
    def reranker_params(self) -> dict[str, Any]:
        """Its arguments, without the server's address."""
        return {}

    def address(self, server: Sandbox) -> dict[str, Any]:
        """Return the arguments that point the class to the server."""
        return {"base_url": server.scaleway_url, "api_key": KEY, "max_retries": 0}

    @property
    def score_key(self) -> str:
        """The metadata key of the score."""
        return "relevance_score"

    @property
    def top_n_name(self) -> str:
        """The class's argument for the number of documents to return."""
        return "top_n"

    # ------------------------------------------------------------------ helpers

    def make(self, server: Sandbox, **settings: Any) -> BaseDocumentCompressor:
        """Return a reranker that calls the server."""
        return self.reranker_class(**{**self.reranker_params, **self.address(server), **settings})

    @staticmethod
    def rank(reranker: BaseDocumentCompressor, way: str, documents: list[Document]) -> Sequence[Document]:
        """Rank, sync or async."""
        if way == "compress_documents":
            return reranker.compress_documents(documents, _QUERY)
        return asyncio.run(reranker.acompress_documents(documents, _QUERY))

    @staticmethod
    def documents() -> list[Document]:
        """Return new documents, the best one last."""
        return [Document(text, id=f"d{n}", metadata={"n": n, "tags": ["a"]}) for n, text in enumerate(_TEXTS)]

    @staticmethod
    def order(documents: Sequence[Document]) -> list[int]:
        """Return which documents these are."""
        return [document.metadata["n"] for document in documents]

    # ------------------------------------------------------------------ ranks

    def test_best_first_with_scores(self, server: Sandbox) -> None:
        """Documents are sorted by score, which is a number in their metadata."""
        found = self.make(server).compress_documents(self.documents(), _QUERY)
        assert self.order(found) == _BEST_FIRST
        scores = [document.metadata[self.score_key] for document in found]
        assert all(isinstance(score, float) for score in scores)
        assert scores == sorted(scores, reverse=True)
        assert scores[0] > scores[-1]

    def test_async_is_equal(self, server: Sandbox) -> None:
        """``acompress_documents`` returns the same."""
        reranker = self.make(server)
        found = reranker.compress_documents(self.documents(), _QUERY)
        assert asyncio.run(reranker.acompress_documents(self.documents(), _QUERY)) == found

    def test_documents_are_copied(self, server: Sandbox) -> None:
        """The input is unchanged; the copies keep text, id and metadata."""
        documents, untouched = self.documents(), self.documents()
        found = self.make(server).compress_documents(documents, _QUERY)
        assert documents == untouched
        for document in found:
            original = documents[document.metadata["n"]]
            assert document is not original
            assert (document.page_content, document.id) == (original.page_content, original.id)
            assert {name: value for name, value in document.metadata.items() if name != self.score_key} == (
                original.metadata
            )

    def test_top_n(self, server: Sandbox) -> None:
        """At most ``top_n`` documents are returned, the best ones; all if there are fewer."""
        for wanted, expected in ((1, [2]), (2, [2, 1]), (50, _BEST_FIRST)):
            reranker = self.make(server, **{self.top_n_name: wanted})
            assert self.order(reranker.compress_documents(self.documents(), _QUERY)) == expected

    def test_equal_texts_keep_their_documents(self, server: Sandbox) -> None:
        """Two documents with the same text stay two documents."""
        documents = [Document("Oslo is in Norway", metadata={"n": n}) for n in range(3)]
        assert sorted(self.order(self.make(server).compress_documents(documents, _QUERY))) == [0, 1, 2]

    def test_a_query_that_fits_nothing(self, server: Sandbox) -> None:
        """A score of zero is a score, not a missing one."""
        found = self.make(server).compress_documents([Document("Rome", metadata={"n": 0})], "zebra")
        assert [document.metadata[self.score_key] for document in found] == [0.0]

    @pytest.mark.parametrize("way", ["compress_documents", "acompress_documents"])
    def test_no_documents_send_nothing(self, server: Sandbox, way: str) -> None:
        """An empty list returns an empty list, without a request."""
        reranker = self.make(server)
        assert list(self.rank(reranker, way, [])) == []
        assert len(server.requests) == 0

    def test_callbacks_are_taken(self, server: Sandbox) -> None:
        """The signature is core's, because retrievers pass their callbacks."""
        assert len(self.make(server).compress_documents(self.documents(), _QUERY, callbacks=[])) == len(_TEXTS)

    # ------------------------------------------------------------------ life of a reranker

    def test_pickled(self, server: Sandbox) -> None:
        """A reranker can be pickled to another process and ranks there, even after use."""
        reranker = self.make(server)
        reranker.compress_documents(self.documents(), _QUERY)
        again = pickle.loads(pickle.dumps(reranker))  # noqa: S301  # made here
        assert self.order(again.compress_documents(self.documents(), _QUERY)) == _BEST_FIRST

    def test_a_second_event_loop(self, server: Sandbox) -> None:
        """A reranker works in one event loop after another."""
        reranker = self.make(server)
        for _ in range(2):
            assert self.order(asyncio.run(reranker.acompress_documents(self.documents(), _QUERY))) == _BEST_FIRST

    def test_the_key_is_not_shown(self, server: Sandbox) -> None:
        """Neither ``repr`` nor ``str`` nor the dumped fields contain the key, but it reaches the server."""
        reranker = self.make(server)
        reranker.compress_documents(self.documents(), _QUERY)
        assert "***" in server.requests[0].headers.get("authorization", "no key was sent")
        for shown in (repr(reranker), str(reranker), repr(reranker.model_dump())):
            assert KEY not in shown

    # ------------------------------------------------------------------ failures

    @pytest.mark.parametrize("way", ["compress_documents", "acompress_documents"])
    @pytest.mark.parametrize(("status", "retryable"), [(401, False), (422, False), (429, True), (503, True)])
    def test_refusals_are_model_errors(self, server: Sandbox, way: str, status: int, retryable: bool) -> None:
        """An error status raises one of core's ``ModelError``, which says whether a retry may help."""
        server.add_rule(Reply(fault=HTTPError(status)), route="rerank")
        reranker = self.make(server)
        with pytest.raises(self.error_class) as caught:
            self.rank(reranker, way, self.documents())
        self.check_error(caught.value, retryable=retryable)

    def test_an_unknown_argument_is_refused(self, server: Sandbox) -> None:
        """A misspelt argument raises an error that names it, where it is passed."""
        with pytest.raises((TypeError, ValueError), match="topn"):
            self.make(server, topn=3)
