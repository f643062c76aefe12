"""The plugin in test suites of its own: the example project, its options, its absence."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import linkspan_sandbox
from linkspan.conversation import ToolCall

# Imported here, since pytester unloads what a run of its own imports.
from linkspan.langchain import ChatLLMEngine, ChatScaleway  # noqa: F401

pytest_plugins = ["pytester"]

EXAMPLE = Path(__file__).parents[2] / "examples" / "testing_your_app"
GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "testing.md"
ASKS = """
    from linkspan.langchain import ChatScaleway

    def test_asks(linkspan_sandbox):
        assert ChatScaleway(model="llama-3.3-70b-instruct").invoke("Hello").text
        assert linkspan_sandbox.last_request.status == 200
"""


def code_in(page: Path, after: str) -> str:
    """The first Python block of a page behind a text."""
    return page.read_text("utf-8").partition(after)[2].partition("```python\n")[2].partition("```")[0]


@pytest.fixture(autouse=True)
def no_options_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    monkeypatch.delenv("PYTEST_PLUGINS", raising=False)


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only this plugin, in runs within this process: others take seconds to load, and so do the frameworks."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("PYTEST_PLUGINS", "linkspan_sandbox.pytest_plugin")


def test_the_example_project_passes(tmp_path: Path) -> None:
    shutil.copytree(EXAMPLE, tmp_path / "app", ignore=shutil.ignore_patterns("__pycache__", ".*"))
    # No key, and whatever would leave this machine ends at a port where nobody listens.
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("SCW_", "SCALEWAY_", "LANGSMITH_"))}
    nowhere = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9")
    outcome = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:asyncio", "-W", "error"],
        cwd=tmp_path / "app",
        env={**kept, **nowhere, "NO_PROXY": "", "no_proxy": ""},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    assert "4 passed" in outcome.stdout


def test_imports_nothing_where_it_is_not_used(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("""
        import sys

        def test_one():
            assert "linkspan_sandbox.pytest_plugin" in sys.modules
            loaded = {name for name in sys.modules if name.startswith("linkspan")}
            assert loaded == {"linkspan_sandbox", "linkspan_sandbox.pytest_plugin"}
            assert not {"starlette", "uvicorn"} & set(sys.modules)
    """)
    others = ("asyncio", "pytest_asyncio", "langsmith_plugin", "anyio", "syrupy", "benchmark", "recording", "socket")
    off = [argument for name in others for argument in ("-p", f"no:{name}")]
    pytester.runpytest_subprocess(*off).assert_outcomes(passed=1)


def test_its_fixtures_and_option_explain_themselves(alone: None, pytester: pytest.Pytester) -> None:
    fixtures = pytester.runpytest_inprocess("--fixtures")
    fixtures.stdout.fnmatch_lines(["linkspan_sandbox_server [[]session scope[]]*", "linkspan_sandbox -- *"])
    pytester.runpytest_inprocess("--help").stdout.fnmatch_lines(["*--linkspan-engine=*"])


def test_the_engine_is_an_option(alone: None, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LINKSPAN_CACHE_DIR", str(pytester.path / "no-weights-here"))
    pytester.makepyfile(ASKS)
    pytester.makeini("[pytest]\nlinkspan_engine = local\n")
    outcome = pytester.runpytest_inprocess()
    outcome.assert_outcomes(errors=1)
    outcome.stdout.fnmatch_lines(["*linkspan sandbox --engine local --download*"])
    pytester.runpytest_inprocess("--linkspan-engine=scripted").assert_outcomes(passed=1)


def test_an_unknown_engine_is_refused(alone: None, pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\nlinkspan_engine = steam\n")
    pytester.makepyfile(ASKS)
    outcome = pytester.runpytest_inprocess()
    outcome.assert_outcomes(errors=1)
    outcome.stdout.fnmatch_lines(["*linkspan_engine must be one of scripted, local, not 'steam'*"])


def test_the_server_can_be_ones_own(alone: None, pytester: pytest.Pytester) -> None:
    pytester.makeconftest(code_in(GUIDE, "conftest.py"))
    pytester.makepyfile(
        ASKS
        + """
    def test_key_and_endpoint(linkspan_sandbox):
        import os
        from linkspan.langchain import ChatLLMEngine
        assert os.environ["SCW_SECRET_KEY"] == "only this one"
        assert ChatLLMEngine(model="our-endpoint").invoke("Hello").text == "Hello"
"""
    )
    pytester.runpytest_inprocess().assert_outcomes(passed=2)


def test_the_replies_of_the_guide_are_replies() -> None:
    lines = [line for line in code_in(GUIDE, "| `route` |").splitlines() if line.startswith("Reply(")]
    names = {name: getattr(linkspan_sandbox, name) for name in ("Cut", "HTTPError", "Reply")}
    made = [eval(line, {**names, "ToolCall": ToolCall}) for line in lines]
    assert len(made) == 6
    with linkspan_sandbox.run(rules=[linkspan_sandbox.Rule(reply) for reply in made]) as running:
        assert len(running.rules) == 6
