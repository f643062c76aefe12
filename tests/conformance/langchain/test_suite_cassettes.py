"""The cassettes of the suites: each has its test, and was recorded from what its test says."""

from __future__ import annotations

import importlib
import inspect
from typing import TYPE_CHECKING

import pytest

from tests.cassettes.tape import CASSETTES, PROVENANCE
from tests.conformance.langchain.chat_suite import ChatModelSuite, source_of_test

if TYPE_CHECKING:
    from pathlib import Path

SUITES = CASSETTES / "langchain_suites"
ENGINES = {
    "sandbox": ("llama.cpp ", "live, "),
    "scripted": ("linkspan's sandbox in ", "live, "),
    "vllm": ("vLLM ", "live, "),
}


@pytest.mark.parametrize("folder", sorted(SUITES.iterdir()), ids=lambda folder: folder.name)
def test_every_cassette_has_its_test_and_the_origin_that_it_says(folder: Path) -> None:
    module = importlib.import_module(f"tests.conformance.langchain.test_{folder.name}")
    classes = [made for _, made in inspect.getmembers(module, inspect.isclass) if made.__module__ == module.__name__]
    found = sorted(folder.glob("*.yaml"))
    assert found
    for path in found:
        test = f"test_{path.stem.partition('[')[0]}"
        (suite,) = [made for made in classes if hasattr(made, test) and hasattr(made, "_tape")]
        source = source_of_test(suite, test) if issubclass(suite, ChatModelSuite) else suite.pytestmark[0].args[0]
        first = path.read_text(encoding="utf-8").splitlines()[0]
        expected = tuple(f"{PROVENANCE}engine: {engine}" for engine in ENGINES[source.split("-")[0]])
        assert first.startswith(expected), f"{path.name} is to be recorded from {source}"
