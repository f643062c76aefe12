"""Generate docs/error_messages.md: every error and warning message in linkspan's source.

A hook of mkdocs; ``python scripts/error_messages.py`` prints the list. Values inserted at run time are shown as ``…``.
"""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ROOT / "src" / "linkspan"
PLACE = "<!-- the messages -->"
#: Helpers that build an error from a text.
_MAKES_ERRORS = re.compile(r"error|refus|fail|unsupported|invalid|broken", re.IGNORECASE)


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Insert the messages at the page's marker."""
    return markdown.replace(PLACE, listing()) if PLACE in markdown else markdown


def listing() -> str:
    """Return all messages as Markdown, module by module."""
    parts = []
    for module, found in by_module().items():
        parts.append(f"## `{module}`\n\n" + "".join(f"- **{kind}** {text}\n" for kind, text in found))
    return "\n".join(parts)


def by_module() -> dict[str, list[tuple[str, str]]]:
    """Return kind and text of every message, by module."""
    found = {}
    for path in sorted(SOURCES.rglob("*.py")):
        module = ".".join(path.relative_to(SOURCES.parent).with_suffix("").parts).removesuffix(".__init__")
        texts = messages(ast.parse(path.read_text("utf-8")))
        # The constants of the command line are its help.
        if texts and module != "linkspan.commands":
            found[module] = texts
    return found


def messages(tree: ast.AST) -> list[tuple[str, str]]:
    """Return kind and text of each error and warning, in source order."""
    raised = {id(node.exc) for node in ast.walk(tree) if isinstance(node, ast.Raise)}
    found: dict[tuple[str, str], None] = {}
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name = _name(node.func)
        kind = {"warn": _kind_of_warning(node), "with_hint": "hint"}.get(name, name if name[:1].isupper() else "error")
        if name in ("warn", "with_hint") or name.endswith("Error") or id(node) in raised or _MAKES_ERRORS.search(name):
            found.update(dict.fromkeys((kind, text) for text in map(_text, node.args) if _is_message(text)))
    # Sentences in tables or constants, for errors composed from them.
    for constant in _constants(tree):
        if _is_message(constant) and constant.endswith("."):
            found.setdefault(("part", constant))
    return list(found)


def _constants(tree: ast.AST) -> list[str]:
    """Return the texts in a module's constants."""
    values = [node.value for node in ast.iter_child_nodes(tree) if isinstance(node, (ast.Assign, ast.AnnAssign))]
    return [_text(node) for value in values if value for node in ast.walk(value) if isinstance(node, ast.Constant)]


def _is_message(text: str) -> bool:
    """Whether a text is a sentence, not a name or an argument."""
    return len(re.findall(r"[A-Za-z]{2,}", text)) > 2


def _name(function: ast.expr) -> str:
    if isinstance(function, ast.Attribute):
        return function.attr
    return function.id if isinstance(function, ast.Name) else ""


def _kind_of_warning(call: ast.Call) -> str:
    return _name(call.args[1]) if len(call.args) > 1 else "warning"


def _text(node: ast.expr) -> str:
    """Return a message's text, with an ellipsis for each inserted value."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return " ".join(node.value.split()).replace("<", "&lt;").replace("|", "\\|").replace("*", "\\*")
    if isinstance(node, ast.JoinedStr):
        pieces = [_raw(value) for value in node.values]
        return " ".join("".join(pieces).split()).replace("<", "&lt;").replace("*", "\\*")
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return f"{_text(node.left)}{_text(node.right)}"
    if isinstance(node, ast.IfExp):
        return f"{_text(node.body)} / {_text(node.orelse)}"
    return ""


def _raw(value: ast.expr) -> str:
    return str(value.value) if isinstance(value, ast.Constant) else "…"


if __name__ == "__main__":
    sys.stdout.write(listing())
