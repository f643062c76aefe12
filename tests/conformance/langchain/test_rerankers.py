"""Linkspan's suite for rerankers on ``ScalewayRerank``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from linkspan.langchain import ScalewayRerank
from linkspan_sandbox.conformance.langchain import RerankerTests

if TYPE_CHECKING:
    from langchain_core.documents import BaseDocumentCompressor


class TestScalewayRerank(RerankerTests):
    @property
    def reranker_class(self) -> type[BaseDocumentCompressor]:
        return ScalewayRerank
