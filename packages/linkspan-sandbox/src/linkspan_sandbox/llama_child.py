"""The child process that runs llama.cpp's server: ``python -m linkspan_sandbox.llama_child``.

It reads its settings from standard input, one line of JSON (not from its arguments, which others can see: a key is
among them), prints one line of JSON when it listens, and ends when its standard input ends. The parent holds the other
end of that pipe, so the child goes with the parent however the parent goes, SIGKILL included.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from typing import Any

__all__: list[str] = []


# Both read without sys.stdin: its lock, held by a thread that waits for ever, would abort an interpreter that ends by
# itself.


def _read_line() -> bytes:
    line = b""
    while not line.endswith(b"\n"):
        byte = os.read(0, 1)
        if not byte:
            sys.exit("the settings never came")
        line += byte
    return line


def _end_with_parent() -> None:
    while os.read(0, 1024):
        pass
    # Not sys.exit: the server's own threads would be waited for.
    os._exit(0)


def main(settings: dict[str, Any]) -> None:
    """Load the model, serve, and wait for the parent's end."""
    # Ctrl-C reaches the whole foreground group; it is the parent that decides when the server stops.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()

    # Loaded only now that the watch is on; it comes without types.
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
