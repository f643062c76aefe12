"""The Python of README, front page and guides, run from top to bottom against the sandbox."""

from __future__ import annotations

import importlib.util
import json
import logging
import warnings
from typing import TYPE_CHECKING

import pytest

from linkspan.conversation import ToolCall
from linkspan_sandbox import Reply
from linkspan_sandbox.schema_example import example_of
from tests.docs.pages import FRAMEWORKS, PAGES, ROOT, Reader, blocks_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from linkspan_sandbox import Sandbox
    from linkspan_sandbox.engine import Call

#: Addresses that pages name, and where the sandbox has such a server.
ADDRESSES = {
    "https://containers.datacrunch.io/my-vllm": "vllm_url",
    "https://containers.datacrunch.io/my-tgi": "tgi_url",
    "https://inference.datacrunch.io/v1/completions": "datacrunch_url",
}

#: What a page needs that the pinned packages do not have; the matrix runs it with those that do.
NEEDS = {"decisions": "langchain_core.decisions"}


def _first_tool(call: Call) -> Reply:
    function = call.tools[0]["function"]
    return Reply(tool_calls=[ToolCall(None, function["name"], json.dumps(example_of(function["parameters"])))])


def _first_label(call: Call) -> str:
    return call.last_user_text.rpartition("one of these labels: ")[2].split(",")[0]


@pytest.fixture
def served(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Sandbox:
    """The sandbox as `linkspan sandbox` serves it, with a model that calls the first of the tools it is offered."""
    for name, value in sandbox.environment.items():
        monkeypatch.setenv(name, value)
    sandbox.add_rule(
        _first_tool, when=lambda call: bool(call.tools) and call.tool_choice in (None, "auto"), role="user"
    )
    sandbox.add_rule(_first_label, when="one of these labels: ")
    return sandbox


@pytest.fixture
def _log_off_afterwards() -> Iterator[None]:
    """Turn off the log that a page turns on, or each later test of this process would write it."""
    handlers = [*logging.root.handlers]
    yield
    logging.getLogger("linkspan").setLevel(logging.NOTSET)
    logging.root.handlers = handlers


@pytest.mark.usefixtures("_log_off_afterwards")
@pytest.mark.parametrize("page", PAGES, ids=lambda page: f"{page.parent.name}/{page.stem}")
def test_its_python_runs(served: Sandbox, page: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    if page.stem in NEEDS and importlib.util.find_spec(NEEDS[page.stem]) is None:
        pytest.skip(f"{NEEDS[page.stem]} is not installed")
    monkeypatch.chdir(tmp_path)
    replaced = {placeholder: getattr(served, name) for placeholder, name in ADDRESSES.items()}
    reader = Reader(page, {"linkspan_sandbox": served, "monkeypatch": monkeypatch}, replaced)
    with warnings.catch_warnings():
        # Warnings of the frameworks are theirs; linkspan's own stay errors.
        warnings.simplefilter("ignore", DeprecationWarning)
        for block in blocks_of(page):
            if block.language == "python":
                reader.run(block)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: f"{page.parent.name}/{page.stem}")
def test_every_block_says_what_it_is(page: Path) -> None:
    known = {"python", "console", "text", "json", "toml", "yaml", "ini", "mermaid", "html"}
    assert {block.language for block in blocks_of(page)} <= known


@pytest.mark.parametrize("name", ["README.md", "docs/guides/calls.md", "docs/guides/start.md", "docs/index.md"])
def test_both_frameworks_are_shown(name: str) -> None:
    code = [block.code for block in blocks_of(ROOT / name) if block.language == "python"]
    assert any("from linkspan.langchain import" in one for one in code)
    assert any("from llama_index.llms.scaleway import" in one for one in code)


def test_tabs_come_in_pairs() -> None:
    for page in PAGES:
        titles = {block.framework for block in blocks_of(page)} - {None}
        assert titles in (set(), set(FRAMEWORKS), {"LangChain"}, {"LlamaIndex"})
