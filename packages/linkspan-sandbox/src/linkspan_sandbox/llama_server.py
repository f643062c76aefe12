"""llama.cpp's server as a child process, from the parent's side."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import subprocess
import sys
import tempfile
from typing import IO, TYPE_CHECKING

from linkspan.errors import ConfigurationError
from linkspan_sandbox import local_model

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["CONTEXT_WINDOW", "LlamaServer"]

#: Tokens of prompt and answer together; SmolLM2 was trained for 8192, but the cache for them costs memory.
CONTEXT_WINDOW = 4096
#: Requests processed concurrently; further ones wait.
SLOTS = 4
_STOP_SECONDS = 5
_LOG_TAIL = 1500


class LlamaServer:
    """Starts and stops the child. ``url`` and ``api_key`` are valid in between.

    Args:
        weights: The GGUF file.
    """

    def __init__(self, weights: Path) -> None:
        self._weights = weights
        self._process: subprocess.Popen[str] | None = None
        self._log: IO[bytes] | None = None
        self.api_key = secrets.token_urlsafe(24)
        self.url = ""

    def start(self) -> None:
        """Start the child and wait until it listens (one to three seconds).

        Raises:
            ConfigurationError: The child does not start; the message contains the end of its log.
        """
        settings = {
            "weights": str(self._weights),
            "alias": local_model.MODEL_NAME,
            "api_key": self.api_key,
            "context_per_slot": CONTEXT_WINDOW,
            "slots": SLOTS,
            "threads": max(1, min(4, os.cpu_count() or 1)),
        }
        # OpenMP's threads spin while they wait: on shared cores that makes the model ten times slower.
        environment = {**os.environ, "OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "0"}
        self._log = tempfile.TemporaryFile()  # noqa: SIM115  # closed by stop()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "linkspan_sandbox.llama_child"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env=environment,
            text=True,
        )
        line = self._exchange(json.dumps(settings))
        if not line:
            self._process.wait()
            code, log = self._process.returncode, self._log_tail()
            self.stop()
            raise ConfigurationError(f"the local model's server did not start (exit code {code}):\n{log}")
        self.url = json.loads(line)["url"]

    def stop(self) -> None:
        """Stop the child: close its standard input, and kill it if that does not help."""
        process, self._process = self._process, None
        if process is not None:
            if process.stdin is not None:
                with contextlib.suppress(BrokenPipeError):  # it ended before it read everything
                    process.stdin.close()
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            if process.stdout is not None:
                process.stdout.close()
        if self._log is not None:
            self._log.close()
            self._log = None

    def _exchange(self, settings: str) -> str:
        """Send the settings and wait for the answer; ``""`` if the child ends without one."""
        process = self._process
        if process is None or process.stdin is None or process.stdout is None:
            return ""
        with contextlib.suppress(BrokenPipeError):  # it already ended: its log says why
            process.stdin.write(settings + "\n")
            process.stdin.flush()
        return process.stdout.readline()

    def _log_tail(self) -> str:
        if self._log is None:
            return ""
        self._log.seek(0)
        return self._log.read().decode(errors="replace")[-_LOG_TAIL:]
