"""The child process: it serves, and it never outlives its parent. llama.cpp is played by a small module here."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from linkspan.errors import ConfigurationError
from linkspan_sandbox.llama_server import LlamaServer

FAKE_XLLAMACPP = """
import os, socket, sys
class _Any:
    def __getattr__(self, name):
        value = _Any(); setattr(self, name, value); return value
class CommonParams(_Any): pass
class Server:
    def __init__(self, params):
        if "broken" in params.model.path:
            sys.exit("cannot load " + params.model.path)
        assert os.environ["OMP_WAIT_POLICY"] == "passive" and os.environ["GOMP_SPINCOUNT"] == "0"
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listening_address = "http://127.0.0.1:%d" % self.listener.getsockname()[1]
"""

PARENT = """
import pathlib, signal, sys, time
from linkspan_sandbox.llama_server import LlamaServer
# Who runs the tests may ignore it (nohup, a shell's background jobs), and that is inherited.
signal.signal(signal.SIGINT, signal.default_int_handler)
server = LlamaServer(pathlib.Path("model.gguf"))
server.start()
print(server.url, flush=True)
try:
    time.sleep(600)
except KeyboardInterrupt:
    server.stop()
"""


@pytest.fixture(autouse=True)
def fake_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "xllamacpp.py").write_text(FAKE_XLLAMACPP)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))


def connect(url: str) -> socket.socket:
    """A connection breaks when the process at its other end is gone."""
    address = urlsplit(url)
    return socket.create_connection((str(address.hostname), int(address.port or 0)), timeout=60)


def broken(connection: socket.socket) -> bool:
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True


def test_serves_between_start_and_stop() -> None:
    server = LlamaServer(Path("model.gguf"))
    server.start()
    with connect(server.url) as connection:
        server.stop()
        assert broken(connection)
    server.stop()


def test_that_does_not_come_up_shows_its_log() -> None:
    with pytest.raises(ConfigurationError, match=r"(?s)exit code 1.*cannot load broken\.gguf"):
        LlamaServer(Path("broken.gguf")).start()


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_ends_with_its_parent(number: signal.Signals) -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True, start_new_session=True)
    try:
        assert parent.stdout is not None
        with connect(parent.stdout.readline().strip()) as connection:
            if number == signal.SIGINT:
                # As Ctrl-C does: the whole group gets it, the child included.
                os.killpg(parent.pid, number)
            else:
                parent.send_signal(number)
            assert broken(connection)
    finally:
        parent.kill()
        parent.communicate()
