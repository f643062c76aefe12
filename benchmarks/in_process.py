"""The groups measured in this process, with all contestants interleaved."""

from __future__ import annotations

import statistics
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from benchmarks.answers import EVENTS_PER_BURST, long_text, text_pieces
from benchmarks.contestants import (
    API_ROWS,
    FLOORS,
    LANGCHAIN_NEW,
    MAIN_ROWS,
    RAW,
    RAW_INSIDE,
    ROWS,
    Work,
    installed,
    load,
)
from benchmarks.measure import Measured, Table, interleaved, streamed, streamed_async

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Iterable

    from benchmarks.contestants import Contestant, Row

__all__ = ["apis", "calls", "first_token", "length", "streams"]

_WAYS = ("sync", "async")
#: Chunks per stream, and tries per round.
_SIZES = {"burst": (400, 15), "one by one": (200, 4)}
#: Calls per try, and tries per round.
_CALLS = (5, 10)
_LONG_TRIES = 3


def streams(server: str, loop: asyncio.AbstractEventLoop, rounds: int, *, quick: bool) -> Table:
    """CPU per streamed chunk."""
    table = Table(
        "A streamed chunk",
        "µs of CPU per chunk",
        f"{rounds} rounds; a burst is {EVENTS_PER_BURST} events in one HTTP chunk, {_sizes('burst')}; one by one, each "
        f"event is read for itself, {_sizes('one by one')}; the request's share is in it; raw reading inside a "
        "framework hands on a ready chunk for each that is read",
        [f"{arrival} {way}" for arrival in _SIZES for way in _WAYS],
        with_ratios=True,
    )
    rows = []
    for row in MAIN_ROWS:
        rows += [row] * installed(row)
        rows += [RAW_INSIDE[row.name]] if row.name in RAW_INSIDE else []
    measured = {}
    for arrival in _SIZES:
        measured.update(_streams(server, rows, arrival, quick=quick))
    table.cells = interleaved(measured, rounds, loop)
    return table


def apis(server: str, loop: asyncio.AbstractEventLoop, rounds: int, *, quick: bool) -> Table:
    """CPU per streamed chunk of the other APIs."""
    table = Table(
        "A streamed chunk, the other APIs",
        "µs of CPU per chunk",
        f"{rounds} rounds of bursts, {_sizes('burst')}; the ratio is over raw reading of the same dialect and the "
        "framework's floor for chats",
        ["burst sync", "burst async"],
        with_ratios=True,
    )
    rows = [ROWS[RAW], *(ROWS[name] for name in FLOORS), *API_ROWS]
    table.cells = interleaved(_streams(server, rows, "burst", quick=quick), rounds, loop)
    return table


def _sizes(arrival: str) -> str:
    chunks, tries = _SIZES[arrival]
    return f"{chunks} chunks, the least of {tries} tries"


def _streams(server: str, rows: Iterable[Row], arrival: str, *, quick: bool) -> dict[tuple[str, str], Measured]:
    chunks, tries = (20, 1) if quick else _SIZES[arrival]
    pieces = tuple(text_pieces(chunks))
    text = "".join(pieces)
    path = f"burst/{chunks}" if arrival == "burst" else f"single/{chunks}/1"
    measured = {}
    for row in rows:
        one = load(row, Work(f"{server}/{path}", pieces))
        for way in _WAYS:
            measured[row.name, f"{arrival} {way}"] = replace(_stream(one, way, text, chunks), tries=tries)
    return measured


def _stream(one: Contestant, way: str, text: str, chunks: int) -> Measured:
    run = (lambda: streamed(one)) if way == "sync" else (lambda: streamed_async(one))
    return Measured(run, text, chunks, one.prepare)


def calls(server: str, loop: asyncio.AbstractEventLoop, rounds: int, *, quick: bool) -> Table:
    """CPU per whole call."""
    times, tries = (1, 1) if quick else _CALLS
    works = {
        "small": (200, Work("", ())),
        "200 KB answer": (200_000, Work("", ())),
        "100 messages": (200, Work("", (), history=99)),
        "8 tools": (200, Work("", (), tools=8)),
    }
    table = Table(
        "A call",
        "µs of CPU per call",
        f"{rounds} rounds of {times} calls, the least of {tries} tries, each over the same connection; 100 messages "
        "are those of the request",
        [f"{name} {way}" for name in works for way in _WAYS],
        with_ratios=True,
    )
    measured = {}
    for name, (size, work) in works.items():
        answer = long_text(size)
        for row in MAIN_ROWS:
            if installed(row):
                one = load(row, Work(f"{server}/call/{size}", (answer,), work.history, work.tools))
                for way, run in (("sync", _calls(one, times)), ("async", _acalls(one, times))):
                    measured[row.name, f"{name} {way}"] = Measured(run, [answer] * times, times, tries=tries)
    table.cells = interleaved(measured, rounds, loop)
    return table


def _calls(one: Contestant, times: int):  # noqa: ANN202  # a closure for interleaved()
    call = one.call
    assert call is not None
    return lambda: [call() for _ in range(times)]


def _acalls(one: Contestant, times: int):  # noqa: ANN202  # a closure for interleaved()
    acall = one.acall
    assert acall is not None

    async def run() -> list[str]:
        return [await acall() for _ in range(times)]

    return run


def length(server: str, loop: asyncio.AbstractEventLoop, rounds: int, *, quick: bool) -> Table:
    """CPU per chunk of a short and of a long answer."""
    short, in_a_row, tries = (20, 1, 1) if quick else (2_000, 10, _LONG_TRIES)
    times = {short: in_a_row, 10 * short: 1}
    table = Table(
        "A chunk of a long answer",
        "µs of CPU per chunk",
        f"{rounds} rounds, bursts, sync, the least of {tries} tries, a short answer {times[short]} times in a row; the "
        f"cost of a chunk is not to grow with the answer; {LANGCHAIN_NEW!r} are core's own chunks, made and validated "
        "one by one, which core keeps to the end as it keeps everybody's",
        [f"{size:,} chunks" for size in times],
    )
    names = [name for name in ROWS if name.startswith("linkspan ")]
    measured = {}
    pieces = {size: tuple(text_pieces(size)) for size in times}
    for row in (ROWS[name] for name in (RAW, *FLOORS, LANGCHAIN_NEW, *names)):
        for size, count in times.items():
            one = load(row, Work(f"{server}/burst/{size}", pieces[size]))
            stream = _stream(one, "sync", "".join(pieces[size]), size)
            measured[row.name, f"{size:,} chunks"] = replace(stream, in_a_row=count, tries=tries)
    table.cells = interleaved(measured, rounds, loop)
    table.columns.append("growth")
    for cells in table.cells.values():
        cells["growth"] = cells[table.columns[1]] / cells[table.columns[0]]
    return table


def first_token(server: str, loop: asyncio.AbstractEventLoop, rounds: int, *, quick: bool) -> Table:  # noqa: ARG001  # as the others
    """Wall time from the call to its first text."""
    streams = 2 if quick else 101
    table = Table(
        "The first token",
        "ms from the call to the first text; the server sends at once",
        f"median of {streams} streams over a kept connection",
        list(_WAYS),
    )
    rows = [row for row in MAIN_ROWS if installed(row) and row.name not in FLOORS]
    made = {row.name: load(row, Work(f"{server}/burst/16", ())) for row in rows}
    samples: dict[tuple[str, str], list[float]] = {}
    for number in range(streams + 2):
        for name, one in made.items():
            for way in _WAYS:
                seconds = _to_first(one) if way == "sync" else loop.run_until_complete(_to_first_async(one))
                if number > 1:  # the first opens the connection
                    samples.setdefault((name, way), []).append(seconds * 1000)
    for (name, way), values in samples.items():
        table.cells.setdefault(name, {})[way] = statistics.median(values)
    return table


def _to_first(one: Contestant) -> float:
    started, first = time.perf_counter(), 0.0
    for text in one.stream():
        if text and not first:
            first = time.perf_counter() - started
    return first


async def _to_first_async(one: Contestant) -> float:
    started, first = time.perf_counter(), 0.0
    async for text in one.astream():
        if text and not first:
            first = time.perf_counter() - started
    return first
