"""Construction, secrets, metadata and copies."""

from __future__ import annotations

import copy
import importlib
import logging
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from pydantic import SecretStr

import linkspan
from linkspan.errors import ConfigurationError
from linkspan.llama_index import Scaleway
from tests.llama_index_adapter.conftest import KEY, MODEL

if TYPE_CHECKING:
    from collections.abc import Callable

    from linkspan_sandbox import Sandbox


def test_the_namespace_leaf_is_the_same_class() -> None:
    leaf = importlib.import_module("llama_index.llms.scaleway")
    assert leaf.__all__ == ["Scaleway"]
    assert leaf.Scaleway is Scaleway
    assert "BaseLLM" in [cls.__name__ for cls in Scaleway.__mro__]
    assert Scaleway.class_name() == "Scaleway"


def test_the_namespaces_have_no_init() -> None:
    root = Path(linkspan.__file__).parents[1] / "llama_index"
    inits = [path.relative_to(root).as_posix() for path in root.rglob("__init__.py")]
    assert "llms/scaleway/__init__.py" in inits
    assert all(len(Path(path).parts) == 3 for path in inits), inits
    assert (root / "llms" / "scaleway" / "py.typed").exists()


def test_the_wheel_ships_the_leaf_and_no_namespace_init(tmp_path: Path) -> None:
    pytest.importorskip("hatchling")
    root = Path(linkspan.__file__).parents[2]
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(command, cwd=root, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    names = [name for name in zipfile.ZipFile(wheel).namelist() if name.startswith("llama_index/")]
    assert {"llama_index/llms/scaleway/__init__.py", "llama_index/llms/scaleway/py.typed"} <= set(names)
    assert not {"llama_index/__init__.py", "llama_index/llms/__init__.py"} & set(names)


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        ("temprature", "temperature"),
        ("api_bsae", "api_base"),
        ("maxtokens", "max_tokens"),
        ("zzz", "additional_kwargs"),
    ],
)
def test_unknown_arguments_are_refused_with_a_hint(wrong: str, hint: str) -> None:
    with pytest.raises(ConfigurationError, match=hint) as caught:
        Scaleway(model=MODEL, api_key=KEY, **{wrong: 1})
    assert wrong in str(caught.value)


def test_wrong_values_name_the_field_and_show_no_key() -> None:
    with pytest.raises(ConfigurationError, match="max_tokens") as caught:
        Scaleway(model=MODEL, api_key=KEY, max_tokens="many", default_headers=KEY)
    assert KEY not in str(caught.value)


def test_addresses() -> None:
    with pytest.raises(ConfigurationError, match="api_base"):
        Scaleway(model=MODEL, api_key=KEY, api_base="https://a.example/v1", base_url="https://b.example/v1")
    with pytest.raises(ConfigurationError, match="project_id"):
        Scaleway(model=MODEL, api_key=KEY, project_id="p", base_url="https://b.example/v1")
    assert Scaleway(model=MODEL, api_key=KEY, api_base="https://a.example/v1").base_url == "https://a.example/v1"


def test_a_missing_key_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "not-for-scaleway")
    with pytest.raises(ConfigurationError, match="SCW_SECRET_KEY"):
        Scaleway(model=MODEL)
    monkeypatch.setenv("SCW_SECRET_KEY", KEY)
    assert Scaleway(model=MODEL).api_key == SecretStr(KEY)


def test_keys_and_headers_show_nowhere(make: Callable[..., Scaleway], caplog: pytest.LogCaptureFixture) -> None:
    llm = make(default_headers={"X-Secret": "header-secret"})
    with caplog.at_level(logging.DEBUG):
        llm.complete("hi")
    shown = [repr(llm), str(llm), llm.to_json(), str(llm.to_dict()), str(llm.to_payload()), caplog.text]
    assert not [text for text in shown if KEY in text or "header-secret" in text]


def test_from_dict_reads_the_environment_again(llm: Scaleway, monkeypatch: pytest.MonkeyPatch) -> None:
    stored = llm.to_dict()
    assert stored == llm.to_dict()
    monkeypatch.setenv("SCALEWAY_API_KEY", KEY)
    again = Scaleway.from_dict(stored)
    assert again.complete("hi").text == "hi"
    assert again.to_dict() == stored


def test_copies_work(make: Callable[..., Scaleway], sandbox: Sandbox) -> None:
    llm = make(temperature=0.5, default_headers={"X-Team": "a"}, extra_body={"a": [1]})
    llm.complete("hi")
    copies = [pickle.loads(pickle.dumps(llm)), copy.deepcopy(llm), copy.copy(llm), llm.model_copy()]
    for twin in copies:
        assert twin.complete("hi").text == "hi"
        assert sandbox.last_request.headers["x-team"] == "a"
        assert sandbox.last_request.json["temperature"] == 0.5
    assert copies[1].extra_body["a"] is not llm.extra_body["a"]
    warmer = llm.model_copy(update={"temperature": 0.9, "default_headers": {"X-Team": "b"}})
    warmer.complete("hi")
    assert (sandbox.last_request.json["temperature"], sandbox.last_request.headers["x-team"]) == (0.9, "b")


def test_a_changed_setting_counts_from_the_next_call(llm: Scaleway, sandbox: Sandbox) -> None:
    llm.complete("hi")
    llm.default_headers = {"X-Team": "b"}
    llm.temperature = 0.25
    llm.complete("hi")
    assert (sandbox.last_request.headers["x-team"], sandbox.last_request.json["temperature"]) == ("b", 0.25)


def test_connection_settings_are_refused_per_call(llm: Scaleway) -> None:
    with pytest.raises(ConfigurationError, match="api_key"):
        llm.complete("hi", api_key="other")


def test_metadata_is_offline(make: Callable[..., Scaleway], sandbox: Sandbox) -> None:
    known = make(model="llama-3.3-70b-instruct").metadata
    assert (known.is_chat_model, known.is_function_calling_model, known.model_name) == (True, True, MODEL)
    assert known.context_window >= 100_000
    unknown = make(model="my-own/model:bf16", max_tokens=77).metadata
    assert (unknown.context_window, unknown.num_output, unknown.is_function_calling_model) == (128_000, 77, True)
    mine = make(model="my-own/model", context_window=4096, is_function_calling_model=False).metadata
    assert (mine.context_window, mine.is_function_calling_model) == (4096, False)
    assert len(sandbox.requests) == 0
