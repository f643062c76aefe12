"""What is imported with what, and what is in the wheel."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest
from hatchling.builders.sdist import SdistBuilder
from hatchling.builders.wheel import WheelBuilder

from linkspan import langchain, llama_index
from linkspan.connection import Connected
from tests.support.warm import LANGCHAIN, LLAMA_INDEX, run_warm

ROOT = Path(__file__).parents[1]
SOURCES = ROOT / "src"
SANDBOX = ROOT / "packages" / "linkspan-sandbox"
FRAMEWORKS = ("langchain_core", "langchain", "llama_index.core", "linkspan.langchain", "linkspan.llama_index")
#: All that a wheel of this project may hold besides modules.
DATA = (".jinja", ".json", "py.typed")


def python(code: str) -> str:
    outcome = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120)
    assert outcome.returncode == 0, outcome.stderr
    return outcome.stdout


def modules_after(statement: str, base: str | None = None) -> set[str]:
    program = f"import json, sys\n{statement}\nprint(json.dumps(list(sys.modules)))"
    return set(json.loads(python(program) if base is None else run_warm(base, program)))


def test_both_frameworks_classes_import_together() -> None:
    code = "from llama_index.llms.scaleway import Scaleway; from linkspan.langchain import ChatScaleway; "
    assert run_warm(LLAMA_INDEX, code + "print(Scaleway.__module__, ChatScaleway.__module__)").split() == [
        "linkspan.llama_index.scaleway",
        "linkspan.langchain.scaleway",
    ]


@pytest.mark.parametrize("module", ["linkspan", "linkspan.errors", "linkspan.endpoint", "linkspan.providers.scaleway"])
def test_the_core_imports_no_framework(module: str) -> None:
    loaded = modules_after(f"import {module}")
    assert module in loaded
    assert not loaded.intersection(FRAMEWORKS)


def test_the_command_line_starts_without_a_framework() -> None:
    assert not modules_after("import linkspan.cli").intersection(FRAMEWORKS)


def test_the_langchain_side_does_not_import_llama_index() -> None:
    loaded = modules_after("import linkspan.langchain", LANGCHAIN)
    assert "langchain_core" in loaded
    assert not loaded.intersection({"llama_index.core", "linkspan.llama_index"})


def test_the_llama_index_side_does_not_import_langchain() -> None:
    loaded = modules_after("import linkspan.llama_index", LLAMA_INDEX)
    assert "llama_index.core" in loaded
    assert not loaded.intersection({"langchain_core", "linkspan.langchain"})


@pytest.mark.parametrize(("extra", "absent"), [("langchain", "langchain_core"), ("llama-index", "llama_index.core")])
def test_without_its_extra_a_side_says_how_to_install_it(extra: str, absent: str) -> None:
    side = f"linkspan.{extra.replace('-', '_')}"
    code = f"""
import sys

class NotInstalled:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name == {absent!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, NotInstalled)
try:
    import {side}
except ImportError as error:
    print(error)
"""
    assert python(code).splitlines() == [
        f"{side} needs {absent}, which comes with an extra: pip install 'linkspan[{extra}]'"
    ]


def test_the_namespace_of_llama_index_stays_open() -> None:
    # With an __init__.py in one of these, the packages of others below them could no longer be imported.
    namespaces = [SOURCES / "llama_index", *(path for path in (SOURCES / "llama_index").iterdir() if path.is_dir())]
    assert SOURCES / "llama_index" / "llms" in namespaces
    assert [str(path) for path in namespaces if (path / "__init__.py").exists()] == []


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    builder = WheelBuilder(str(ROOT))
    (built,) = builder.build(directory=str(tmp_path_factory.mktemp("wheel")), versions=["standard"])
    return Path(built)


@pytest.fixture(scope="module")
def contents(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_the_wheel_holds_every_module_and_nothing_else(contents: set[str]) -> None:
    sources = {
        path.relative_to(SOURCES).as_posix()
        for path in SOURCES.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert [name for name in sorted(sources) if not name.endswith((".py", *DATA))] == []
    installed = {name for name in contents if not name.startswith("linkspan-")}
    assert installed == sources


def test_the_wheel_holds_the_leaves_the_catalogue_and_the_type_markers(contents: set[str]) -> None:
    assert {
        "llama_index/llms/datacrunch/__init__.py",
        "llama_index/llms/datacrunch/py.typed",
        "llama_index/llms/gray_swan/__init__.py",
        "llama_index/llms/gray_swan/py.typed",
        "llama_index/llms/llm_engine/__init__.py",
        "llama_index/llms/llm_engine/py.typed",
        "llama_index/llms/scaleway/__init__.py",
        "llama_index/llms/scaleway/py.typed",
        "linkspan/py.typed",
        "linkspan/providers/catalog_gray_swan.json",
        "linkspan/providers/catalog_scaleway.json",
    } <= contents
    assert not contents.intersection({"llama_index/__init__.py", "llama_index/llms/__init__.py"})


def test_the_wheel_carries_its_licence_and_the_command(wheel: Path, contents: set[str]) -> None:
    info = f"linkspan-{importlib.metadata.version('linkspan')}.dist-info"
    assert {name for name in contents if name.startswith("linkspan-")} == {
        f"{info}/METADATA",
        f"{info}/RECORD",
        f"{info}/WHEEL",
        f"{info}/entry_points.txt",
        f"{info}/licenses/LICENSE",
    }
    with zipfile.ZipFile(wheel) as archive:
        assert "linkspan = linkspan.cli:main" in archive.read(f"{info}/entry_points.txt").decode()
        metadata = archive.read(f"{info}/METADATA").decode().splitlines()
    assert "Name: linkspan" in metadata
    assert "Requires-Python: >=3.10" in metadata
    for extra in ("all", "cli", "langchain", "llama-index", "testing"):
        assert f"Provides-Extra: {extra}" in metadata


def test_the_readme_of_the_wheel_has_no_link_that_ends_nowhere(wheel: Path) -> None:
    info = f"linkspan-{importlib.metadata.version('linkspan')}.dist-info"
    with zipfile.ZipFile(wheel) as archive:
        readme = archive.read(f"{info}/METADATA").decode()
    assert "# linkspan" in readme
    assert [target for target in re.findall(r"\]\(([^)]+)\)", readme) if not target.startswith("https://")] == []


def test_with_the_repositorys_address_its_links_lead_there() -> None:
    spec = importlib.util.spec_from_file_location("hatch_build", ROOT / "hatch_build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    metadata: dict[str, Any] = {}
    module.CustomMetadataHook(str(ROOT), {"repository": "https://forge.example/linkspan/"}).update(metadata)
    links = re.findall(r"\]\((https://forge\.example/[^)]+)\)", metadata["readme"]["text"])
    assert len(links) > 10
    assert {link.partition("/blob/main/")[0] for link in links} == {"https://forge.example/linkspan"}
    assert all((ROOT / link.partition("/blob/main/")[2]).exists() for link in links)
    assert metadata["urls"]["Repository"] == "https://forge.example/linkspan"


def test_the_sandbox_can_be_built_from_its_own_sources(tmp_path: Path) -> None:
    (archive,) = SdistBuilder(str(SANDBOX)).build(directory=str(tmp_path), versions=["standard"])
    with tarfile.open(archive) as sources:
        sources.extractall(tmp_path, filter="data")
    unpacked = archive.removesuffix(".tar.gz")
    (built,) = WheelBuilder(unpacked).build(directory=str(tmp_path), versions=["standard"])
    assert Path(built).name.startswith(f"linkspan_sandbox-{importlib.metadata.version('linkspan')}-")


def test_the_client_loads_nothing_into_anybodys_pytest(wheel: Path, contents: set[str]) -> None:
    info = f"linkspan-{importlib.metadata.version('linkspan')}.dist-info"
    with zipfile.ZipFile(wheel) as archive:
        assert "pytest11" not in archive.read(f"{info}/entry_points.txt").decode()
        assert not [name for name in contents if name.endswith(".py") and b"import pytest" in archive.read(name)]


def test_the_sandbox_is_a_distribution_of_its_own(tmp_path: Path) -> None:
    (built,) = WheelBuilder(str(SANDBOX)).build(directory=str(tmp_path), versions=["standard"])
    with zipfile.ZipFile(built) as archive:
        names = set(archive.namelist())
        (metadata,) = [archive.read(name).decode() for name in names if name.endswith("METADATA")]
        (entries,) = [archive.read(name).decode() for name in names if name.endswith("entry_points.txt")]
    version = importlib.metadata.version("linkspan")
    assert {name.split("/")[0] for name in names} == {"linkspan_sandbox", f"linkspan_sandbox-{version}.dist-info"}
    assert f"Requires-Dist: linkspan[cli]=={version}" in metadata
    assert "linkspan_sandbox = linkspan_sandbox.pytest_plugin" in entries


def test_the_source_distribution_makes_the_same_wheel_and_holds_no_tests(contents: set[str], tmp_path: Path) -> None:
    (archive,) = SdistBuilder(str(ROOT)).build(directory=str(tmp_path), versions=["standard"])
    with tarfile.open(archive) as sources:
        sources.extractall(tmp_path, filter="data")
    unpacked = Path(archive.removesuffix(".tar.gz"))
    assert {path.name for path in unpacked.iterdir()} == {
        ".gitignore",
        "CHANGELOG.md",
        "LICENSE",
        "PKG-INFO",
        "README.md",
        "hatch_build.py",
        "pyproject.toml",
        "src",
    }
    (built,) = WheelBuilder(str(unpacked)).build(directory=str(tmp_path), versions=["standard"])
    with zipfile.ZipFile(built) as wheel:
        assert set(wheel.namelist()) == contents


def test_the_release_check_calls_every_class() -> None:
    # As in a clean environment, where scripts/release_check.py runs it on the wheels.
    shown = run_warm(LLAMA_INDEX, (ROOT / "scripts" / "release_smoke.py").read_text("utf-8"))
    for package in (langchain, llama_index):
        for name in package.__all__:
            value = getattr(package, name)
            if isinstance(value, type) and issubclass(value, Connected) and hasattr(value, "_provider"):
                assert f"{package.__name__}.{name}" in shown


# --------------------------------------------------------------------------- the commands of a clone


def test_the_script_of_ci_is_whole() -> None:
    subprocess.run(["bash", "-n", ROOT / ".ci" / "run"], check=True)
    lines = (ROOT / ".ci" / "run").read_text().splitlines()
    assert {"export LINKSPAN_BROWSER_REQUIRED=1", "make test || failed+=(test)"} <= set(lines)


@pytest.mark.parametrize("target", ["demo", "test", "matrix", "ecosystem", "docs", "bench", "release-check"])
def test_a_target_of_make_has_a_recipe_of_known_variables(target: str) -> None:
    # An old environment of this clone would leave out its set-up: here none is found.
    command = ["make", "-C", str(ROOT), "-n", "--warn-undefined-variables", target, "VENV=absent", "BENCH_VENV=absent"]
    outcome = subprocess.run(command, capture_output=True, text=True, check=False)
    assert outcome.returncode == 0, outcome.stderr
    undefined = set(re.findall(r"undefined variable '(\w+)'", outcome.stderr))
    assert undefined <= {"ONLY", "ENGINE", "LIVE", "SLOWEST", "LINKSPAN_BROWSER_REQUIRED"}
    assert "scripts/" in outcome.stdout
