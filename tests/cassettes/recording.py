"""Recording: which sources there are, and what hands them to the tests.

A test says with ``@pytest.mark.recorded_from("name")`` (or ``pytestmark``, for its whole module) which source its
cassette is recorded against. ``scripts/record_cassettes.py`` knows how to start each one, and hands a
:class:`Recording` to pytest.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest

from linkspan.errors import ConfigurationError
from linkspan.redaction import Secrets
from tests.cassettes.tape import CASSETTES, Tape, recording, replaying

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from contextlib import AbstractContextManager
    from pathlib import Path

    from tests.cassettes.tape import Source

__all__ = ["Recording", "cassette_of", "refuse_secrets", "source_of", "tape_of"]


def cassette_of(item: pytest.Item) -> str:
    """Return the path of a test's cassette below ``cassettes/``."""
    folder = "" if item.path.parent.name == "cassettes" else f"{item.path.parent.name}_suites/"
    return f"{folder}{item.path.stem.removeprefix('test_')}/{item.name.removeprefix('test_')}.yaml"


def source_of(item: pytest.Item) -> str:
    """Return the name of the source that a test's cassette is recorded against."""
    mark = item.get_closest_marker("recorded_from")
    if mark is None:
        raise pytest.UsageError(f"{item.nodeid} uses a tape, but no mark recorded_from says what records it")
    return str(mark.args[0])


@contextlib.contextmanager
def tape_of(request: pytest.FixtureRequest, *, may_be_empty: bool = False) -> Iterator[Tape]:
    """Play a test's cassette, or record it if the recording script runs the tests.

    Args:
        request: The test's.
        may_be_empty: Whether the test may send nothing; then it has no cassette.
    """
    name = cassette_of(request.node)
    to = next((plugin for plugin in request.config.pluginmanager.get_plugins() if isinstance(plugin, Recording)), None)
    if to is not None:
        source = to.source(source_of(request.node))
        with recording(to.directory / name, source) as cassette:
            made = Tape(cassette, source)
            yield made
        if len(cassette):
            to.recorded.append(name)
    else:
        request.getfixturevalue("network_blocked")
        with replaying(CASSETTES / name) as cassette:
            made = Tape(cassette)
            yield made
    assert made.complete or (may_be_empty and not len(cassette)), "a test must fill its cassette, or play it to the end"


def refuse_secrets(path: Path, secrets: Mapping[str, str]) -> None:
    """Refuse a cassette in which a secret is left.

    Args:
        path: The cassette.
        secrets: Secrets, and names to call them by; empty ones are not looked for.

    Raises:
        ConfigurationError: It holds one; the message has its name only.
    """
    text = path.read_text(encoding="utf-8")
    for name, secret in secrets.items():
        if secret and (secret in text or Secrets([secret]).found_in(text)):
            raise ConfigurationError(f"{path.name} would hold the value of {name}: nothing was kept")


class Recording:
    """A pytest plugin: runs the tests whose source can be had, and hands them that source.

    Args:
        sources: What starts a source, by its name. One is open at a time; each is opened once, if a test wants it.
        directory: Where to write.
        live: Whether the sources are the real service: tests that say they cannot be recorded there are left out.
    """

    def __init__(
        self,
        sources: Mapping[str, Callable[[], AbstractContextManager[Source]]],
        directory: Path,
        *,
        live: bool = False,
    ) -> None:
        self.directory = directory
        self.recorded: list[str] = []
        #: The cassettes of all tests there are, recorded now or not.
        self.known: set[str] = set()
        self._sources = sources
        self._live = live
        self._open: tuple[str, Source] | None = None
        self._stack = contextlib.ExitStack()

    def source(self, name: str) -> Source:
        """Return a source; start it if it is not the one that is open."""
        if self._open is None or self._open[0] != name:
            self.close()
            self._open = name, self._stack.enter_context(self._sources[name]())
        return self._open[1]

    def close(self) -> None:
        """Stop the source that is open."""
        self._open = None
        self._stack.close()

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        """Keep the tests that can be recorded, in the order of their sources."""
        with_tape = [item for item in items if "tape" in getattr(item, "fixturenames", ())]
        self.known = {cassette_of(item) for item in with_tape}
        kept = [item for item in with_tape if source_of(item) in self._sources]
        if self._live:
            kept = [item for item in kept if item.get_closest_marker("never_live") is None]
        config.hook.pytest_deselected(items=[item for item in items if item not in kept])
        order = list(self._sources)
        items[:] = sorted(kept, key=lambda item: order.index(source_of(item)))

    def pytest_sessionfinish(self) -> None:
        """Stop what is open."""
        self.close()
