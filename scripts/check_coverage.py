"""Fail if the tests miss too many branches of transport, codecs or assembler, and say where.

It reads what ``python -m pytest --cov --cov-report=`` has left behind; then: ``python scripts/check_coverage.py``.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from coverage import Coverage

#: Per cent of the branches of each part that the tests must take.
FLOOR = 95.0
PARTS = {"transport": "linkspan/transport/", "codecs": "linkspan/providers/", "assembler": "linkspan/assembler.py"}


def measured() -> dict[str, Any]:
    """Return coverage's own report, by file."""
    coverage = Coverage()
    coverage.load()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "coverage.json"
        coverage.json_report(outfile=str(path))
        report: dict[str, Any] = json.loads(path.read_text())
    return report["files"]


def main() -> int:
    """Print each part's number, and the files below the floor; return 1 if a part is below it."""
    files = measured()
    failed = False
    for part, place in PARTS.items():
        counts: Counter[str] = Counter()
        low = []
        for name, file in files.items():
            if place not in Path(name).as_posix():
                continue
            summary = file["summary"]
            counts.update({key: summary[key] for key in ("num_branches", "covered_branches", "missing_lines")})
            if summary["missing_branches"] and summary["covered_branches"] * 100 < FLOOR * summary["num_branches"]:
                missing = ", ".join(f"{start}->{end}" for start, end in file["missing_branches"])
                low.append(f"    {Path(name).name}: {missing}")
        if not counts["num_branches"]:
            print(f"nothing was measured of the {part}: run the tests with --cov first")
            return 1
        rate = 100 * counts["covered_branches"] / counts["num_branches"]
        failed |= rate < FLOOR
        print(f"{part}: {rate:.1f} % of {counts['num_branches']} branches, {counts['missing_lines']} lines missed")
        print("\n".join(low), end="\n" if low else "")
    if failed:
        print(f"The floor is {FLOOR:g} %: test what is missing.")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
