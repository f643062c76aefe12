"""A conformance suite for LLM, embedding and rerank classes of LlamaIndex, of any package.

Subclass the suite that fits in a test module, and pytest runs it::

    class TestMyLLM(LLMTests):
        def make_llm(self, base_url, **settings):
            return MyLLM(**{"model": "my-model", "api_base": base_url, **settings})

The class calls a scripted server on this machine. By default the server speaks Scaleway's Chat Completions; override
``base_url`` for another API of :mod:`linkspan_sandbox`. No key and no network are needed. Attributes such as
``supports_tools`` declare the API's features; tests of missing ones are not collected.

The 36 points are those of the table in the documentation (``docs/conformance_llama_index.md``); each test names its
point. :class:`LLMTests` covers all of LLMs; its parts can be used separately. The suite needs the extras
``linkspan[llama-index,testing]``.
"""

from __future__ import annotations

try:
    import pytest
except ModuleNotFoundError as error:
    raise ImportError(
        "linkspan_sandbox.conformance.llama_index needs pytest: pip install pytest",
        name=error.name,
    ) from error

# Before the modules are imported, so that pytest shows the compared values of failed assertions.
for _module in (
    "base",
    "connection",
    "data_role",
    "endpoints",
    "events",
    "messages",
    "relay",
    "settings",
    "structured",
    "tools",
    "vectors",
):
    pytest.register_assert_rewrite(f"{__name__}.{_module}")

from linkspan_sandbox.conformance.llama_index.base import KEY, LLMSuite, Script, Suite  # noqa: E402
from linkspan_sandbox.conformance.llama_index.connection import ConnectionTests  # noqa: E402
from linkspan_sandbox.conformance.llama_index.data_role import DataRoleTests  # noqa: E402
from linkspan_sandbox.conformance.llama_index.endpoints import EndpointTests  # noqa: E402
from linkspan_sandbox.conformance.llama_index.events import EventTests  # noqa: E402
from linkspan_sandbox.conformance.llama_index.messages import MessageTests  # noqa: E402
from linkspan_sandbox.conformance.llama_index.relay import Relay  # noqa: E402
from linkspan_sandbox.conformance.llama_index.settings import SettingsTests  # noqa: E402
from linkspan_sandbox.conformance.llama_index.structured import StructuredOutputTests  # noqa: E402
from linkspan_sandbox.conformance.llama_index.tools import ToolTests  # noqa: E402
from linkspan_sandbox.conformance.llama_index.vectors import EmbeddingTests, RerankTests  # noqa: E402

__all__ = [
    "KEY",
    "ConnectionTests",
    "DataRoleTests",
    "EmbeddingTests",
    "EndpointTests",
    "EventTests",
    "LLMSuite",
    "LLMTests",
    "MessageTests",
    "Relay",
    "RerankTests",
    "Script",
    "SettingsTests",
    "StructuredOutputTests",
    "Suite",
    "ToolTests",
]


class LLMTests(
    EndpointTests,
    EventTests,
    ConnectionTests,
    SettingsTests,
    MessageTests,
    ToolTests,
    StructuredOutputTests,
    DataRoleTests,
):
    """All tests of an LLM class."""
