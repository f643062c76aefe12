"""Run an example: as a user starts it, or from a process that has imported the frameworks already.

Most of the time of an example is imports: the frameworks' and the sandbox's take two seconds, each time. So most runs
are forked from one process that has them, and get environment, arguments, output and main module of their own;
``run_afresh`` starts Python anew.
"""

from __future__ import annotations

import io
import multiprocessing
import os
import runpy
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from multiprocessing.process import BaseProcess

EXAMPLES = Path(__file__).parents[2] / "examples"
#: What would lead an example to a service, or to a tracer.
PREFIXES = (
    *("SCW_", "SCALEWAY_", "GRAYSWAN_", "GRAY_SWAN_", "SCALE_", "LLM_ENGINE_", "DATACRUNCH_", "VERDA_"),
    *("LANGSMITH_", "OTEL_"),
)
#: Packages that import their members on first use are named by these.
IMPORTED = (
    *(
        f"langchain_core.{name}"
        for name in (
            *("callbacks.manager", "embeddings.embeddings", "language_models.chat_models", "output_parsers.string"),
            *("prompts.chat", "runnables.base", "tools.base", "tracers.langchain", "vectorstores.in_memory"),
        )
    ),
    *("langchain.agents", "llama_index.core.agent.workflow", "llama_index.core", "tiktoken"),
    *(
        "linkspan_sandbox.app",
        "linkspan_sandbox.server",
        "linkspan.langchain.scaleway",
        "linkspan.llama_index.scaleway",
    ),
)
SECONDS = 120


class Forked:
    """An example that runs in a fork."""

    def __init__(self, arguments: list[str], environment: dict[str, str]) -> None:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(list(IMPORTED))
        self.arguments = arguments
        self._folder = tempfile.TemporaryDirectory()
        self._outputs = [Path(self._folder.name) / name for name in ("stdout", "stderr")]
        paths = [str(path) for path in self._outputs]
        self._process: BaseProcess = context.Process(target=_run, args=(arguments, environment, str(Path.cwd()), paths))
        self._process.start()

    def kill(self) -> None:
        """Kill it."""
        self._process.kill()

    def ended(self) -> subprocess.CompletedProcess[str]:
        """Wait for its end, and return what came of it."""
        self._process.join(SECONDS)
        self._process.kill()
        self._process.join()
        with self._folder:
            stdout, stderr = (path.read_text("utf-8") if path.exists() else "" for path in self._outputs)
        status = self._process.exitcode
        assert status is not None
        return subprocess.CompletedProcess(self.arguments, status, stdout, stderr)


def _run(arguments: list[str], environment: dict[str, str], folder: str, outputs: list[str]) -> None:
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    for descriptor, path in enumerate(outputs, start=1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), descriptor)
    # Those of this process may lead elsewhere.
    sys.stdout, sys.stderr = (io.TextIOWrapper(io.FileIO(number, "w"), "utf-8") for number in (1, 2))
    sys.argv = arguments
    sys.path.insert(0, str(EXAMPLES))
    runpy.run_path(arguments[0], run_name="__main__")


def start_example(name: str, *arguments: str, **environment: str) -> Forked:
    """Start an example with these variables beside the machine's own, and none that leads to a service."""
    return Forked([str(EXAMPLES / f"{name}.py"), *arguments], environment_of_example(environment))


def environment_of_example(environment: dict[str, str]) -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith(PREFIXES)}
    # Whatever would leave this machine ends at a port where nobody listens.
    nowhere = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9")
    here = {"no_proxy": "127.0.0.1,localhost", "NO_PROXY": "127.0.0.1,localhost", "PYTHONIOENCODING": "utf-8"}
    return {**kept, **nowhere, **here, **environment}


def run_example(name: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run an example to its end."""
    return start_example(name, *arguments, **environment).ended()


def run_afresh(name: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run an example to its end, in a Python of its own, as a user does."""
    process = start_afresh(name, *arguments, **environment)
    try:
        stdout, stderr = process.communicate(timeout=SECONDS)
    finally:
        process.kill()
    return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)


def start_afresh(name: str, *arguments: str, **environment: str) -> subprocess.Popen[str]:
    """Start an example in a Python of its own; what it prints can be read while it runs."""
    return subprocess.Popen(
        [sys.executable, str(EXAMPLES / f"{name}.py"), *arguments],
        env=environment_of_example(environment),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )
