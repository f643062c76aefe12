"""The commands that come with the sandbox: ``linkspan demo`` and ``linkspan sandbox``."""

from __future__ import annotations

import enum
from typing import Annotated

import typer

from linkspan.errors import LinkspanError

__all__ = ["demo", "sandbox"]


#: The exit code that shells use for programs ended by Ctrl-C.
_INTERRUPTED = 130


class EngineName(str, enum.Enum):
    """The engine behind the sandbox."""

    LOCAL = "local"
    SCRIPTED = "scripted"


def demo() -> None:
    """Run both frameworks against a small real model on this machine; no key or account needed."""
    from linkspan_sandbox.commands.demo import run_demo  # noqa: PLC0415  # it imports both frameworks

    raise typer.Exit(run_demo())


def sandbox(
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 for a free one.")] = 8321,
    engine: Annotated[
        EngineName, typer.Option(help="scripted: echoes the question; local: a small real model.")
    ] = EngineName.SCRIPTED,
    api_key: Annotated[
        str | None,
        typer.Option(
            envvar="LINKSPAN_SANDBOX_API_KEY",
            help="The only accepted key; default: any. As an option, it is visible in the process list.",
        ),
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    download: Annotated[
        bool, typer.Option("--download", help="Download the local model's weights first (98 MB, once).")
    ] = False,
) -> None:
    """Serve all four APIs on this machine until Ctrl-C."""
    from linkspan.commands import console  # noqa: PLC0415  # it loads these commands, too
    from linkspan_sandbox.commands.sandbox import serve  # noqa: PLC0415  # it imports the server

    try:
        interrupted = serve(engine.value, host=host, port=port, api_key=api_key, download=download)
    except LinkspanError as error:
        console.failure("linkspan sandbox", error)
        raise typer.Exit(1) from error
    raise typer.Exit(_INTERRUPTED if interrupted else 0)
