"""Fail if the tests miss too many branches of transport, codecs or assembler, and say where.

Branches that depend on timing are excluded: they are marked ``# pragma: no branch``, with the reason.

Run ``python -m pytest --branches`` first, then ``python scripts/check_coverage.py``.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from coverage import Coverage

#: Percentage of branches that the tests must take, by part. Transport had 94.2 on 2026-11-30; most of its missing ones
#: are for other event loops, or depend on which of two threads or peers closes first.
FLOORS = {"transport": 93.5, "codecs": 95.0, "assembler": 95.0}
PARTS = {"transport": "linkspan/transport/", "codecs": "linkspan/providers/", "assembler": "linkspan/assembler.py"}


def measured() -> dict[str, Any]:
    """Return coverage's own report, by file."""
    coverage = Coverage()
    coverage.combine()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "coverage.json"
        coverage.json_report(outfile=str(path))
        report: dict[str, Any] = json.loads(path.read_text())
    return report["files"]


def main() -> int:
    """Print each part's coverage, and the files of parts below the minimum; return 1 if there are any."""
    files = measured()
    rates = {}
    missed = []
    for part, place in PARTS.items():
        counts: Counter[str] = Counter()
        low = []
        for name, file in files.items():
            if place not in Path(name).as_posix():
                continue
            summary = file["summary"]
            counts.update({key: summary[key] for key in ("num_branches", "covered_branches", "missing_lines")})
            if summary["missing_branches"]:
                missing = ", ".join(f"{start}->{end}" for start, end in file["missing_branches"])
                low.append(f"    {Path(name).name}: {missing}")
        if not counts["num_branches"]:
            print(f"no coverage data for the {part}: run the tests with --branches first")
            return 1
        rates[part] = 100 * counts["covered_branches"] / counts["num_branches"]
        if rates[part] < FLOORS[part]:
            missed += [f"{part}, {counts['missing_lines']} lines missed:", *low]
    print("branches taken:", ", ".join(f"{part} {rate:.1f} % (floor {FLOORS[part]:g})" for part, rate in rates.items()))
    if missed:
        print("\n".join(missed), "Add tests for the missing branches.", sep="\n")
    return int(bool(missed))


if __name__ == "__main__":
    sys.exit(main())
