"""The benchmark runs. What it measures is never asserted: that belongs to the machine."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from benchmarks.__main__ import GROUPS
from benchmarks.measure import Table
from benchmarks.report import as_chart, as_json, as_markdown, ratio

ROOT = Path(__file__).parents[2]
LINKSPAN = ("linkspan ChatScaleway", "linkspan llama_index Scaleway")
FRAMEWORKS = ("raw httpx + json", "langchain-core floor", "llama-index floor")


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


#: By group: rows that it must have, and how many numbers they show.
ROWS = {
    "streams": ((*FRAMEWORKS, *LINKSPAN, "linkspan Endpoint"), 4),
    "apis": (("linkspan LLMEngine", "linkspan llama_index DataCrunch", "linkspan ChatGraySwan"), 2),
    "calls": ((*FRAMEWORKS, *LINKSPAN), 8),
    "first-token": (("raw httpx + json", *LINKSPAN), 2),
    "length": (LINKSPAN, 3),
}


def test_a_quick_run_prints_every_row_with_its_numbers() -> None:
    done = run("--quick", "--only", ",".join(ROWS))
    assert done.returncode == 0, done.stderr
    tables = re.split(r"^\(\d+ s\)$", done.stdout, flags=re.MULTILINE)
    assert len(tables) == len(ROWS) + 1
    for table, (group, (rows, numbers)) in zip(tables, ROWS.items(), strict=False):
        for row in rows:
            line = next((line for line in table.splitlines() if line.startswith(row)), None)
            assert line is not None, f"{row} is missing from {group}:\n{done.stdout}"
            found = re.findall(r"(?<![(\d.,])\d[\d,.]*(?!x)", line.removeprefix(row).replace("x)", "x) "))
            assert len([number for number in found if float(number.replace(",", "")) > 0]) >= numbers, line


def test_an_unknown_group_is_refused_with_the_ones_there_are() -> None:
    done = run("--only", "streams,speed")
    assert done.returncode == 2
    assert "speed" in done.stderr
    assert all(group in done.stderr for group in GROUPS)


def test_a_part_is_not_kept_as_the_whole() -> None:
    assert "--save keeps a whole run" in run("--only", "streams", "--save").stderr


@pytest.fixture
def table() -> Table:
    cells = {
        "raw httpx + json": {"burst sync": 10.0},
        "langchain-core floor": {"burst sync": 5.0},
        "linkspan ChatScaleway": {"burst sync": 18.0},
    }
    return Table("A chunk", "µs", "as noted", ["burst sync"], cells, with_ratios=True)


def test_a_ratio_is_over_raw_reading_and_the_floor(table: Table) -> None:
    assert ratio(table, "linkspan ChatScaleway", "burst sync") == pytest.approx(1.2)
    assert ratio(table, "raw httpx + json", "burst sync") == 1
    assert ratio(table, "langchain-core floor", "burst sync") is None


def test_the_reports_show_each_row(table: Table) -> None:
    assert "| **linkspan ChatScaleway** | 18.0 (1.20x) |" in as_markdown(table)
    assert as_chart(table).count("<rect") == 4
    kept = as_json({"streams": table})
    assert kept["groups"]["streams"]["ratios"]["linkspan ChatScaleway"] == {"burst sync": 1.2}
    assert kept["versions"]["python"]
