"""How many tests of the suites ran, how many passed, and that docs/conformance.md says so."""

from __future__ import annotations

from collections import Counter
from importlib.metadata import version
from pathlib import Path

import pytest

__all__ = ["FOLDER", "Counts", "SuiteCounts"]

FOLDER = Path(__file__).parent
PAGE = FOLDER.parents[2] / "docs" / "conformance.md"
_NODES = "tests/conformance/langchain/"
#: The modules of linkspan's own suites; all others with suites run LangChain's.
_OWN = frozenset({"test_completion_models.py", "test_rerankers.py"})
_NO_SUITE = frozenset({"test_suite_cassettes.py"})


class Counts:
    """Outcomes of the suites' tests, by whose suite it is."""

    def __init__(self) -> None:
        self._outcomes: dict[str, str] = {}
        #: Whether some were left out by an option.
        self.partial = False

    def add(self, report: pytest.TestReport) -> None:
        """Count a test; one that fails in set-up or tear-down has failed."""
        if not report.nodeid.startswith(_NODES):
            return
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
        skipped = f", {found['skipped']} skipped" if found["skipped"] else ""
        return f"{run} run, {found['passed']} passed{expected}{skipped}"

    def complaint(self) -> str | None:
        """Say what is wrong on the page, if all tests of the suites have run."""
        modules = {Path(node.partition("::")[0]).name for node in self._outcomes}
        if self.partial or modules != {path.name for path in FOLDER.glob("test_*.py")}:
            return None
        page = " ".join(PAGE.read_text(encoding="utf-8").split())
        # Another version may have more tests, or fewer.
        if f"langchain-tests {version('langchain-tests')}" not in page:
            return None
        lines = [line for line in (self.line(own=False), self.line(own=True)) if line is not None]
        missing = [line for line in lines if line not in page]
        return f"docs/conformance.md does not say what the suites gave: {missing}" if missing else None


class SuiteCounts:
    """The pytest plugin that counts, says what it counted, and fails the run where the page says otherwise."""

    def __init__(self, config: pytest.Config) -> None:
        self._counts = Counts()
        chosen = any("::" in argument for argument in config.args)
        self._counts.partial = bool(chosen or config.option.keyword or config.option.markexpr)

    def pytest_deselected(self) -> None:
        """Take note that not all tests run."""
        self._counts.partial = True

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Count."""
        self._counts.add(report)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Say it with ``-v``; always where the page says otherwise."""
        for own, whose in (
            (False, "LangChain's suites"),
            (True, "linkspan's suites for completion models and rerankers"),
        ):
            if terminalreporter.verbosity > 0 and (line := self._counts.line(own=own)):
                terminalreporter.write_line(f"{whose}: {line}")
        if complaint := self._counts.complaint():
            terminalreporter.write_line(complaint, red=True)

    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        """Fail."""
        if exitstatus == pytest.ExitCode.OK and self._counts.complaint():
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
