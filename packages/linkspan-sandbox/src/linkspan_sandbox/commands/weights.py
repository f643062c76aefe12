"""Download the local model's weights with a progress bar."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeElapsedColumn

from linkspan.commands import console
from linkspan_sandbox import local_model

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["ensure_weights"]


def ensure_weights() -> Path:
    """Return the local model's weights; download them with a progress bar if they are missing.

    Raises:
        LinkspanError: The weights cannot be downloaded or stored.
    """
    found = local_model.find_weights()
    if found is not None:
        return found
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console.out) as progress:
        task = progress.add_task("the model", total=None)
        last_step = ""

        def show(step: str, done: int, total: int | None) -> None:
            nonlocal last_step
            if step != last_step and not console.out.is_terminal:
                console.out.print(f"{step} …")
            last_step = step
            progress.update(task, description=step, completed=done, total=total)

        return local_model.ensure_weights(show)
