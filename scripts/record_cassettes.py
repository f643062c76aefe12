"""Record the cassettes again: run their tests against a real model on this machine instead of the recordings.

Run by ``make cassettes``. The weights (98 MB) are fetched first if they are not there. The old cassettes are replaced
only when every test has passed against the real answers.
"""

from __future__ import annotations

import datetime as dt
import shutil
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.cassettes.tape import CASSETTES, KEY, Recording  # noqa: E402

from linkspan.commands import console  # noqa: E402  # not before the root is on the path, for tests.cassettes
from linkspan.sandbox import run  # noqa: E402
from linkspan.sandbox.local_model import FILE_NAME  # noqa: E402

PACKAGES = ("linkspan", "langchain-core", "llama-index-core", "httpx", "vcrpy")


def main() -> int:
    """Record into a new directory, then put it in the place of the old one."""
    say("looking for the model's weights")
    console.ensure_weights()
    # Next to the cassettes, so that the finished directories can be moved at once.
    with tempfile.TemporaryDirectory(dir=ROOT, prefix=".recording-") as directory:
        say("starting the model")
        with run("local", api_key=KEY) as sandbox:
            recording = Recording({"scaleway": sandbox.scaleway_url}, sources(), Path(directory))
            modules = [str(ROOT / "tests" / "cassettes" / f"test_{provider}.py") for provider in recording.base_urls]
            options = ["-q", "-p", "no:cacheprovider", f"--rootdir={ROOT}"]
            failed = pytest.main([*options, *modules], [Registrar(recording)])
        if failed:
            say("a test failed against the real answers: the cassettes stay as they were")
            return int(failed)
        for provider in recording.base_urls:
            shutil.rmtree(CASSETTES / provider, ignore_errors=True)
            CASSETTES.mkdir(exist_ok=True)
            (Path(directory) / provider).rename(CASSETTES / provider)
    say(f"recorded {len(recording.recorded)} cassettes into {CASSETTES.relative_to(ROOT)}")
    return 0


class Registrar:
    """Hands the recording to the fixtures under the name that they ask for."""

    def __init__(self, recording: Recording) -> None:
        self._recording = recording

    def pytest_configure(self, config: pytest.Config) -> None:
        """Register it."""
        config.pluginmanager.register(self._recording, "linkspan-recording")


def sources() -> dict[str, str]:
    """Return the provenance of what the model answers, and of what is refused in front of it."""
    versions = ", ".join(f"{package} {version(package)}" for package in PACKAGES)
    date = dt.datetime.now(dt.timezone.utc).date().isoformat()
    model = f"model: {FILE_NAME.removesuffix('.gguf')}"
    return {
        "model": f"engine: llama.cpp (xllamacpp {version('xllamacpp')}) behind linkspan's sandbox in Scaleway's "
        f"dialect; {model}; with {versions}; {date}",
        "gateway": "engine: linkspan's sandbox, whose checks in front of the model refuse the request as Scaleway's "
        f"gateway is documented to; model: none was asked; with {versions}; {date}",
    }


def say(text: str) -> None:
    """Print a line at once, also into a pipe."""
    sys.stdout.write(f"cassettes: {text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
