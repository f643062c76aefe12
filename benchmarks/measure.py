"""Interleaved rounds of CPU time."""

from __future__ import annotations

import gc
import statistics
import time
from typing import TYPE_CHECKING

from benchmarks.contestants import contestants

if TYPE_CHECKING:
    import asyncio

    from benchmarks.contestants import Contestant

__all__ = ["ARRIVALS", "Results", "measure"]

#: Ways that events arrive: the part of the server's path that chooses one.
ARRIVALS = ("burst", "single")

#: (contestant, arrival, "sync" or "async") -> microseconds of CPU per chunk, the median of the rounds.
Results = dict[tuple[str, str, str], float]


def measure(
    server: str, pieces: list[str], rounds: int, loop: asyncio.AbstractEventLoop
) -> tuple[list[Contestant], Results]:
    """Measure every contestant, one after the other in each round: a slow minute of the machine hits all alike.

    What is counted is the CPU time of this process, kernel included, for a whole stream (so the request's share is in
    it), divided by the pieces of text. Garbage collection stays on, and starts from a clean state each time.

    Args:
        server: Where the replay server is.
        pieces: The text of each chunk that it sends.
        rounds: How often each is measured, after one round that is not counted.
        loop: The event loop of all async streams, so that they keep their connections.

    Returns:
        The contestants, in the table's order, and their costs.
    """
    rows = {arrival: contestants(f"{server}/{arrival}/v1", pieces) for arrival in ARRIVALS}
    samples: dict[tuple[str, str, str], list[float]] = {}
    text = "".join(pieces)
    gc.collect()
    gc.freeze()  # what the imports left would be walked through before every single measurement
    for counted in [False] + [True] * rounds:
        for arrival in ARRIVALS:
            for row in rows[arrival]:
                for way in ("sync", "async"):
                    seconds, answer = _once(row, None if way == "sync" else loop)
                    if answer != text:
                        raise RuntimeError(f"{row.name} ({way}, {arrival}) returned another text than was sent.")
                    if counted:
                        samples.setdefault((row.name, arrival, way), []).append(seconds / len(pieces) * 1e6)
    medians = {key: statistics.median(values) for key, values in samples.items()}
    return rows[ARRIVALS[0]], medians


def _once(row: Contestant, loop: asyncio.AbstractEventLoop | None) -> tuple[float, str]:
    if row.prepare is not None:
        row.prepare()
    gc.collect()
    started = time.process_time()
    answer = row.run() if loop is None else loop.run_until_complete(_awaited(row))
    return time.process_time() - started, answer


async def _awaited(row: Contestant) -> str:
    return await row.arun()
