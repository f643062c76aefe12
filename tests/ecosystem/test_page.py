"""``docs/ecosystem.md`` lists what is tried here, with the versions that are installed.

To write its table anew: ``LINKSPAN_WRITE_PAGE=1 make ecosystem``.
"""

from __future__ import annotations

import ast
import os
from importlib.metadata import version
from pathlib import Path

FOLDER = Path(__file__).parent
PAGE = FOLDER.parents[1] / "docs" / "ecosystem.md"
BEGIN, END = "<!-- tests/ecosystem -->\n", "<!-- end -->\n"
#: The fixture that a test takes, and what it stands for.
CLASSES = {
    "chat": "`ChatScaleway`, `ChatGraySwan`, `ChatDataCrunch`",
    "llm": "`Scaleway`, `GraySwan`, `ChatDataCrunch`",
    "sandbox": "`ChatScaleway`",
}


def rows() -> list[str]:
    """A row per mark, in the order of the files: package, version, component, classes."""
    found: dict[tuple[str, str], str] = {}
    for path in sorted(FOLDER.glob("test_*.py")):
        for test in ast.walk(ast.parse(path.read_text("utf-8"))):
            if not isinstance(test, (ast.FunctionDef, ast.AsyncFunctionDef)):
                continue
            taken = next((argument.arg for argument in test.args.args if argument.arg in CLASSES), None)
            for mark in test.decorator_list:
                if isinstance(mark, ast.Call) and isinstance(mark.func, ast.Name) and mark.func.id == "component":
                    package, name = (ast.literal_eval(argument) for argument in mark.args)
                    found[package, name] = CLASSES[taken or "sandbox"]
    return [
        f"| {package} {version(package)} | {name} | {classes} |" for (package, name), classes in sorted(found.items())
    ]


def test_the_page_lists_what_is_tried() -> None:
    table = "\n".join(["| package | component | with |", "|---|---|---|", *rows()]) + "\n"
    page = PAGE.read_text("utf-8")
    before, after = page.split(BEGIN)[0], page.split(END)[1]
    wanted = f"{before}{BEGIN}{table}{END}{after}"
    if os.environ.get("LINKSPAN_WRITE_PAGE"):
        PAGE.write_text(wanted, "utf-8")
    assert page == wanted or os.environ.get("LINKSPAN_WRITE_PAGE")
