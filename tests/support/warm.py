"""A Python that has imported the slow modules already, and runs each program in a fork of itself.

For tests of what an interpreter does first, imports included: LlamaIndex's alone take two seconds. What is imported
beforehand is a framework, never linkspan.
"""

from __future__ import annotations

import atexit
import json
import os
import subprocess
import sys
from functools import cache

__all__ = ["LANGCHAIN", "LLAMA_INDEX", "run_warm"]

#: What the classes of each framework inherit from.
LANGCHAIN = "langchain_core.language_models.chat_models"
LLAMA_INDEX = "llama_index.core"

_SERVER = """
import importlib, json, os, sys, tempfile, traceback
importlib.import_module(sys.argv[1])
for line in sys.stdin:
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        pid = os.fork()
        if not pid:
            code = 1
            try:
                os.dup2(output.fileno(), 1), os.dup2(errors.fileno(), 2)
                exec(compile(json.loads(line), "<program>", "exec"), {"__name__": "__main__"})
                code = 0
            except BaseException:
                traceback.print_exc()
            finally:
                sys.stdout.flush(), sys.stderr.flush()
                os._exit(code)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        files = [(file.seek(0), file.read().decode())[1] for file in (output, errors)]
    print(json.dumps([code, *files]), flush=True)
"""


@cache
def _server(module: str) -> subprocess.Popen[str]:
    server = subprocess.Popen(
        [sys.executable, "-c", _SERVER, module], stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8"
    )
    atexit.register(server.communicate)  # closes its input, which ends it
    return server


def run_warm(module: str, program: str) -> str:
    """Run a program after the import of a module, and return what it prints; a failure fails the test."""
    if not hasattr(os, "fork"):
        done = subprocess.run(
            [sys.executable, "-c", f"import {module}\n{program}"], capture_output=True, text=True, check=False
        )
        code, output, errors = done.returncode, done.stdout, done.stderr
    else:
        server = _server(module)
        assert server.stdin is not None
        assert server.stdout is not None
        print(json.dumps(program), file=server.stdin, flush=True)
        code, output, errors = json.loads(server.stdout.readline())
    assert code == 0, errors
    return output
