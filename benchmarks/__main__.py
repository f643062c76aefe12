"""``python -m benchmarks``: measure and print tables. ``make bench`` runs it with the other packages installed."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import in_process, own_process
from benchmarks.replay import replay_server
from benchmarks.report import as_chart, as_json, as_markdown, as_text, versions

if TYPE_CHECKING:
    from collections.abc import Mapping

    from benchmarks.measure import Table

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).with_name("results.json")
PAGE = ROOT / "docs" / "benchmarks.md"
#: The measurements are between these two lines of the page.
MARKS = ("<!-- measured -->\n", "<!-- /measured -->\n")
CHART = ROOT / "docs" / "benchmark.svg"

#: Each group and its rounds, chosen so that everything takes a quarter of an hour. A round already takes the minimum of
#: several tries, so more rounds narrow the median little; one round of ``concurrency`` starts 40 processes.
GROUPS = {
    "streams": (in_process.streams, 3),
    "apis": (in_process.apis, 4),
    "calls": (in_process.calls, 3),
    "first-token": (in_process.first_token, 1),
    "length": (in_process.length, 1),
    "memory": (own_process.memory, 1),
    "startup": (own_process.startup, 3),
    "concurrency": (own_process.concurrency, 1),
}


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few, short rounds: only checks that it runs")
    parser.add_argument("--only", help=f"comma-separated groups, of: {', '.join(GROUPS)}")
    parser.add_argument("--rounds", type=int, help="at most as many rounds of each group")
    parser.add_argument("--save", action="store_true", help="write results.json, docs/benchmarks.md and its chart")
    arguments = parser.parse_args()
    names = arguments.only.split(",") if arguments.only else list(GROUPS)
    if unknown := [name for name in names if name not in GROUPS]:
        parser.error(f"no such group: {', '.join(unknown)}; there are {', '.join(GROUPS)}")
    if arguments.save and (arguments.only or arguments.quick):
        parser.error("--save keeps a whole run: without --only and --quick")
    # Only the loopback server: no proxy, no tracing.
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = "127.0.0.1"
    os.environ["LANGSMITH_TRACING"] = os.environ["LANGCHAIN_TRACING_V2"] = "false"

    loop = asyncio.new_event_loop()
    tables = {}
    with replay_server() as server:
        for name in names:
            group, rounds = GROUPS[name]
            rounds = 1 if arguments.quick else min(rounds, arguments.rounds or rounds)
            began = time.monotonic()
            tables[name] = group(server, loop, rounds, quick=arguments.quick)
            print(f"{as_text(tables[name])}\n({time.monotonic() - began:.0f} s)\n", flush=True)
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()

    shown = ", ".join(f"{name} {number}" for name, number in versions().items())
    print(f"In brackets: over raw reading plus the framework's floor, of the same run.\n{shown}")
    if arguments.save:
        keep(tables)


def keep(tables: Mapping[str, Table]) -> None:
    """Write the numbers, the tables and the chart."""
    RESULTS.write_text(json.dumps(as_json(tables), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    before, rest = PAGE.read_text(encoding="utf-8").split(MARKS[0])
    after = rest.split(MARKS[1])[1]
    page = "\n".join([before + MARKS[0], *map(as_markdown, tables.values()), MARKS[1] + after])
    PAGE.write_text(page, encoding="utf-8")
    CHART.write_text(as_chart(tables["streams"]), encoding="utf-8")
    print(f"kept in {RESULTS.name}, {PAGE.name} and {CHART.name}")


if __name__ == "__main__":
    main()
