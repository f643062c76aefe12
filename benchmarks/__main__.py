"""``python -m benchmarks``: measure, and print a table."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
from pathlib import Path

from benchmarks.answers import EVENTS_PER_BURST, text_pieces
from benchmarks.measure import measure
from benchmarks.replay import replay_server
from benchmarks.report import as_json, as_table, versions

RESULTS = Path(__file__).with_name("results.json")


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="CPU time per streamed chunk.")
    parser.add_argument("--quick", action="store_true", help="few and short rounds: shows that it runs, no more")
    parser.add_argument("--save", action="store_true", help=f"write {RESULTS.name}, with the versions")
    arguments = parser.parse_args()
    # Nothing but the loopback server: no proxy, no tracing.
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = "127.0.0.1"
    os.environ["LANGSMITH_TRACING"] = os.environ["LANGCHAIN_TRACING_V2"] = "false"

    chunks, rounds, pause = (20, 1, 0.0005) if arguments.quick else (400, 9, 0.001)
    pieces = text_pieces(chunks)
    loop = asyncio.new_event_loop()
    with replay_server(chunks, pause) as server:
        rows, results = measure(server, pieces, rounds, loop)
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()

    print("µs of CPU per chunk, median; in brackets over (raw + the framework's floor)")
    print(f"{rounds} rounds of {chunks} chunks; a burst is {EVENTS_PER_BURST} events in one HTTP chunk\n")
    print(as_table(results, rows))
    print("\n" + ", ".join(f"{name} {number}" for name, number in versions().items()))
    if arguments.save:
        settings = {"chunks": chunks, "rounds": rounds, "pause_seconds": pause, "events_per_burst": EVENTS_PER_BURST}
        RESULTS.write_text(json.dumps(as_json(results, rows, settings), indent=2) + "\n", encoding="utf-8")
        print(f"kept in {RESULTS.name}")


if __name__ == "__main__":
    main()
