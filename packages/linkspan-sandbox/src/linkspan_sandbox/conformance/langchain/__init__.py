"""Conformance suites for LangChain's completion models (``BaseLLM``) and rerankers, of any package.

langchain-tests has suites for chat models and embeddings, and none for these. Subclass one in a test module, and pytest
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

The class is led to a scripted server on this machine, a :class:`linkspan_sandbox.Sandbox`, which speaks several APIs.
No key and no network are needed. Properties such as ``reports_usage`` say what an API does not have; the tests of that
are not collected. It needs the extras ``linkspan[langchain,testing]``.
"""

from __future__ import annotations

try:
    import pytest
except ModuleNotFoundError as error:
    raise ImportError(
        "linkspan_sandbox.conformance.langchain needs pytest: pip install pytest",
        name=error.name,
    ) from error

# Before the modules are imported: what their assertions compare is to be seen when they fail.
for _module in ("base", "completion_model", "reranker"):
    pytest.register_assert_rewrite(f"{__name__}.{_module}")

from linkspan_sandbox.conformance.langchain.base import KEY  # noqa: E402
from linkspan_sandbox.conformance.langchain.completion_model import CompletionModelTests  # noqa: E402
from linkspan_sandbox.conformance.langchain.reranker import RerankerTests  # noqa: E402

__all__ = ["KEY", "CompletionModelTests", "RerankerTests"]
