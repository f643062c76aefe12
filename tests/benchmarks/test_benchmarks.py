"""The benchmark runs. What it measures is never asserted: that belongs to the machine."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
ROWS = (
    "raw httpx + json",
    "linkspan Endpoint",
    "langchain-core floor",
    "linkspan ChatScaleway",
    "llama-index floor",
    "linkspan llama_index Scaleway",
)


def test_a_quick_run_prints_every_row_with_four_costs() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "--quick"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    for row in ROWS:
        line = next((line for line in done.stdout.splitlines() if line.startswith(row)), None)
        assert line is not None, f"{row} is missing from:\n{done.stdout}"
        costs = re.findall(r"(?<!\()\b\d+\.\d\b", line)
        assert len(costs) == 4, line
        assert all(float(cost) > 0 for cost in costs), line
