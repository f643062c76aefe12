"""What is public: the page says it, and this holds page and code together."""

from __future__ import annotations

import contextlib
import importlib
import re
from inspect import isclass, isfunction
from typing import Any

import pytest

from tests.docs.pages import ROOT

PAGE = (ROOT / "docs" / "public.md").read_text("utf-8")
SECTIONS = {
    title: set(re.findall(r"`([\w.]+)`", body))
    for title, body in re.findall(r"^## `([\w.]+)`\n(.*?)(?=^## )", PAGE, flags=re.MULTILINE | re.DOTALL)
}


def found(module: str, name: str) -> Any:
    """A public name's value; ``None`` for one that needs a newer package than is installed."""
    with contextlib.suppress(ImportError):
        return getattr(importlib.import_module(module), name)
    return None


def exported_by(module: str) -> set[str]:
    """The names of a package: those of ``__all__``, and those that need more than its extra brings."""
    package = importlib.import_module(module)
    return {*package.__all__, *getattr(package, "_MODULES", {})}


@pytest.mark.parametrize("module", SECTIONS)
def test_the_page_names_what_a_module_exports(module: str) -> None:
    assert SECTIONS[module] == exported_by(module)


@pytest.mark.parametrize("module", SECTIONS)
def test_every_public_name_is_there_and_documented(module: str) -> None:
    for name in SECTIONS[module]:
        value = found(module, name)
        assert not (isclass(value) or isfunction(value)) or (value.__doc__ or "").strip(), name


def test_the_leaves_of_llama_index_are_the_classes_of_linkspan() -> None:
    leaves = re.findall(r"`(llama_index\.\w+\.\w+)\.(\w+)`", PAGE)
    assert len(leaves) == 10
    for module, name in leaves:
        found = getattr(importlib.import_module(module), name)
        assert found is getattr(importlib.import_module("linkspan.llama_index"), name)


def test_the_neutral_names_that_a_user_meets_are_there() -> None:
    named = re.search(r"## Of `linkspan.conversation`\n\n([^:]+):", PAGE)
    assert named is not None
    conversation = importlib.import_module("linkspan.conversation")
    assert set(re.findall(r"`(\w+)`", named[1])) <= set(conversation.__all__)


def test_every_package_of_the_two_distributions_is_considered() -> None:
    assert set(SECTIONS) == {
        "linkspan.costs",
        "linkspan",
        "linkspan.errors",
        "linkspan.langchain",
        "linkspan.llama_index",
        "linkspan.prompts",
        "linkspan_sandbox",
        "linkspan_sandbox.conformance.langchain",
        "linkspan_sandbox.conformance.llama_index",
    }
