"""Conformance suites for LangChain's completion models (``BaseLLM``) and rerankers, of any package.

langchain-tests has suites for chat models and embeddings, but none for these. Subclass one in a test module, and pytest
runs it::

    class TestMyLLM(CompletionModelTests):
        @property
        def model_class(self):
            return MyLLM

        @property
        def model_params(self):
            return {"model": "my-model"}

        def address(self, server):
            return {"base_url": server.tgi_url, "api_key": KEY}

The class calls a scripted server on this machine, a :class:`linkspan_sandbox.Sandbox`, which supports several APIs. No
key and no network are needed. Properties such as ``reports_usage`` declare an API's features; tests of missing ones are
not collected. The suites need the extras ``linkspan[langchain,testing]``.
"""

from __future__ import annotations

try:
    import pytest
except ModuleNotFoundError as error:
    raise ImportError(
        "linkspan_sandbox.conformance.langchain needs pytest: pip install pytest",
        name=error.name,
    ) from error

# Before the modules are imported, so that pytest shows the compared values of failed assertions.
for _module in ("base", "completion_model", "reranker"):
    pytest.register_assert_rewrite(f"{__name__}.{_module}")

from linkspan_sandbox.conformance.langchain.base import KEY  # noqa: E402
from linkspan_sandbox.conformance.langchain.completion_model import CompletionModelTests  # noqa: E402
from linkspan_sandbox.conformance.langchain.reranker import RerankerTests  # noqa: E402

__all__ = ["KEY", "CompletionModelTests", "RerankerTests"]
