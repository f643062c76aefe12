"""Measure which branches the tests of transport, codecs and assembler take: ``python -m pytest --branches``.

Tracing makes Python half as slow again, so it is off while tests run that are not about those parts: what an example or
an agent happens to pass through proves nothing. ``scripts/check_coverage.py`` reads what is left behind.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest
from coverage import Coverage

if TYPE_CHECKING:
    from collections.abc import Iterator

#: What is not about those parts, and costs most: frameworks, programs, recordings, and faults drawn by chance.
UNTRACED = (
    *(
        "agents",
        "benchmarks",
        "both",
        "cassettes",
        "clients",
        "commands",
        "conformance",
        "decisions",
        "docs",
        "examples",
    ),
    *("faults", "langchain", "llama_index_adapter", "llama_index_completions", "objects", "pytest_plugin", "sandbox"),
    *("data_role/test_injection.py",),
)

#: Tests among these that are about codecs.
TRACED = ("both/test_scores_and_stops.py", "both/test_streamed_and_whole.py")


class Branches:
    """A plugin that traces the other tests, in each process that runs tests."""

    def __init__(self, config: pytest.Config) -> None:
        self.untraced = {config.rootpath / "tests" / name for name in UNTRACED}
        self.traced = {config.rootpath / "tests" / name for name in TRACED}
        data = str(config.rootpath / ".coverage")
        self.coverage = Coverage(data_file=data, data_suffix=True, config_file=str(config.rootpath / "pyproject.toml"))
        self.on = False
        if not hasattr(config, "workerinput"):
            for left in (*config.rootpath.glob(".coverage"), *config.rootpath.glob(".coverage.*")):
                left.unlink()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        wanted = item.path in self.traced or self.untraced.isdisjoint({item.path, *item.path.parents})
        if wanted and not self.on:
            self.coverage.start()
            # The main thread alone. In CPython 3.11 a thread that begins to be traced in the same instant as another
            # one dies of it ("Cannot install a trace function while another trace function is being installed").
            threading.settrace(None)  # type: ignore[arg-type]
        elif self.on and not wanted:
            self.coverage.stop()
        self.on = wanted
        return (yield)

    def pytest_sessionfinish(self) -> None:
        if self.on:
            self.coverage.stop()
        self.coverage.save()
