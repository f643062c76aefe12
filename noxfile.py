"""Run a part of the tests on the oldest and the newest versions that pyproject.toml allows.

``make matrix`` runs both on the Python of ``.venv``. By hand: ``.venv/bin/nox -s lowest newest -p 3.13``, or a path to
another interpreter: ``--force-python PATH``. Environments are created once and updated with each run.
"""

from __future__ import annotations

from pathlib import Path

import nox

nox.needs_version = ">=2025.5"
# uv can resolve the lowest versions; pip cannot.
nox.options.default_venv_backend = "uv"
nox.options.reuse_venv = "yes"
# Use only installed interpreters.
nox.options.download_python = "never"
nox.options.sessions = ["lowest", "newest"]

# Some tests run pip, which uv's environments have only with --seed.
PYTHONS = ["3.10", "3.11", "3.12", "3.13"]
#: The packages with all their extras.
PACKAGES = ("--editable", ".[all]", "--editable", "./packages/linkspan-sandbox[local]")
#: Each class of both frameworks (called, streamed, awaited; tools, agents, engines; recorded answers), and what else
#: depends on other packages: the command line, the sandbox, the pytest plugin, the examples. Not langchain's own
#: agents: the langchain that fits the lowest langchain-core drops a person's edits and ignores unknown calls.
CHOSEN = (
    "tests/langchain",
    "tests/llama_index_adapter",
    "tests/conformance/langchain/test_chat_models.py",
    "tests/conformance/langchain/test_scaleway_embeddings.py",
    "tests/conformance/test_end_to_end.py",
    "tests/conformance/test_equivalences.py",
    "tests/conformance/test_shortcuts.py",
    "tests/agents/test_langchain_structured.py",
    "tests/agents/test_llama_index_agents.py",
    "tests/agents/test_rag.py",
    "tests/cassettes/test_datacrunch.py",
    "tests/cassettes/test_gray_swan.py",
    "tests/cassettes/test_llm_engine.py",
    "tests/cassettes/test_scaleway.py",
    "tests/cassettes/test_scaleway_structured_output.py",
    "tests/cassettes/test_scaleway_tools.py",
    "tests/scaleway_embeddings",
    "tests/scaleway_rerank",
    "tests/commands",
    "tests/cygnal/test_langchain_middleware.py",
    "tests/cygnal/llama_index",
    "tests/decisions",
    "tests/pytest_plugin",
    "tests/examples/test_examples.py::test_without_a_key_it_runs_against_the_sandbox",
    "tests/docs/test_pages.py::test_its_python_runs[guides/decisions]",
    "tests/test_imports.py",
)
#: Deprecations in other versions are not failures.
OPTIONS = ("-n", "auto", "--dist", "worksteal", "-W", "default", "--disable-warnings")
#: langchain-tests requires a newer httpx than the tested classes do, but works with the older one.
OVERRIDDEN = ("httpx",)


@nox.session(python=PYTHONS, venv_params=["--seed"])
def lowest(session: nox.Session) -> None:
    """Test the lowest versions that pyproject.toml allows."""
    # Not session.create_tmp(), which would put the tests' temporary folders into this project.
    folder = Path(session.virtualenv.location)
    wanted, pins, overrides = (folder / name for name in ("wanted.txt", "lowest.txt", "overrides.txt"))
    wanted.write_text("\n".join(" ".join(pair) for pair in zip(PACKAGES[::2], PACKAGES[1::2], strict=True)), "utf-8")
    options = ("--quiet", "--no-header", "--annotation-style", "line", "--resolution", "lowest-direct")
    python = ("--python", str(Path(session.bin) / "python"))
    session.run_install("uv", "pip", "compile", *options, *python, str(wanted), "--output-file", str(pins))
    # "httpx==0.27.0   # via langsmith, linkspan": what only others ask for is theirs to choose.
    annotated = [line.split("# via") for line in pins.read_text("utf-8").splitlines() if "==" in line]
    lines = [requirement.strip() for requirement, askers in annotated if "linkspan" in askers]
    session.log(", ".join(lines))
    pins.write_text("\n".join(lines), "utf-8")
    overrides.write_text("\n".join(line for line in lines if line.split("==")[0] in OVERRIDDEN), "utf-8")
    install(session, "--constraint", str(pins), "--override", str(overrides))
    run_chosen(session)


@nox.session(python=PYTHONS, venv_params=["--seed"])
def newest(session: nox.Session) -> None:
    """Test the newest versions that resolve."""
    install(session, "--upgrade")
    run_chosen(session)


@nox.session(python=PYTHONS[1:])
def ecosystem(session: nox.Session) -> None:
    """Test third-party components with linkspan's classes, in the versions that the group `ecosystem` pins."""
    session.install(*PACKAGES, "--group", "ecosystem")
    chosen = session.posargs or ("tests/ecosystem", "tests/decisions")
    session.run("python", "-m", "pytest", *OPTIONS, "-p", "timeout", "--timeout", "120", *chosen)


def install(session: nox.Session, *options: str) -> None:
    """Install linkspan with its extras and the requirements of the chosen tests."""
    session.install(*options, *PACKAGES, "--group", "matrix")


def run_chosen(session: nox.Session) -> None:
    """Run the chosen tests, or those named after ``--``."""
    session.run("python", "-m", "pytest", *OPTIONS, *(session.posargs or CHOSEN))
