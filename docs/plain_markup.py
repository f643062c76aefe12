"""Docstrings name things in reStructuredText's way; the documentation is Markdown. Used by mkdocstrings."""

from __future__ import annotations

import re
from textwrap import dedent, indent
from typing import Any

import griffe

_ROLE = re.compile(r":(?:attr|class|data|exc|func|meth|mod):`~?([^`]+)`")
_PAGE = re.compile(r"docs/(apis|guides)/(\w+)\.md(#[\w-]+)?")
_TITLES = {"scaleway": "Scaleway", "gray_swan": "Gray Swan", "llm_engine": "LLM Engine", "datacrunch": "DataCrunch"}


class PlainMarkup(griffe.Extension):
    """Turns roles into code, examples into fenced Python, and names of pages into links."""

    def on_package(self, *, pkg: griffe.Module, **_: Any) -> None:
        """Rewrite the docstring of everything that has one, after other extensions wrote theirs."""
        _rewrite(pkg)


def _rewrite(obj: griffe.Object) -> None:
    if obj.docstring is not None:
        obj.docstring.value = markdown(obj.docstring.value)
    for member in obj.members.values():
        if isinstance(member, griffe.Object):
            _rewrite(member)


def markdown(text: str) -> str:
    """Return a docstring as Markdown."""
    text = _PAGE.sub(_link, _ROLE.sub(r"`\1`", text))
    lines = text.split("\n")
    written: list[str] = []
    number = 0
    while number < len(lines):
        line = lines[number]
        number += 1
        if not (line.endswith("::") or line.strip() == "Example:"):
            written.append(line)
            continue
        margin = len(line) - len(line.lstrip())
        code: list[str] = []
        while number < len(lines) and (
            not lines[number].strip() or len(lines[number]) - len(lines[number].lstrip()) > margin
        ):
            code.append(lines[number])
            number += 1
        language = "pycon" if any(one.lstrip().startswith(">>>") for one in code) else "python"
        block = f"```{language}\n{dedent(chr(10).join(code)).strip(chr(10))}\n```"
        written += [f"{line.rstrip(':')}:", "", indent(block, " " * margin), ""]
    return "\n".join(written)


def _link(match: re.Match[str]) -> str:
    title = _TITLES.get(match[2], match[2].replace("_", " "))
    return f"[{title}](../{match[1]}/{match[2]}.md{match[3] or ''})"
