"""What the commands show: one console, progress of long steps, failures."""

from __future__ import annotations

import contextlib
import traceback
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeElapsedColumn

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["ensure_weights", "failure", "out", "piece", "traceback_of", "working"]

out = Console(highlight=False)
_errors = Console(stderr=True, highlight=False)


def failure(what: str, error: BaseException, *, advice: str | None = None) -> None:
    """Say what failed, why, and what to do."""
    # Left to the terminal to wrap: what is copied from it, or read by a program, keeps its lines.
    _errors.print(f"[bold red]{escape(what)} failed[/]: {escape(str(error) or type(error).__name__)}", soft_wrap=True)
    if advice:
        _errors.print(escape(advice), soft_wrap=True)


def piece(text: str, *, thought: bool = False) -> None:
    """Show a piece of an answer, at once and as it is; what the model thinks before it dimly."""
    if text:
        out.print(text, end="", markup=False, soft_wrap=True, style="dim" if thought else None)


def traceback_of(error: BaseException) -> None:
    """Show where an unexpected error comes from."""
    _errors.print("".join(traceback.format_exception(error)), markup=False, soft_wrap=True)


@contextlib.contextmanager
def working(what: str) -> Iterator[None]:
    """Show that something is going on; in a pipe, say it once."""
    if out.is_terminal:
        with out.status(what):
            yield
    else:
        out.print(f"{what} …")
        yield


def ensure_weights() -> Path:
    """Return the local model's weights; fetch them with a progress bar if they are missing.

    Raises:
        LinkspanError: If they cannot be fetched or kept.
    """
    from linkspan.sandbox import local_model  # noqa: PLC0415  # it imports the whole server

    found = local_model.find_weights()
    if found is not None:
        return found
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeElapsedColumn())
    with Progress(*columns, console=out) as progress:
        task = progress.add_task("the model", total=None)
        told = ""

        def show(step: str, done: int, total: int | None) -> None:
            nonlocal told
            if step != told and not out.is_terminal:
                out.print(f"{step} …")
            told = step
            progress.update(task, description=step, completed=done, total=total)

        return local_model.ensure_weights(show)
