"""What the suites say to a tester who forgot what must be overridden."""

from __future__ import annotations

from typing import Any

import pytest

from linkspan_sandbox.conformance.langchain import CompletionModelTests, RerankerTests
from linkspan_sandbox.conformance.llama_index import EmbeddingTests, LLMTests, RerankTests


@pytest.mark.parametrize(
    ("suite", "hook", "arguments"),
    [
        (CompletionModelTests, "model_class", None),
        (RerankerTests, "reranker_class", None),
        (LLMTests, "make_llm", ("http://127.0.0.1:9",)),
        (EmbeddingTests, "make_embedding", ("http://127.0.0.1:9",)),
        (RerankTests, "make_rerank", ("http://127.0.0.1:9",)),
    ],
)
def test_a_missing_hook_is_named(suite: type[Any], hook: str, arguments: tuple[Any, ...] | None) -> None:
    mine = type("TestMine", (suite,), {})()
    with pytest.raises(NotImplementedError, match=f"TestMine must override {hook}"):
        getattr(mine, hook) if arguments is None else getattr(mine, hook)(*arguments)
