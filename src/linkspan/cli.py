"""The ``linkspan`` command's entry point. The commands themselves are in :mod:`linkspan.commands`."""

from __future__ import annotations

import io
import os
import sys

__all__ = ["main"]

#: What a shell calls a program that Ctrl-C ended.
_INTERRUPTED = 130


def main() -> None:
    """Run the command line, or say which extra it needs."""
    try:
        from linkspan.commands import app  # noqa: PLC0415  # its absence is explained, not left as a traceback
    except ImportError as error:
        if error.name is None or error.name.startswith("linkspan"):
            raise
        sys.stderr.write(
            f"linkspan: the command line needs {error.name}, which comes with an extra: pip install 'linkspan[cli]'\n"
        )
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(_INTERRUPTED)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # None if it was closed
            stream.reconfigure(errors="replace")  # a terminal of another encoding shows a "?", not a traceback
    try:
        app()
    except KeyboardInterrupt:
        # typer 0.15 leaves it to its caller.
        sys.exit(_INTERRUPTED)
    except OSError as error:  # a full disk behind the output, for one: what servers do is a LinkspanError
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # or the interpreter's end would fail on what is left
        sys.stderr.write(f"linkspan: {error}\n")
        sys.exit(1)
