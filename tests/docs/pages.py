"""Takes the Python out of a page and runs it as a reader would: from top to bottom.

A block in a tab belongs to that tab's framework, a block outside tabs to both readers. Blocks of `python` are run;
`pycon`, `console` and the like are not. Functions named `test_...` are called, with the fixtures they ask for.
"""

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent
from typing import Any

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / "README.md",
    ROOT / "packages" / "linkspan-sandbox" / "README.md",
    ROOT / "docs" / "index.md",
    *sorted((ROOT / "docs" / "guides").glob("*.md")),
]

_TAB = re.compile(r'^(?P<indent> *)=== "(?P<title>[^"]+)"$')
_FENCE = re.compile(r"^(?P<indent> *)```(?P<language>[\w-]*)")
FRAMEWORKS = ("LangChain", "LlamaIndex")


@dataclass(frozen=True)
class Block:
    """One fenced block: where it begins, what it holds, and whose tab it is in."""

    line: int
    language: str
    code: str
    framework: str | None


def blocks_of(page: Path) -> list[Block]:
    """Every fenced block of a page."""
    lines = page.read_text("utf-8").splitlines()
    found: list[Block] = []
    tab: tuple[int, str] | None = None
    number = 0
    while number < len(lines):
        line = lines[number]
        if header := _TAB.match(line):
            tab = (len(header["indent"]), header["title"])
        elif tab is not None and line.strip() and len(line) - len(line.lstrip()) <= tab[0]:
            tab = None
        if fence := _FENCE.match(line):
            start = number + 1
            number = next(at for at in range(start, len(lines)) if lines[at].strip() == "```")
            framework = tab[1] if tab and tab[1] in FRAMEWORKS else None
            found.append(Block(start, fence["language"], dedent("\n".join(lines[start:number])) + "\n", framework))
        number += 1
    return found


class Reader:
    """Runs blocks one after the other, as somebody who copies them into one file would."""

    def __init__(self, page: Path, fixtures: dict[str, Any], replaced: dict[str, str]) -> None:
        self._page = page
        self._fixtures = fixtures
        self._replaced = replaced
        self._spaces: dict[str, dict[str, Any]] = {name: {"__name__": "page"} for name in FRAMEWORKS}

    def run(self, block: Block) -> None:
        """Run a block for those readers that it is for."""
        code = block.code
        for placeholder, address in self._replaced.items():
            code = code.replace(placeholder, address)
        # Line numbers of a traceback are the page's.
        compiled = compile("\n" * block.line + code, str(self._page), "exec")
        for framework in [block.framework] if block.framework else FRAMEWORKS[:1]:
            space = self._spaces[framework]
            known = set(space)
            exec(compiled, space)
            for name in [name for name in space if name.startswith("test_") and name not in known]:
                wanted = inspect.signature(space[name]).parameters
                space[name](**{argument: self._fixtures[argument] for argument in wanted})
        if block.framework is None:
            for name, value in self._spaces[FRAMEWORKS[0]].items():
                self._spaces[FRAMEWORKS[1]].setdefault(name, value)
