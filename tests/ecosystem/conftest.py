"""Other people's components over linkspan's classes: a few classes of each framework, behind one stand-in.

The components are in a dependency group of their own, `ecosystem`, and these tests run in an environment of their own:
``make ecosystem``. Elsewhere nothing here is collected.
"""

from __future__ import annotations

import importlib.util
import json
from typing import TYPE_CHECKING, Any

import pytest

from linkspan.conversation import ToolCall
from linkspan_sandbox import Reply
from linkspan_sandbox.schema_example import example_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from linkspan_sandbox import Sandbox
    from linkspan_sandbox.engine import Call

if importlib.util.find_spec("deepagents") is None:
    collect_ignore_glob = ["test_*.py"]

KEY = "a-key-of-the-ecosystem-0123456789"
MODEL = "llama-3.3-70b-instruct"
#: What would make packages report to their makers.
TELEMETRY = {
    "RAGAS_DO_NOT_TRACK": "true",
    "DEEPEVAL_TELEMETRY_OPT_OUT": "YES",
    "MEM0_TELEMETRY": "False",
    "LANGSMITH_TRACING": "false",
}


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "component(package, name): what a test tries, for docs/ecosystem.md")


@pytest.fixture(autouse=True)
def _no_telemetry(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in TELEMETRY.items():
        monkeypatch.setenv(name, value)


def _first_tool(call: Call) -> Reply:
    function = call.tools[0]["function"]
    return Reply(tool_calls=[ToolCall(None, function["name"], json.dumps(example_of(function["parameters"])))])


def as_asked(call: Call, text: str) -> Reply:
    """An object, by a call where tools are offered, else as text."""
    if call.tools:
        return Reply(tool_calls=[ToolCall("c1", call.tools[0]["function"]["name"], text)])
    return Reply(text)


@pytest.fixture
def served(sandbox: Sandbox) -> Sandbox:
    """A stand-in whose model calls the first of the tools that a user's turn offers."""
    sandbox.add_rule(
        _first_tool, when=lambda call: bool(call.tools) and call.tool_choice in (None, "auto"), role="user"
    )
    return sandbox


@pytest.fixture(params=["scaleway", "gray_swan", "tgi"])
def api(request: pytest.FixtureRequest) -> str:
    """A catalogued model; an API that cannot force "any tool"; a server without a name."""
    return request.param


def _of(api: str, served: Sandbox, scaleway: Any, gray_swan: Any, datacrunch: Any) -> Any:
    common: dict[str, Any] = {"api_key": KEY, "max_retries": 0}
    if api == "scaleway":
        return scaleway(model=MODEL, base_url=served.scaleway_url, **common)
    if api == "gray_swan":
        return gray_swan(base_url=served.gray_swan_url, any_tool="auto", speaker_names="text", **common)
    return datacrunch(base_url=served.tgi_url, api="messages", **common)


@pytest.fixture
def chat(api: str, served: Sandbox) -> Iterator[Any]:
    """A chat model for LangChain."""
    from linkspan.langchain import ChatDataCrunch, ChatGraySwan, ChatScaleway

    with _of(api, served, ChatScaleway, ChatGraySwan, ChatDataCrunch) as made:
        yield made


@pytest.fixture
def llm(api: str, served: Sandbox) -> Iterator[Any]:
    """The same for LlamaIndex."""
    from linkspan.llama_index import ChatDataCrunch, GraySwan, Scaleway

    with _of(api, served, Scaleway, GraySwan, ChatDataCrunch) as made:
        yield made
