"""The reference: every public class and function is in it, every field has an entry, every example is Python."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import inspect
import re
from typing import Any

import pytest

from linkspan.connection import Connected
from tests.docs.pages import ROOT

REFERENCE = ROOT / "docs" / "reference"
PACKAGES = {"langchain": "linkspan.langchain", "llama_index": "linkspan.llama_index"}
CLASSES = [
    getattr(importlib.import_module(package), name)
    for package in PACKAGES.values()
    for name in importlib.import_module(package).__all__
    if inspect.isclass(getattr(importlib.import_module(package), name))
]


def markup() -> Any:
    spec = importlib.util.spec_from_file_location("docstrings", ROOT / "docs" / "docstrings.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("page", PACKAGES)
def test_everything_public_has_a_place(page: str) -> None:
    shown = set(re.findall(r"^::: ([\w.]+)$", (REFERENCE / f"{page}.md").read_text("utf-8"), flags=re.MULTILINE))
    package = importlib.import_module(PACKAGES[page])
    missing = []
    for name in package._MODULES:
        module = f"{PACKAGES[page]}.{package._MODULES[name]}"
        if not shown.intersection({module, f"{module}.{name}"}) and name != "DATA_ROLE_MARKER":
            missing.append(name)
    assert missing == []


#: Abstract bases apart: their fields are those of the classes.
CONNECTED = [cls for cls in CLASSES if issubclass(cls, Connected) and hasattr(cls, "_provider")]


@pytest.mark.parametrize("cls", CONNECTED, ids=lambda cls: cls.__module__)
def test_every_field_has_an_entry(cls: Any) -> None:
    shown = inspect.getdoc(cls) or ""
    ours = [base for base in cls.__mro__ if base.__module__.startswith("linkspan.")]
    fields = {name for base in ours for name in vars(base).get("__annotations__", ())} & set(cls.model_fields)
    assert [name for name in sorted(fields) if f"\n    {name}: " not in shown] == []


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: f"{cls.__module__}.{cls.__name__}")
def test_its_examples_are_python(cls: Any) -> None:
    pytest.importorskip("griffe")
    shown = markup().markdown(inspect.getdoc(cls) or "")
    assert not re.search(r"::$|^ *Example:\n +\S", shown, flags=re.MULTILINE)
    for code in re.findall(r"```python\n(.*?)```", shown, flags=re.DOTALL):
        compile(code, cls.__name__, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
