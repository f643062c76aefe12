"""How time and memory are taken: CPU of this process, in interleaved rounds, and the medians."""

from __future__ import annotations

import asyncio
import gc
import resource
import statistics
import sys
import time
from dataclasses import dataclass, field
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping

    from benchmarks.contestants import Contestant

__all__ = ["Measured", "Table", "interleaved", "peak_memory", "resident_memory", "streamed", "streamed_async"]


@dataclass
class Table:
    """What one group of measurements found.

    Attributes:
        title: What was measured.
        unit: Of the numbers.
        note: How.
        columns: In order.
        cells: Row, then column -> number.
        with_ratios: Whether rows are compared with raw reading plus their framework's floor.
    """

    title: str
    unit: str
    note: str
    columns: list[str]
    cells: dict[str, dict[str, float]] = field(default_factory=dict)
    with_ratios: bool = False


@dataclass(frozen=True)
class Measured:
    """One thing to measure: what is run, what it must return, and by what its cost is divided.

    ``run`` returns a coroutine for async work. It is run ``in_a_row`` times, each time prepared anew, and the mean
    taken: what is short is measured for as long as what it is compared with. Of ``tries`` such means in a round the
    least counts.
    """

    run: Callable[[], Any]
    expected: Any
    per: float
    prepare: Callable[[], None] | None = None
    in_a_row: int = 1
    tries: int = 1


def streamed(contestant: Contestant) -> str:
    """Read one stream."""
    return "".join(contestant.stream())


async def streamed_async(contestant: Contestant) -> str:
    """Read one stream."""
    return "".join([text async for text in contestant.astream()])


def interleaved(
    measured: Mapping[tuple[str, str], Measured], rounds: int, loop: asyncio.AbstractEventLoop
) -> dict[str, dict[str, float]]:
    """Measure each thing once per round, one after the other: a slow minute of the machine hits all alike.

    What is counted is the CPU time of this process, kernel included, for all of it, so the request's share is in a
    stream's. Garbage collection stays on, and starts from a clean state each time. The least of some tries counts,
    since on a shared machine the same work takes up to twice the CPU time for some milliseconds, again and again,
    while somebody else uses the other half of the core.

    Args:
        measured: By row and column.
        rounds: How often each is measured, after one round that is not counted.
        loop: The event loop of all async work, so that its connections are kept.

    Returns:
        The medians in microseconds, by row and column.
    """
    samples: dict[tuple[str, str], list[float]] = {key: [] for key in measured}
    gc.collect()
    gc.freeze()  # what the imports left would be walked through before every single measurement
    for number in range(rounds + 1):
        for key, microseconds in _round(measured, loop).items():
            if number:
                samples[key].append(microseconds)
    found: dict[str, dict[str, float]] = {}
    for (row, column), values in samples.items():
        found.setdefault(row, {})[column] = statistics.median(values)
    return found


def _round(
    measured: Mapping[tuple[str, str], Measured], loop: asyncio.AbstractEventLoop
) -> dict[tuple[str, str], float]:
    """Measure all once, column by column: each try of all rows within the same few moments."""
    least: dict[tuple[str, str], float] = {}
    for column in dict.fromkeys(column for _, column in measured):
        rows = {key: one for key, one in measured.items() if key[1] == column}
        for number in range(max(one.tries for one in rows.values())):
            for key, one in rows.items():
                if number < one.tries:
                    seconds = sum(_once(key, one, loop) for _ in range(one.in_a_row)) / one.in_a_row
                    least[key] = min(least.get(key, inf), seconds / one.per * 1e6)
    return least


def _once(key: tuple[str, str], one: Measured, loop: asyncio.AbstractEventLoop) -> float:
    if one.prepare is not None:
        one.prepare()
    gc.collect()
    started = time.process_time()
    answer = one.run()
    if asyncio.iscoroutine(answer):
        coroutine: Coroutine[Any, Any, Any] = answer
        answer = loop.run_until_complete(coroutine)
    seconds = time.process_time() - started
    if answer != one.expected:
        raise RuntimeError(f"{key[0]} ({key[1]}) returned something else than was sent.")
    return seconds


def peak_memory() -> float:
    """Return the most memory that this process has held, in MiB."""
    # Linux counts what its parent held into a new process's ru_maxrss, but not into this.
    kibibytes = _status("VmHWM")
    if kibibytes is not None:
        return kibibytes / 2**10
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10


def resident_memory() -> float:
    """Return the memory that this process holds now, in MiB; its peak where the system does not tell."""
    kibibytes = _status("VmRSS")
    return peak_memory() if kibibytes is None else kibibytes / 2**10


def _status(field: str) -> int | None:
    """Return what Linux says of this process, ``None`` elsewhere."""
    status = Path("/proc/self/status")
    if not status.exists():
        return None
    line = next(line for line in status.read_text(encoding="ascii").splitlines() if line.startswith(field))
    return int(line.split()[1])
