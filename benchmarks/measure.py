"""Measure time and memory: CPU of this process, in interleaved rounds, and medians."""

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
    """The results of one group of measurements.

    Attributes:
        title: The subject.
        unit: The unit of the numbers.
        note: The method.
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
    """One measurement: the function to run, its expected result, and the divisor of its cost.

    ``run`` returns a coroutine for async work. A try runs it ``in_a_row`` times, prepared anew each time, and takes the
    mean, so that short work is measured as long as its counterpart. A round counts the minimum of ``tries`` means.
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
    """Run each measurement once per round, in turns, so that a slow minute of the machine affects all alike.

    It counts the CPU time of this process, including the kernel, so a stream's time includes the request. Garbage
    collection stays on, and starts from a clean state each time. The minimum of several tries counts, because on a
    shared machine the same work repeatedly takes up to twice the CPU time for some milliseconds, while somebody else
    uses the other half of the core.

    Args:
        measured: The measurements, by row and column.
        rounds: Number of rounds. Before them, each measurement runs once, unmeasured.
        loop: The event loop of all async work, so that connections are reused.

    Returns:
        The medians in microseconds, by row and column.
    """
    samples: dict[tuple[str, str], list[float]] = {key: [] for key in measured}
    gc.freeze()  # otherwise every collection would traverse the objects of the imports
    for key, one in measured.items():
        _once(key, one, loop)  # opens the connection, and imports what the first call needs
    gc.collect()
    gc.freeze()
    for _ in range(rounds):
        for key, microseconds in _round(measured, loop).items():
            samples[key].append(microseconds)
    found: dict[str, dict[str, float]] = {}
    for (row, column), values in samples.items():
        found.setdefault(row, {})[column] = statistics.median(values)
    return found


def _round(
    measured: Mapping[tuple[str, str], Measured], loop: asyncio.AbstractEventLoop
) -> dict[tuple[str, str], float]:
    """Measure everything once, column by column, so that tries of all rows are close in time."""
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
        raise RuntimeError(f"{key[0]} ({key[1]}) returned other text than was sent.")
    return seconds


def peak_memory() -> float:
    """Return this process's peak memory, in MiB."""
    # On Linux, a new process's ru_maxrss includes its parent's memory; this value does not.
    kibibytes = _status("VmHWM")
    if kibibytes is not None:
        return kibibytes / 2**10
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10


def resident_memory() -> float:
    """Return this process's current memory, in MiB; its peak if the system does not report it."""
    kibibytes = _status("VmRSS")
    return peak_memory() if kibibytes is None else kibibytes / 2**10


def _status(field: str) -> int | None:
    """Return Linux's value for this process; ``None`` on other systems."""
    status = Path("/proc/self/status")
    if not status.exists():
        return None
    line = next(line for line in status.read_text(encoding="ascii").splitlines() if line.startswith(field))
    return int(line.split()[1])
