"""The cassettes themselves: no secrets, a known origin, none without a test; and what replaying refuses."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
import socket
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from vcr.errors import CannotOverwriteExistingCassetteException

import tests.cassettes
from linkspan.langchain import ChatScaleway
from tests.cassettes.tape import CASSETTES, HOST, KEY, PROVENANCE, replaying

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FILES = sorted(CASSETTES.rglob("*.yaml"))
#: By folder: a test for each of the hundreds of files would take longer than to read them.
FOLDERS = {path.parent: path.parent.relative_to(CASSETTES).as_posix() for path in FILES}
#: libyaml's where it is there; it is the same in a tenth of the time.
Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

#: How the provenance may begin, by the first word of the source that a test names.
ENGINES = {
    "sandbox": ("llama.cpp ", "linkspan's sandbox, whose checks"),
    "scripted": ("linkspan's sandbox in ",),
    "vllm": ("vLLM ",),
}
_CREDENTIALS = re.compile(
    r"authorization|bearer|cookie|api[-_]?key|secret|token[\"']?\s*:\s*[\"'][^\"'\s]{8}|\bsk-\w{8}|\bSCW[A-Z0-9]{17}\b",
    re.IGNORECASE,
)


@pytest.mark.parametrize("folder", FOLDERS, ids=FOLDERS.get)
def test_what_each_cassette_holds(folder: Path) -> None:
    paths = sorted(folder.glob("*.yaml"))
    assert paths
    for path in paths:
        text = path.read_text(encoding="utf-8")
        holds_no_key(path, text)
        holds_no_address_and_only_harmless_headers(path, text)
        says_in_its_first_line_what_it_was_recorded_against(path, text)


def holds_no_key(path: Path, text: str) -> None:
    assert KEY not in text, path
    assert not _CREDENTIALS.search(text), path


def holds_no_address_and_only_harmless_headers(path: Path, text: str) -> None:
    assert "127.0.0.1" not in text, path
    assert "localhost" not in text, path
    assert not re.search(r"[\s\"'](?:/(?:home|root|tmp|work|Users|opt)/|[A-Z]:\\\\)", text), f"{path}: a machine's path"
    for interaction in Loader(text).get_single_data()["interactions"]:
        assert interaction["request"]["uri"].startswith(f"https://{HOST}/"), path
        assert {name.lower() for name in interaction["request"]["headers"]} <= {"accept", "content-type"}, path
        assert {name.lower() for name in interaction["response"]["headers"]} <= {
            "content-type",
            "retry-after",
            "x-prompt-tokens",
            "x-request-id",
        }, path


def says_in_its_first_line_what_it_was_recorded_against(path: Path, text: str) -> None:
    first = text.splitlines()[0]
    assert first.startswith(PROVENANCE), path
    for what in (r"engine: \w", r"model: \w", r"linkspan \d", r"langchain-core \d", r"llama-index-core \d"):
        assert re.search(what, first), f"{path}: the first line does not say {what}"
    assert re.search(r"\b20\d\d-\d\d-\d\d$", first), f"{path}: the first line does not end with the date"


def each_with_a_tape() -> Iterator[tuple[str, str]]:
    """Yield the path of each test's cassette, and the name of the source that records it."""
    for info in pkgutil.iter_modules(tests.cassettes.__path__):
        if info.name.startswith("test_"):
            module = importlib.import_module(f"tests.cassettes.{info.name}")
            for name, function in inspect.getmembers(module, inspect.isfunction):
                if name.startswith("test_") and "tape" in inspect.signature(function).parameters:
                    yield (
                        f"{info.name.removeprefix('test_')}/{name.removeprefix('test_')}.yaml",
                        source(function, module),
                    )


def source(function: Any, module: Any) -> str:
    of_module = getattr(module, "pytestmark", [])
    marks = [*getattr(function, "pytestmark", []), *(of_module if isinstance(of_module, list) else [of_module])]
    return next(str(mark.args[0]) for mark in marks if mark.name == "recorded_from")


def test_every_cassette_has_its_test_and_every_test_its_cassette() -> None:
    expected = {path for path, _ in each_with_a_tape()}
    assert expected
    # Those of the frameworks' suites are looked at beside the suites.
    own = {path for path in FILES if not path.relative_to(CASSETTES).parts[0].endswith("_suites")}
    assert {str(path.relative_to(CASSETTES).as_posix()) for path in own} == expected


def test_each_was_recorded_from_what_its_test_says_or_live() -> None:
    for path, name in each_with_a_tape():
        first = (CASSETTES / path).read_text(encoding="utf-8").splitlines()[0]
        engines = [f"{PROVENANCE}engine: {engine}" for engine in (*ENGINES[name.split("-")[0]], "live, ")]
        assert first.startswith(tuple(engines)), f"{path} is to be recorded from {name}"


@pytest.mark.usefixtures("network_blocked")
def test_the_network_is_blocked() -> None:
    with pytest.raises(AssertionError, match="tried to use the network"):
        socket.create_connection(("127.0.0.1", 9))
    with socket.socket() as made, pytest.raises(AssertionError, match="tried to use the network"):
        made.connect(("127.0.0.1", 9))


@pytest.mark.usefixtures("network_blocked")
def test_a_request_that_was_not_recorded_is_not_answered() -> None:
    model = ChatScaleway(model="smollm2-135m-instruct", api_key=KEY, max_retries=0)
    with (
        replaying(CASSETTES / "scaleway" / "langchain_invoke.yaml"),
        pytest.raises(CannotOverwriteExistingCassetteException),
    ):
        model.invoke("Something else altogether")
