"""The groups measured in a separate process per number."""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from typing import TYPE_CHECKING, Any

from benchmarks.contestants import FLOORS, LANGCHAIN_FLOOR, LLAMA_INDEX_FLOOR, MAIN_ROWS, RAW, installed
from benchmarks.measure import Table

if TYPE_CHECKING:
    import asyncio

__all__ = ["concurrency", "memory", "startup"]

_LINKSPAN = ("linkspan Endpoint", "linkspan ChatScaleway", "linkspan llama_index Scaleway")


def concurrency(server: str, loop: asyncio.AbstractEventLoop, rounds: int, *, quick: bool) -> Table:  # noqa: ARG001  # as the others
    """Streams at once."""
    chunks = 4 if quick else 40
    counts = (2, 4) if quick else (10, 100, 500)
    many = 4 if quick else 32
    columns = [f"{count} at once" for count in counts]
    by_thread = f"{many} threads"
    table = Table(
        "Streams at once",
        "µs of CPU per chunk, and MiB of memory at the most",
        f"{rounds} rounds, a process each; streams of {chunks} chunks, one by one, on one event loop or in threads; "
        "requests and connections are part of it",
        [name + suffix for name in (*columns, by_thread) for suffix in ("", ", MiB")],
        with_ratios=True,
    )
    samples: dict[tuple[str, str], list[dict[str, float]]] = {}
    for _ in range(rounds):
        for row in MAIN_ROWS:
            if not installed(row):
                continue
            for count, column in zip(counts, columns, strict=True):
                # Far enough apart for the slowest client to read each event before the next.
                settings = {"row": row.name, "server": server, "streams": count, "chunks": chunks}
                result = _child("concurrent", {**settings, "pause": max(2.0, 0.3 * count)})
                samples.setdefault((row.name, column), []).append(result)
            settings = {"row": row.name, "server": server, "streams": many, "chunks": chunks, "pause": 20.0}
            samples.setdefault((row.name, by_thread), []).append(_child("threads", settings))
    for (name, column), results in samples.items():
        cells = table.cells.setdefault(name, {})
        cells[column] = statistics.median(result["cpu"] for result in results)
        cells[f"{column}, MiB"] = statistics.median(result["memory"] for result in results)
    return table


def memory(server: str, loop: asyncio.AbstractEventLoop, rounds: int, *, quick: bool) -> Table:  # noqa: ARG001  # as the others
    """Memory held by streams and calls."""
    streams, calls = (4, 20) if quick else (80, 10_000)
    columns = ["KiB per open stream", f"MiB after {calls // 10:,} calls", f"MiB after {calls:,} calls"]
    table = Table("Memory", "resident memory", f"a process each; {streams} streams held open on one loop", columns)
    for row in MAIN_ROWS:
        if not installed(row) or row.name in FLOORS:
            continue
        cells = table.cells.setdefault(row.name, {})
        settings = {"row": row.name, "server": server}
        cells[columns[0]] = _child("held", {**settings, "streams": streams})["memory"]
        if row.name in {RAW, *_LINKSPAN}:
            found = _child("after_calls", {**settings, "calls": calls})
            cells[columns[1]], cells[columns[2]] = found["early"], found["late"]
    return table


#: The import of each row. The floors import what any class of their framework needs, and httpx.
_IMPORTS = {
    LANGCHAIN_FLOOR: "import httpx; from langchain_core.language_models import BaseChatModel",
    "linkspan ChatScaleway": "from linkspan.langchain import ChatScaleway",
    "linkspan LLMEngine": "from linkspan.langchain import LLMEngine",
    "langchain-openai": "from langchain_openai import ChatOpenAI",
    "langchain-mistralai": "from langchain_mistralai import ChatMistralAI",
    "langchain-groq": "from langchain_groq import ChatGroq",
    LLAMA_INDEX_FLOOR: "import httpx; from llama_index.core.llms.function_calling import FunctionCallingLLM",
    "linkspan llama_index Scaleway": "from llama_index.llms.scaleway import Scaleway",
    "linkspan llama_index LLMEngine": "from llama_index.llms.llm_engine import LLMEngine",
    "llama-index OpenAILike": "from llama_index.llms.openai_like import OpenAILike",
}
#: CPython keeps frames in chunks of 16 KiB, and maps or unmaps one when a call crosses its end. Whether a function that
#: an import calls thousands of times crosses it is chance: up to 8,000 page faults and 70 ms were observed, at a
#: different depth for each row. So imports are measured from depths spread over a chunk, which is about this many
#: frames of a small function.
_FRAMES_OF_A_CHUNK = 150

_CONSTRUCTED = {
    "linkspan ChatScaleway": ("langchain", "ChatScaleway"),
    "linkspan LLMEngine": ("langchain", "LLMEngine"),
    "linkspan llama_index Scaleway": ("llama_index", "Scaleway"),
    "linkspan llama_index LLMEngine": ("llama_index", "LLMEngine"),
}


def startup(server: str, loop: asyncio.AbstractEventLoop, rounds: int, *, quick: bool) -> Table:  # noqa: ARG001  # as the others
    """Import and construction."""
    columns = ["import", "over the framework's", "first object", "second object"]
    table = Table(
        "Start",
        "ms of CPU",
        f"{rounds} rounds, a process each, imports from as many depths of the interpreter's stack; bytecode is there "
        "already; the framework's own import includes httpx",
        columns,
    )
    missing = {row.name for row in MAIN_ROWS if not installed(row)}
    samples: dict[tuple[str, str], list[float]] = {}
    with tempfile.TemporaryDirectory() as cache:
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        environment["PYTHONPYCACHEPREFIX"] = cache
        for number in range(rounds + 1):
            depth = _FRAMES_OF_A_CHUNK * number // rounds
            empty = _cpu_of("pass", depth, environment)
            for name, statement in _IMPORTS.items():
                if name not in missing:
                    seconds = _cpu_of(statement, depth, environment) - empty
                    if number:  # the first run writes the bytecode
                        samples.setdefault((name, "import"), []).append(seconds * 1000)
            for name, (framework, cls) in _CONSTRUCTED.items():
                found = _child("construct", {"framework": framework, "name": cls}, environment)
                for which in ("first", "second"):
                    samples.setdefault((name, f"{which} object"), []).append(found[which])
    for (name, column), values in samples.items():
        table.cells.setdefault(name, {})[column] = statistics.median(values)
    floor = 0.0
    for cells in (table.cells[name] for name in _IMPORTS if name in table.cells):
        floor = cells["import"] if cells is table.cells.get(LANGCHAIN_FLOOR) else floor
        floor = cells["import"] if cells is table.cells.get(LLAMA_INDEX_FLOOR) else floor
        cells["over the framework's"] = cells["import"] / floor
    return table


def _cpu_of(statement: str, depth: int, environment: dict[str, str]) -> float:
    """Return the CPU seconds of a process that runs the statement at this depth of the stack."""
    program = f"def at(depth):\n    if depth:\n        at(depth - 1)\n    else:\n        {statement}\nat({depth})"
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", program], env=environment, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _child(job: str, settings: dict[str, Any], environment: dict[str, str] | None = None) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.child", job, json.dumps(settings)]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found
