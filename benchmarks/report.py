"""The results as a table and as JSON."""

from __future__ import annotations

import platform
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from benchmarks.contestants import RAW
from benchmarks.measure import ARRIVALS

if TYPE_CHECKING:
    from benchmarks.contestants import Contestant
    from benchmarks.measure import Results

__all__ = ["as_json", "as_table", "versions"]

_PACKAGES = (
    "linkspan",
    "httpx",
    "httpcore",
    "h11",
    "pydantic",
    "langchain-core",
    "llama-index-core",
    "langchain-openai",
    "langchain-mistralai",
    "openai",
)
_COLUMNS = [(arrival, way) for arrival in ARRIVALS for way in ("sync", "async")]


def versions() -> dict[str, str]:
    """Return the versions of what was measured; packages that are not installed are left out."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        with suppress(PackageNotFoundError):
            found[package] = version(package)
    return found


def ratio(results: Results, row: Contestant, arrival: str, way: str) -> float | None:
    """Return a row's cost over the least that it could be: raw reading and its framework's floor in the same run.

    Outside a framework that is raw reading alone; floors, which read nothing, have no ratio.
    """
    if not row.uses_server:
        return None
    limit = results[RAW, arrival, way]
    if row.floor is not None:
        limit += results[row.floor, arrival, way]
    return results[row.name, arrival, way] / limit


def as_table(results: Results, rows: list[Contestant]) -> str:
    """Return a plain table: µs per chunk, and in brackets the ratio."""
    names = {("burst", "sync"): "burst sync", ("burst", "async"): "burst async"}
    names |= {("single", "sync"): "one by one sync", ("single", "async"): "one by one async"}
    width = max(len(row.name) for row in rows)
    lines = [" " * width + "".join(f"{names[column]:>19}" for column in _COLUMNS)]
    for row in rows:
        cells = []
        for arrival, way in _COLUMNS:
            share = ratio(results, row, arrival, way)
            cost = f"{results[row.name, arrival, way]:.1f}"
            cells.append(f"{cost:>11} " + ("       " if share is None else f"({share:.2f}x)".rjust(7)))
        lines.append(row.name.ljust(width) + "".join(cells))
    return "\n".join(lines)


def as_json(results: Results, rows: list[Contestant], settings: dict[str, Any]) -> dict[str, Any]:
    """Return everything that is worth keeping."""
    table: dict[str, Any] = {}
    for row in rows:
        entry = table.setdefault(row.name.strip(), {})
        for arrival, way in _COLUMNS:
            share = ratio(results, row, arrival, way)
            entry[f"{arrival} {way}"] = {
                "microseconds_per_chunk": round(results[row.name, arrival, way], 2),
                "ratio": None if share is None else round(share, 3),
            }
    return {"versions": versions(), "machine": platform.machine(), "settings": settings, "rows": table}
