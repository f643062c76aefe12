"""Output of the commands: one console, progress of long steps, failures."""

from __future__ import annotations

import contextlib
import sys
import traceback
from typing import TYPE_CHECKING

from rich.console import Console, ConsoleRenderable, RenderHook
from rich.control import Control
from rich.markup import escape
from rich.segment import Segment

from linkspan.commands.apis import in_flags

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import ConsoleOptions, RenderableType

__all__ = ["failure", "hint", "out", "stream", "traceback_of", "warning", "working"]

#: Control characters (C0 except line break and tab, DEL, C1), and those that reverse text or break lines.
_CONTROLS = dict.fromkeys(
    {*range(0x20), *range(0x7F, 0xA0), 0x061C, 0x200E, 0x200F, *range(0x2028, 0x202F), *range(0x2066, 0x206A)}
    - {ord("\n"), ord("\t")}
)


class _Harmless:
    """Return printable text without control characters, because names and errors come from servers."""

    def __init__(self, content: RenderableType) -> None:
        self._content = content

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Segment]:
        for segment in console.render(self._content, options):
            # rich marks its own control sequences, which move progress bars.
            yield segment if segment.control else Segment(segment.text.translate(_CONTROLS), segment.style)


class _Cleaning(RenderHook):
    def process_renderables(self, renderables: list[ConsoleRenderable]) -> list[ConsoleRenderable]:
        return [one if isinstance(one, Control) else _Harmless(one) for one in renderables]


def _console(*, stderr: bool = False) -> Console:
    console = Console(stderr=stderr, highlight=False)
    console.push_render_hook(_Cleaning())
    return console


out = _console()
_errors = _console(stderr=True)


def failure(what: str, error: BaseException, *, advice: str | None = None) -> None:
    """Print what failed, why, and what to do."""
    # The terminal wraps it, so that copied text, and text read by programs, keeps its lines.
    why = in_flags(str(error)) or type(error).__name__
    _errors.print(f"[bold red]{escape(what)} failed[/]: {escape(why)}", soft_wrap=True)
    if advice:
        _errors.print(escape(advice), soft_wrap=True)


def stream(text: str) -> None:
    """Print a piece of an answer at once, without control characters."""
    sys.stdout.write(text.translate(_CONTROLS))
    sys.stdout.flush()


def hint(what: str) -> None:
    """Print a note about the output to standard error."""
    _errors.print(escape(what), style="dim", soft_wrap=True)


def warning(what: str) -> None:
    """Print a warning."""
    _errors.print(f"[bold yellow]Warning:[/] {escape(what)}", soft_wrap=True)


def traceback_of(error: BaseException) -> None:
    """Print the traceback of an unexpected error."""
    _errors.print("".join(traceback.format_exception(error)), markup=False, soft_wrap=True)


@contextlib.contextmanager
def working(what: str) -> Iterator[None]:
    """Show a spinner while something runs; in a pipe, print the text once."""
    if out.is_terminal:
        with out.status(what):
            yield
    else:
        out.print(f"{what} …")
        yield
