"""Names: one meaning each across the client, none that says nothing, and every import declared."""

from __future__ import annotations

import ast
import re
import sys
from collections import defaultdict
from functools import cache
from importlib import import_module
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import linkspan
from tests.test_layers import MODULES, imports

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Python 3.10 has it in a package, which pytest brings.
tomllib = import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")
ROOT = Path(linkspan.__file__).parent
PROJECT = Path(__file__).parent.parent / "pyproject.toml"

#: The same in both frameworks on purpose: what a user imports under one name, from the framework's package.
IN_BOTH_FRAMEWORKS = {
    "ChatDataCrunch",
    "ChatLLMEngine",
    "Cygnal",
    "DataCrunch",
    "DataLike",
    "LLMEngine",
    "LinkspanLLM",
    "ScalewayRerank",
    "data_message",
}
#: The same facts of two APIs.
OF_TWO_APIS = {"DEFAULT_MAX_NEW_TOKENS"}
#: What is imported only where it is there already: the second distribution, and LangChain's agents for its middleware.
IGNORED = {*sys.stdlib_module_names, "linkspan", "linkspan_sandbox", "langchain", "langgraph"}
#: Words that do not say what a function does.
EMPTY_WORDS = {
    *(
        "beside",
        "finished",
        "given",
        "go",
        "holding",
        "met",
        "note",
        "opened",
        "over",
        "rare",
        "said",
        "settled",
        "told",
    ),
    *("either", "gone", "made"),
}
#: Those that do not say it in a longer name either.
EMPTY_IN_NAMES = {"beside", "gone", "met", "rare", "said", "settled", "told"}


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"))


def sources() -> list[Path]:
    return sorted(ROOT.rglob("*.py"))


def public_names(module: ast.Module) -> Iterator[str]:
    for node in module.body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            yield node.name
        elif isinstance(node, ast.Assign):
            yield from (target.id for target in node.targets if isinstance(target, ast.Name))
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            yield node.target.id


def test_no_public_name_means_two_things() -> None:
    defined = defaultdict(set)
    for path in sources():
        for name in public_names(tree(path)):
            if not (name.startswith("_") or re.search(r"[a-z]T(_contra)?$", name)):
                defined[name].add(path.relative_to(ROOT).as_posix())
    # LangChain's exceptions are linkspan's and core's at once, under the same names.
    twice = {name: places - {"langchain/errors.py"} for name, places in defined.items()}
    known = IN_BOTH_FRAMEWORKS | OF_TWO_APIS
    assert {name: places for name, places in twice.items() if len(places) > 1 and name not in known} == {}
    assert {name for name in known if len(twice.get(name, ())) < 2} == set()


def test_no_function_has_a_name_that_says_nothing() -> None:
    empty = {
        f"{path.relative_to(ROOT)}:{node.lineno} {node.name}"
        for path in sources()
        for node in ast.walk(tree(path))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        and (node.name.strip("_") in EMPTY_WORDS or EMPTY_IN_NAMES.intersection(node.name.split("_")))
        # Whether a stream is finished: a property says so.
        and not any(isinstance(mark, ast.Name) and mark.id == "property" for mark in node.decorator_list)
    }
    assert empty == set()


def test_each_module_says_in_one_sentence_what_is_inside() -> None:
    for path in sources():
        words = ast.get_docstring(tree(path))
        if path.name != "__init__.py" or tree(path).body:
            assert words, path
            assert words.split("\n\n")[0].strip().endswith((".", ")")), path


@pytest.mark.skipif(sys.version_info < (3, 11), reason="packages_distributions() misses packages without top_level.txt")
def test_every_import_is_declared() -> None:
    project = tomllib.loads(PROJECT.read_text("utf-8"))["project"]
    declared = [
        *project["dependencies"],
        *(one for extra in project["optional-dependencies"].values() for one in extra),
    ]
    distributions = {_normalized(re.split(r"[ \[<>=!~;]", one)[0]) for one in declared}
    installed = packages_distributions()
    undeclared = {
        f"{module} imports {package}"
        for module in MODULES
        for package in {name.partition(".")[0] for name in imports(module)} - IGNORED
        if not distributions & {_normalized(one) for one in installed.get(package, [])}
    }
    assert undeclared == set()


def _normalized(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
