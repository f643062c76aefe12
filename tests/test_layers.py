"""Imports run one way: adapters, settings, connection, endpoint, codecs, the neutral language. A codec does no I/O."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest

import linkspan

ROOT = Path(linkspan.__file__).parent
MODULES = {
    ".".join(("linkspan", *path.relative_to(ROOT).with_suffix("").parts)).removesuffix(".__init__"): path
    for path in ROOT.rglob("*.py")
}
#: What does I/O, or waits.
IO = {"anyio", "asyncio", "httpcore", "httpx", "socket", "ssl", "subprocess", "threading", "time"}
#: What each layer may not import. A folder stands for all that is in it.
FORBIDDEN = {
    "linkspan.conversation": {"linkspan"},
    "linkspan.providers": {
        *IO,
        "linkspan.transport",
        "linkspan.endpoint",
        "linkspan.routes",
        "linkspan.connection",
        "linkspan.options",
        "linkspan.settings",
    },
    "linkspan.transport": {"linkspan.providers", "linkspan.endpoint", "linkspan.conversation"},
    "linkspan.endpoint": {"linkspan.routes", "linkspan.connection", "linkspan.options", "linkspan.settings"},
    "linkspan.routes": {"linkspan.connection", "linkspan.options", "linkspan.settings"},
    "linkspan.connection": {"linkspan.options", "linkspan.settings"},
    "linkspan.options": {"linkspan.settings"},
    "linkspan.langchain": {"linkspan.llama_index", "llama_index", "httpx"},
    "linkspan.llama_index": {"linkspan.langchain", "langchain_core", "httpx"},
}
FRAMEWORKS = {"langchain_core", "langchain", "llama_index", "linkspan.langchain", "linkspan.llama_index"}
ADAPTERS = ("linkspan.langchain", "linkspan.llama_index", "linkspan.commands")


def within(module: str, place: str) -> bool:
    return module == place or module.startswith(f"{place}.")


@cache
def imports(module: str) -> frozenset[str]:
    """What a module imports when it runs, without what only type checkers read."""
    tree = ast.parse(MODULES[module].read_text())
    hidden = {
        id(node)
        for branch in ast.walk(tree)
        if isinstance(branch, ast.If) and "TYPE_CHECKING" in ast.dump(branch.test)
        for statement in branch.body
        for node in ast.walk(statement)
    }
    found: set[str] = set()
    for node in ast.walk(tree):
        if id(node) in hidden:
            continue
        if isinstance(node, ast.Import):
            found.update(name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            members = [f"{node.module}.{name.name}" for name in node.names]
            found.update(member if member in MODULES else node.module for member in members)
    return frozenset(found)


@pytest.mark.parametrize("layer", FORBIDDEN)
def test_no_import_runs_back_up(layer: str) -> None:
    for module in MODULES:
        if within(module, layer):
            wrong = [name for name in imports(module) for above in FORBIDDEN[layer] if within(name, above)]
            assert not wrong, f"{module} imports {wrong}"


def test_no_codec_reaches_code_that_does_io() -> None:
    # Redaction asks httpx, once it is loaded, whether an error is one of its own.
    allowed = {("linkspan.redaction", "httpx")}
    reached = [module for module in MODULES if within(module, "linkspan.providers")]
    for module in reached:
        reached += [name for name in sorted(imports(module)) if name in MODULES and name not in reached]
    found = {(module, name) for module in reached for name in imports(module) & IO}
    assert found == allowed


def test_what_lies_below_the_adapters_knows_no_framework() -> None:
    for module in MODULES:
        if not module.startswith(ADAPTERS):
            assert not [name for name in imports(module) for one in FRAMEWORKS if within(name, one)], module


def test_no_modules_import_each_other() -> None:
    graph = {module: [name for name in imports(module) if name in MODULES and name != module] for module in MODULES}
    done: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, f"a cycle: {' -> '.join((*path[path.index(module) :], module))}"
        if module not in done:
            for name in graph[module]:
                visit(name, (*path, module))
            done.add(module)

    for module in MODULES:
        visit(module, ())
