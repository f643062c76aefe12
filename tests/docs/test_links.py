"""Links between pages, and what code says of pages: each leads somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), ROOT / "packages" / "linkspan-sandbox" / "README.md"],
)
CODE = sorted([*ROOT.glob("src/**/*.py"), *ROOT.glob("packages/*/src/**/*.py"), *ROOT.glob("examples/**/*.py")])
CITATION = re.compile(r"docs/[\w/]+\.md(?:#[\w-]+)?")
LINK = re.compile(r"\]\(([^)\s]+)\)")


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as the site makes them."""
    text = re.sub(r"```.*?```", "", page.read_text("utf-8"), flags=re.DOTALL)
    found = set(re.findall(r"\{ ?#([\w-]+)[^}]*\}", text))
    for heading in re.findall(r"^#+ (.+)$", text, flags=re.MULTILINE):
        plain = re.sub(r"[`*]|\{.*\}|\]\([^)]*\)|\[", "", heading).strip().lower()
        found.add(re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", plain)))
    return found


def problem(target: str, beside: Path) -> str:
    """What is wrong with a link, `""` if nothing is."""
    name, _, anchor = target.partition("#")
    page = (beside / name).resolve() if name else None
    if page is not None and not page.exists():
        return f"{target}: there is no such file"
    if anchor and page is not None and page.suffix == ".md" and anchor not in anchors(page):
        # The entries of a reference page come from docstrings; `make docs` checks those.
        return "" if "reference" in page.parts else f"{target}: the page has no such heading"
    return ""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text("utf-8"), flags=re.DOTALL)
    targets = [target for target in LINK.findall(text) if not re.match(r"https?:|mailto:", target)]
    problems = [problem(f"{page.name}{one}" if one.startswith("#") else one, page.parent) for one in targets]
    assert [one for one in problems if one] == []


def test_every_page_is_in_the_navigation() -> None:
    docs = ROOT / "docs"
    navigation = (ROOT / "mkdocs.yml").read_text("utf-8").partition("\nnav:")[2]
    pages = {path.relative_to(docs).as_posix() for path in docs.rglob("*.md")}
    assert pages - set(re.findall(r"[\w/]+\.md", navigation)) == set()


def test_every_page_that_code_names_is_there() -> None:
    cited = {(path, target) for path in CODE for target in CITATION.findall(path.read_text("utf-8"))}
    assert len(cited) > 30
    assert [f"{path.name}: {wrong}" for path, target in sorted(cited) if (wrong := problem(target, ROOT))] == []


def test_code_cites_nothing_that_a_reader_does_not_have() -> None:
    pattern = re.compile(r"\breference, sections?\b|the project's reference|/shared/")
    assert [path.name for path in CODE if pattern.search(path.read_text("utf-8"))] == []
