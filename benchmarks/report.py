"""Format the results as tables (text and Markdown), as a chart and as JSON."""

from __future__ import annotations

import os
import platform
from contextlib import suppress
from dataclasses import asdict
from html import escape
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from benchmarks.contestants import FLOORS, RAW, RAW_INSIDE, ROWS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from benchmarks.measure import Table

__all__ = ["as_chart", "as_json", "as_markdown", "as_text", "ratio", "versions"]

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
    "langchain-groq",
    "llama-index-llms-openai-like",
    "openai",
)


def versions() -> dict[str, str]:
    """Return the versions of the measured packages that are installed."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        with suppress(PackageNotFoundError):
            found[package] = version(package)
    return found


def ratio(table: Table, name: str, column: str) -> float | None:
    """Return a row's cost relative to its minimum: raw reading plus its framework's floor in the same run.

    Outside a framework the minimum is raw reading; floors, which read nothing, have no ratio.
    """
    row = ROWS[name]
    if not table.with_ratios or name in FLOORS or column.endswith("MiB") or column not in table.cells[name]:
        return None
    limit = table.cells[row.raw][column] + (table.cells[row.floor][column] if row.floor else 0.0)
    return table.cells[name][column] / limit


def _cell(table: Table, name: str, column: str) -> str:
    value = table.cells[name].get(column)
    if value is None:
        return "-"
    share = ratio(table, name, column)
    number = f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"
    return number if share is None else f"{number} ({share:.2f}x)"


def as_text(table: Table) -> str:
    """Return a plain table, ratios in brackets."""
    cells = {name: [_cell(table, name, column) for column in table.columns] for name in table.cells}
    wide = max(len(name) for name in cells)
    widths = [max(len(head), *(len(row[i]) for row in cells.values())) for i, head in enumerate(table.columns)]
    lines = [f"{table.title}: {table.unit}", f"({table.note})", ""]
    lines.append(" " * wide + "".join(f"  {head:>{width}}" for head, width in zip(table.columns, widths, strict=True)))
    for name, row in cells.items():
        lines.append(name.ljust(wide) + "".join(f"  {cell:>{width}}" for cell, width in zip(row, widths, strict=True)))
    return "\n".join(lines)


def as_markdown(table: Table) -> str:
    """Return the same table in Markdown."""
    lines = [f"### {table.title}", "", f"In {table.unit}; {table.note}.", ""]
    lines += ["| | " + " | ".join(table.columns) + " |", "|---|" + "---:|" * len(table.columns)]
    for name in table.cells:
        label = f"**{name}**" if name.startswith("linkspan") else name
        lines.append(f"| {label} | " + " | ".join(_cell(table, name, column) for column in table.columns) + " |")
    return "\n".join(lines) + "\n"


def as_json(tables: Mapping[str, Table]) -> dict[str, Any]:
    """Return the results to save."""
    load = [round(value, 1) for value in os.getloadavg()]
    machine = {"machine": platform.machine(), "cpus": os.cpu_count(), "load_at_the_end": load}
    groups = {}
    for name, table in tables.items():
        group = asdict(table)
        group["ratios"] = {
            row: {column: round(share, 3) for column in table.columns if (share := ratio(table, row, column))}
            for row in table.cells
        }
        group["cells"] = {
            row: {column: round(value, 3) for column, value in cells.items()} for row, cells in table.cells.items()
        }
        groups[name] = group
    return {"versions": versions(), **machine, "groups": groups}


_COLOURS = {"linkspan": "#0b7285", "limit": "#adb5bd", "other": "#e8590c"}


def as_chart(table: Table, column: str = "burst sync") -> str:
    """Return one column of a table as an SVG of bars, shortest first within a framework's rows."""
    rows = [(name, cells[column]) for name, cells in table.cells.items() if column in cells]
    left, bar, top, width = 230, 22, 54, 820
    longest = max(value for _, value in rows)
    limits = {RAW, *FLOORS, *(row.name for row in RAW_INSIDE.values())}
    height = top + bar * len(rows) + 16
    text = 'font-family="system-ui, sans-serif" font-size="13"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img">',
        f"<title>{escape(table.title)}: {escape(table.unit)}, {escape(column)}</title>",
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
        f'<text x="12" y="22" {text} font-weight="bold" fill="#212529">{escape(table.title)}, {escape(column)}</text>',
        f'<text x="12" y="40" {text} fill="#495057">{escape(table.unit)}; shorter is better</text>',
    ]
    for number, (name, value) in enumerate(rows):
        kind = "linkspan" if name.startswith("linkspan") else "limit" if name in limits else "other"
        y, length = top + bar * number, (width - left - 80) * value / longest
        parts += [
            f'<text x="{left - 8}" y="{y + 15}" {text} text-anchor="end" fill="#212529">{escape(name)}</text>',
            f'<rect x="{left}" y="{y + 3}" width="{length:.1f}" height="{bar - 6}" fill="{_COLOURS[kind]}"/>',
            f'<text x="{left + length + 6:.1f}" y="{y + 15}" {text} fill="#212529">{value:.1f}</text>',
        ]
    return "\n".join([*parts, "</svg>"]) + "\n"
