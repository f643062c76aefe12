"""Create the project's virtual environment and install into it. Needs only Python 3.10 or newer.

Run by the Makefile: ``python3 scripts/setup_venv.py demo`` installs the demo's requirements, ``dev`` also those of the
tests, linters and type checker. A stamp file in the environment records when a profile was last installed.
"""

from __future__ import annotations

import argparse
import collections
import importlib.util
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OLDEST_PYTHON = (3, 10)
#: ``pip install --group`` needs 25.1.
OLDEST_PIP = (25, 1)
SANDBOX = "packages/linkspan-sandbox[local]"
PROFILES = {
    "demo": ["-e", ".[all]", "-e", SANDBOX],
    "dev": ["-e", ".[all]", "-e", SANDBOX, "--group", "dev"],
    "docs": ["-e", ".[all]", "-e", SANDBOX, "--group", "docs"],
    "bench": ["-e", ".[langchain,llama-index]", "--group", "bench"],
}
#: Their group pins exact versions, because other packages need an openai that constraints.txt, meant for the tests,
#: forbids.
UNCONSTRAINED = {"bench"}
LOG_LINES_SHOWN = 30


class SetupError(Exception):
    """Raised for a problem that the user must fix; the message says how."""


def main() -> int:
    """Install a profile and touch its stamp."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("profile", choices=sorted(PROFILES))
    parser.add_argument("--venv", type=Path, default=ROOT / ".venv")
    arguments = parser.parse_args()
    started = time.monotonic()
    try:
        python = ensure_environment(arguments.venv)
        ensure_pip(python, arguments.venv)
        what = PROFILES[arguments.profile]
        if arguments.profile not in UNCONSTRAINED:
            what = ["--constraint", "constraints.txt", *what]
        install(python, arguments.venv, what, f"installing the {arguments.profile} set")
    except SetupError as error:
        sys.stderr.write(f"setup: {error}\n")
        return 1
    (arguments.venv / f".installed-{arguments.profile}").touch()
    say(f"ready in {time.monotonic() - started:.0f} s: {arguments.venv}")
    return 0


def say(text: str) -> None:
    """Print a line and flush, also into a pipe."""
    sys.stdout.write(f"setup: {text}\n")
    sys.stdout.flush()


def ensure_environment(venv: Path) -> Path:
    """Return the environment's interpreter; create the environment first if none starts."""
    if sys.version_info < OLDEST_PYTHON:
        raise SetupError(f"Python 3.10 or newer is needed; {sys.executable} is {sys.version.split()[0]}")
    python = venv / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    if python.exists() and succeeds([str(python), "-c", "import sys"]):
        return python
    say(f"making {venv} with Python {sys.version.split()[0]}")
    if venv.exists():
        # Its interpreter is missing (moved checkout, upgraded system), so the environment is useless.
        shutil.rmtree(venv)
    if importlib.util.find_spec("ensurepip") is not None:
        command = [sys.executable, "-m", "venv", str(venv)]
    elif importlib.util.find_spec("virtualenv") is not None:
        command = [sys.executable, "-m", "virtualenv", "--quiet", str(venv)]
    else:
        # Debian without python3-venv: the environment can be created, but its pip must come from elsewhere.
        command = [sys.executable, "-m", "venv", "--without-pip", str(venv)]
    outcome = subprocess.run(command, capture_output=True, text=True, check=False)
    if outcome.returncode != 0 or not python.exists():
        shutil.rmtree(venv, ignore_errors=True)
        raise SetupError(f"cannot create a virtual environment: {outcome.stdout}{outcome.stderr}\n{install_hint()}")
    return python


def ensure_pip(python: Path, venv: Path) -> None:
    """Install a recent enough pip into the environment."""
    if not succeeds([str(python), "-c", "import pip"]):
        if importlib.util.find_spec("pip") is None:
            shutil.rmtree(venv, ignore_errors=True)
            raise SetupError(f"this Python has neither ensurepip nor pip.\n{install_hint()}")
        run_pip([sys.executable, "-m", "pip", "--python", str(python), "install", "pip"], venv, "fetching pip")
    version = subprocess.run(
        [str(python), "-c", "import pip; print(pip.__version__)"], capture_output=True, text=True, check=True
    ).stdout
    if tuple(int(number) for number in re.findall(r"\d+", version)[:2]) < OLDEST_PIP:
        run_pip([str(python), "-m", "pip", "install", "--upgrade", "pip"], venv, "upgrading pip")


def install(python: Path, venv: Path, what: list[str], title: str) -> None:
    """Install within the pinned versions."""
    run_pip([str(python), "-m", "pip", "install", *what], venv, title)


def run_pip(command: list[str], venv: Path, title: str) -> None:
    """Run pip with visible progress; keep its output in a log and show the end if it fails."""
    say(title)
    started = last_shown = time.monotonic()
    collected = 0
    tail: collections.deque[str] = collections.deque(maxlen=LOG_LINES_SHOWN)
    log_path = venv / "setup.log"
    with (
        log_path.open("a", encoding="utf-8") as log,
        subprocess.Popen(
            [*command, "--disable-pip-version-check", "--no-input", "--progress-bar", "off"],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        ) as process,
    ):
        for line in process.stdout or ():
            log.write(line)
            tail.append(line)
            collected += line.startswith("Collecting ")
            now = time.monotonic()
            if line.startswith("Installing collected packages"):
                say(f"  {now - started:.0f} s: unpacking {line.count(',') + 1} packages")
            elif line.startswith(("Collecting ", "  Downloading ")) and now - last_shown >= 5:
                say(f"  {now - started:.0f} s: {collected} packages resolved")
                last_shown = now
    if process.returncode != 0:
        raise SetupError(f"{title} failed; the end of {log_path}:\n{''.join(tail)}")


def succeeds(command: list[str]) -> bool:
    """Whether a command starts and ends with status 0."""
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def install_hint() -> str:
    """Return the install command for Pythons without a complete venv module."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    return f"On Debian or Ubuntu: sudo apt-get install python{version}-venv   (then run make again)"


if __name__ == "__main__":
    sys.exit(main())
