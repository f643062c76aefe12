"""What the commands show: one console, progress of long steps, failures."""

from __future__ import annotations

import contextlib
import traceback
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["failure", "out", "piece", "traceback_of", "working"]

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
