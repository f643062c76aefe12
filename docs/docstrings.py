"""Convert docstrings for the site: an entry for each field, in Markdown. An extension of griffe, used by mkdocstrings.

The classes are pydantic models, whose docstrings get an entry for each field, including inherited ones, on class
creation. Docstrings use reStructuredText roles, but the site is Markdown.
"""

from __future__ import annotations

import inspect
import re
from importlib import import_module
from textwrap import dedent, indent
from typing import Any

import griffe

from linkspan.connection import Connected

_ROLE = re.compile(r":(?:attr|class|data|exc|func|meth|mod):`~?([^`]+)`")
_PAGE = re.compile(r"docs/(apis|guides)/(\w+)\.md(#[\w-]+)?")
_TITLES = {"scaleway": "Scaleway", "gray_swan": "Gray Swan", "llm_engine": "LLM Engine", "datacrunch": "DataCrunch"}


class Docstrings(griffe.Extension):
    """Rewrites each docstring for the site."""

    def on_instance(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rewrite the object's docstring, if any."""
        if obj.docstring is not None:
            obj.docstring.value = markdown(_with_fields(obj) or obj.docstring.value)


def _with_fields(obj: griffe.Object) -> str | None:
    """Return the run-time docstring of one of linkspan's classes, as ``help`` shows it."""
    if not obj.is_class or not obj.path.startswith(("linkspan.langchain", "linkspan.llama_index")):
        return None
    try:
        cls = getattr(import_module(obj.module.path), obj.name, None)
    except ImportError:
        # The class needs a newer langchain-core than is installed; show its source docstring.
        return None
    return inspect.getdoc(cls) if isinstance(cls, type) and issubclass(cls, Connected) else None


def markdown(text: str) -> str:
    """Return a docstring as Markdown: examples fenced, roles as code, names of pages as links."""
    lines = _PAGE.sub(_link, _ROLE.sub(r"`\1`", text)).split("\n")
    written: list[str] = []
    number = 0
    while number < len(lines):
        line = lines[number]
        number += 1
        if not (line.endswith("::") or line.strip() == "Example:"):
            written.append(line)
            continue
        margin = _margin(line)
        start = number
        while number < len(lines) and (not lines[number].strip() or _margin(lines[number]) > margin):
            number += 1
        code = dedent("\n".join(lines[start:number])).strip("\n")
        language = "pycon" if code.startswith(">>>") else "python"
        written += [f"{line.rstrip(':')}:", "", indent(f"```{language}\n{code}\n```", " " * margin), ""]
    return "\n".join(written)


def _margin(line: str) -> int:
    return len(line) - len(line.lstrip())


def _link(match: re.Match[str]) -> str:
    title = _TITLES.get(match[2], match[2].replace("_", " "))
    return f"[{title}](../{match[1]}/{match[2]}.md{match[3] or ''})"
