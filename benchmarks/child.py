"""Measurements in a separate process: memory, and one-time costs.

``python -m benchmarks.child JOB JSON`` prints the numbers as JSON.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from benchmarks.answers import long_text, text_pieces
from benchmarks.contestants import ROWS, Work, load
from benchmarks.measure import peak_memory, resident_memory, streamed, streamed_async


def concurrent(row: str, server: str, streams: int, chunks: int, pause: float) -> dict[str, float]:
    """Read concurrent streams on one event loop; CPU per chunk and peak memory."""
    work = Work(f"{server}/single/{chunks}/{pause}", tuple(text_pieces(chunks)))
    text = "".join(work.pieces)

    async def run() -> float:
        # One-time work is not counted; connections are, as they are for a server with many users.
        first = load(ROWS[row], Work(f"{server}/single/4/{pause}", tuple(text_pieces(4))))
        if first.prepare is not None:
            first.prepare()
        await streamed_async(first)
        many = [load(ROWS[row], work)] * streams
        if many[0].prepare is not None:  # ready chunks can be used once
            many = [load(ROWS[row], work) for _ in range(streams)]
            for one in many:
                one.prepare()  # type: ignore[misc]  # all have it
        gc.collect()
        started = time.process_time()
        answers = await asyncio.gather(*(streamed_async(one) for one in many))
        seconds = time.process_time() - started
        if answers != [text] * streams:
            raise RuntimeError(f"{row} returned other text than was sent.")
        return seconds

    seconds = asyncio.run(run())
    return {"cpu": seconds / streams / chunks * 1e6, "memory": peak_memory()}


def threads(row: str, server: str, streams: int, chunks: int, pause: float) -> dict[str, float]:
    """Read concurrent streams, each in a thread."""
    work = Work(f"{server}/single/{chunks}/{pause}", tuple(text_pieces(chunks)))
    text = "".join(work.pieces)
    one = load(ROWS[row], work)
    many = [one] * streams
    if one.prepare is not None:
        many = [load(ROWS[row], work) for _ in range(streams)]
        for each in many:
            each.prepare()  # type: ignore[misc]  # all have it
    else:
        streamed(load(ROWS[row], Work(f"{server}/single/4/{pause}", tuple(text_pieces(4)))))
    gc.collect()
    started = time.process_time()
    with ThreadPoolExecutor(streams) as pool:
        answers = list(pool.map(streamed, many))
    seconds = time.process_time() - started
    if answers != [text] * streams:
        raise RuntimeError(f"{row} returned other text than was sent.")
    return {"cpu": seconds / streams / chunks * 1e6, "memory": peak_memory()}


def held(row: str, server: str, streams: int) -> dict[str, float]:
    """Open streams and hold them; KiB of memory for each."""

    async def run() -> float:
        one = load(ROWS[row], Work(f"{server}/held/8", ()))
        before = after = 0.0
        opened: list[Any] = []
        for number in range(streams + 8):
            if number == 8:  # one-time allocations are not counted
                gc.collect()
                before = resident_memory()
            stream = one.astream()
            opened.append(stream)
            while not await anext(stream):
                pass
        gc.collect()
        after = resident_memory()
        return (after - before) * 1024 / streams

    # Do not close the loop: closing nested generators in any order would only print noise.
    return {"memory": asyncio.new_event_loop().run_until_complete(run())}


def after_calls(row: str, server: str, calls: int) -> dict[str, float]:
    """Make calls; measure memory after a tenth of them and after all."""
    call = load(ROWS[row], Work(f"{server}/call/200", ())).call
    assert call is not None
    found = {}
    for number in range(1, calls + 1):
        call()
        if number in {calls // 10, calls}:
            gc.collect()
            found["early" if number < calls else "late"] = resident_memory()
    return found


def warm_calls(row: str, server: str, calls: int) -> dict[str, float]:
    """Make calls after a few others. Objects from before them are hidden from the garbage collector.

    A collection of a framework's whole heap would count as much as ten calls, and falls into any run.
    """
    call = load(ROWS[row], Work(f"{server}/call/200", (long_text(200),))).call
    assert call is not None
    for _ in range(10):
        call()
    gc.collect()
    gc.freeze()
    for _ in range(calls):
        call()
    return {"calls": calls}


def construct(framework: str, name: str) -> dict[str, float]:
    """Create an object, then another; milliseconds of CPU."""
    classes = __import__(f"linkspan.{framework}", fromlist=[name])
    cls = getattr(classes, name)
    found = {}
    for which in ("first", "second"):
        started = time.process_time()
        cls(model="m", api_key="no-key-is-needed-here", base_url="http://127.0.0.1:9")
        found[which] = (time.process_time() - started) * 1000
    return found


_JOBS = {job.__name__: job for job in (concurrent, threads, held, after_calls, warm_calls, construct)}

if __name__ == "__main__":
    print(json.dumps(_JOBS[sys.argv[1]](**json.loads(sys.argv[2]))), flush=True)  # type: ignore[operator]
    os._exit(0)  # see held()
