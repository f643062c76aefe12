"""How many tests of the suites ran, how many passed, and that the README says so."""

from __future__ import annotations

from collections import Counter
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

__all__ = ["FOLDER", "Counts"]

FOLDER = Path(__file__).parent
README = FOLDER.parents[2] / "README.md"
#: The modules of linkspan's own suites; all others with suites run LangChain's.
_OWN = frozenset({"test_completion_models.py", "test_rerankers.py"})
_NO_SUITE = frozenset({"test_suite_cassettes.py"})


class Counts:
    """Outcomes of the suites' tests, by whose suite it is."""

    def __init__(self) -> None:
        self._outcomes: dict[str, str] = {}
        #: Whether all tests of the folder were to run.
        self.whole = False
        #: Whether some were left out by an option.
        self.partial = False

    def collected(self, items: list[pytest.Item]) -> None:
        """Look at what will run."""
        modules = {item.path.name for item in items if item.path.parent == FOLDER}
        self.whole = modules == {path.name for path in FOLDER.glob("test_*.py")}

    def add(self, report: pytest.TestReport) -> None:
        """Count a test; one that fails in set-up or tear-down has failed."""
        outcome = "expected to fail" if hasattr(report, "wasxfail") and report.skipped else report.outcome
        if report.when == "call" or outcome != "passed":
            self._outcomes[report.nodeid] = outcome

    def line(self, *, own: bool) -> str | None:
        """Return what there is to say of LangChain's suites, or of linkspan's own."""
        found: Counter[str] = Counter()
        for node, outcome in self._outcomes.items():
            module = Path(node.partition("::")[0]).name
            if module not in _NO_SUITE and (module in _OWN) is own:
                found[outcome] += 1
        run = sum(found.values()) - found["skipped"]
        if not run:
            return None
        expected = f", {found['expected to fail']} expected to fail" if found["expected to fail"] else ""
        return f"{run} run, {found['passed']} passed{expected}, {found['skipped']} skipped"

    def complaint(self) -> str | None:
        """Say what is wrong in the README, if all tests of the suites have run."""
        if not self.whole or self.partial:
            return None
        readme = " ".join(README.read_text(encoding="utf-8").split())
        # Another version may have more tests, or fewer.
        if f"langchain-tests {version('langchain-tests')}" not in readme:
            return None
        lines = [line for line in (self.line(own=False), self.line(own=True)) if line is not None]
        missing = [line for line in lines if line not in readme]
        return f"README.md does not say what the suites gave: {missing}" if missing else None
