"""The pytest plugin with the fixture ``linkspan_sandbox``, a scripted stand-in for all four APIs.

pytest loads this module in every run if linkspan-sandbox is installed. So it imports only pytest; the first test that
uses the fixture imports and starts the server.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from linkspan_sandbox import Sandbox

__all__ = [
    "linkspan_sandbox",
    "linkspan_sandbox_server",
    "pytest_addoption",
    "pytest_collection_modifyitems",
    "pytest_configure",
]

_ENGINES = ("scripted", "local")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--linkspan-engine`` and the ini option ``linkspan_engine``."""
    parser.getgroup("linkspan").addoption(
        "--linkspan-engine",
        choices=_ENGINES,
        help="what answers behind the fixture linkspan_sandbox: rules and echoes, or a small real model "
        "(default: the ini option linkspan_engine, else scripted)",
    )
    parser.addini("linkspan_engine", "the default of --linkspan-engine", default="scripted")


def pytest_configure(config: pytest.Config) -> None:
    """Register the mark of the conformance suites."""
    config.addinivalue_line("markers", "linkspan_needs(has): collect the test only if the suite says the API has it")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Deselect conformance tests of features that an API does not have."""
    items[:] = [item for item in items if _has_what_it_needs(item)]


def _has_what_it_needs(item: pytest.Item) -> bool:
    for mark in item.iter_markers("linkspan_needs"):
        (has,) = mark.args
        suite = item.cls()  # type: ignore[attr-defined]  # the mark is on methods only
        if (has(suite) if callable(has) else getattr(suite, has)) in (None, False):
            return False
    return True


@pytest.fixture(scope="session")
def linkspan_sandbox_server(pytestconfig: pytest.Config) -> Iterator[Sandbox]:
    """The running sandbox, one per session. Tests use ``linkspan_sandbox`` instead.

    Override it in ``conftest.py`` to change options: ``with linkspan_sandbox.run(...) as sandbox: yield sandbox``.
    """
    engine = pytestconfig.getoption("linkspan_engine") or pytestconfig.getini("linkspan_engine")
    if engine not in _ENGINES:
        raise pytest.UsageError(f"linkspan_engine must be one of {', '.join(_ENGINES)}, not {engine!r}")
    from linkspan_sandbox import run  # noqa: PLC0415  # import the server only if a test uses it

    with run(engine) as sandbox:
        yield sandbox


@pytest.fixture
def linkspan_sandbox(linkspan_sandbox_server: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Sandbox:
    """A local stand-in for Scaleway, Gray Swan, LLM Engine and DataCrunch, fresh for each test.

    During the test, environment variables point every linkspan class to it: base URLs and keys of all four APIs are set
    and proxies are unset. ``add_rule(...)`` sets answers and faults (without a rule it echoes); ``requests`` lists the
    requests received.
    """
    linkspan_sandbox_server.reset()
    for name, value in linkspan_sandbox_server.environment.items():
        monkeypatch.setenv(name, value)
    for name in ("no_proxy", "NO_PROXY"):
        others = os.environ.get(name)
        monkeypatch.setenv(name, f"{others},127.0.0.1" if others else "127.0.0.1")
    return linkspan_sandbox_server
