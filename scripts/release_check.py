"""Check everything that a release needs: ``make release-check``.

Builds both distributions into ``dist/``, checks their metadata, installs the wheels into a clean environment of each
available Python, and calls every class of both frameworks there (``release_smoke.py``). Needs only Python.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DIST = ROOT / "dist"
PYTHONS = ("3.10", "3.11", "3.12", "3.13")
TOOLS = ("build", "twine")


class ReleaseError(Exception):
    """Raised for an obstacle to the release; the message says what to do."""


def main() -> int:
    """Run every check and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--python", action="append", choices=PYTHONS, help="only this one; may be repeated")
    parser.add_argument("--rehearse", action="store_true", help="only list what a publication lacks")
    arguments = parser.parse_args()
    try:
        with tempfile.TemporaryDirectory(prefix="linkspan-release-") as folder:
            check(Path(folder), arguments.python or PYTHONS, rehearse=arguments.rehearse)
    except ReleaseError as error:
        sys.stderr.write(f"release check: {error}\n")
        return 1
    print(f"release check: all well; {', '.join(sorted(path.name for path in DIST.iterdir()))}")
    return 0


def check(folder: Path, wanted: tuple[str, ...] | list[str], *, rehearse: bool) -> None:
    """Build, check and test."""
    version = stated_version()
    lacking = lacks(version)
    if lacking and not rehearse:
        raise ReleaseError(" ".join(lacking))
    for one in lacking:
        print(f"release check: to do before publishing: {one}")
    tools = environment(sys.executable, folder / "tools")
    run(tools, "-m", "pip", "install", "--quiet", *TOOLS)
    shutil.rmtree(DIST, ignore_errors=True)
    for package in (ROOT, ROOT / "packages" / "linkspan-sandbox"):
        print(f"release check: building {package.name}")
        run(tools, "-m", "build", "--outdir", str(DIST), str(package))
    files = sorted(DIST.iterdir())
    wrong = [file.name for file in files if f"-{version}" not in file.name]
    if wrong or len(files) != 4:
        raise ReleaseError(f"dist/ holds {[file.name for file in files]}, not two wheels and two sources of {version}.")
    run(tools, "-m", "twine", "check", "--strict", *map(str, files))
    found = {name: path for name in wanted if (path := interpreter(name)) is not None}
    if not found:
        raise ReleaseError(f"Python {', '.join(wanted)}: no such interpreter on the PATH.")
    for name, path in found.items():
        try_out(path, name, folder)
    if missing := [name for name in wanted if name not in found]:
        print(f"release check: not installed, so not tested: Python {', '.join(missing)}")


def stated_version() -> str:
    """Return the version that pyproject.toml states."""
    found = re.search(r'^version = "([^"]+)"$', (ROOT / "pyproject.toml").read_text("utf-8"), flags=re.MULTILINE)
    if found is None:
        raise ReleaseError("pyproject.toml states no version.")
    return found[1]


def lacks(version: str) -> list[str]:
    """Return what is missing for a publication."""
    lacking = []
    changelog = (ROOT / "CHANGELOG.md").read_text("utf-8")
    if not re.search(rf"^## {re.escape(version)}, \d{{4}}-\d\d-\d\d$", changelog, flags=re.MULTILINE):
        lacking.append(f"CHANGELOG.md has no heading '## {version}, YYYY-MM-DD'.")
    if 'repository = ""' in (ROOT / "pyproject.toml").read_text("utf-8"):
        lacking.append("pyproject.toml names no repository, so the package index would show no links.")
    return lacking


def try_out(python: str, name: str, folder: Path) -> None:
    """Install the wheels into a clean environment of a Python and call the classes."""
    client, sandbox = (next(DIST.glob(f"{stem}-*.whl")) for stem in ("linkspan", "linkspan_sandbox"))
    print(f"release check: Python {name}: the client alone")
    bare = environment(python, folder / f"bare-{name}")
    run(bare, "-m", "pip", "install", "--quiet", str(client))
    run(bare, "-c", "import linkspan.errors, linkspan; print(linkspan.__version__)")
    print(f"release check: Python {name}: every class")
    whole = environment(python, folder / f"all-{name}")
    run(whole, "-m", "pip", "install", "--quiet", f"{client}[all]", str(sandbox))
    run(whole, str(ROOT / "scripts" / "release_smoke.py"), cwd=folder)
    run(whole, "-m", "pip", "check")


def interpreter(name: str) -> str | None:
    """Return the path of a Python that starts, or ``None``."""
    path = shutil.which(f"python{name}")
    if path is None or subprocess.run([path, "-c", ""], capture_output=True, check=False).returncode:
        return None
    return path


def environment(python: str, place: Path) -> str:
    """Create an environment and return its interpreter."""
    run(python, "-m", "venv", str(place))
    return str(place / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python"))


def run(python: str, *arguments: str, cwd: Path | None = None) -> None:
    """Run a Python; show its output if it fails."""
    outcome = subprocess.run(
        [python, *arguments], cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if outcome.returncode:
        raise ReleaseError(f"{' '.join(arguments[:3])} failed:\n{outcome.stdout[-3000:]}")


if __name__ == "__main__":
    sys.exit(main())
