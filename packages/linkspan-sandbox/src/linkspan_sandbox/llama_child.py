"""The child process that runs llama.cpp's server: ``python -m linkspan_sandbox.llama_child``.

It reads its settings from standard input as one line of JSON; arguments are visible to other users, and the settings
contain a key. It prints one line of JSON when it listens, and ends when its standard input closes. The parent holds the
other end of that pipe, so the child ends with the parent, even after SIGKILL.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from typing import Any

__all__: list[str] = []


# Both bypass sys.stdin: its lock, held by a thread that waits forever, would abort the interpreter at exit.


def _read_line() -> bytes:
    line = b""
    while not line.endswith(b"\n"):
        byte = os.read(0, 1)
        if not byte:
            sys.exit("no settings arrived on standard input")
        line += byte
    return line


def _end_with_parent() -> None:
    while os.read(0, 1024):
        pass
    # Not sys.exit, which would wait for the server's threads.
    os._exit(0)


def main(settings: dict[str, Any]) -> None:
    """Load the model, serve, and wait until the parent ends."""
    # Ctrl-C reaches the whole foreground group, but the parent decides when the server stops.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()

    # Imported after the watch has started; the package has no types.
    import xllamacpp  # type: ignore[import-untyped]  # noqa: PLC0415

    params = xllamacpp.CommonParams()
    params.model.path = settings["weights"]
    params.model_alias = [settings["alias"]]
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.api_keys = [settings["api_key"]]
    params.cors_origins = ""
    params.n_ctx = settings["context_per_slot"] * settings["slots"]
    params.n_parallel = settings["slots"]
    params.cpuparams.n_threads = settings["threads"]
    params.use_jinja = True
    params.ui = False
    server = xllamacpp.Server(params)
    sys.stdout.write(json.dumps({"url": server.listening_address}) + "\n")
    sys.stdout.flush()
    threading.Event().wait()


if __name__ == "__main__":
    main(json.loads(_read_line()))
