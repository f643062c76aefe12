"""What ``linkspan`` can do on the command line."""

from __future__ import annotations

from importlib.metadata import entry_points
from importlib.metadata import version as installed_version
from typing import Annotated

import typer

from linkspan.commands.apis import Address, ProviderName

__all__ = ["app"]

app = typer.Typer(
    help="Scaleway, Gray Swan, Scale LLM Engine and DataCrunch in LangChain and LlamaIndex.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"linkspan {installed_version('linkspan')}")
        raise typer.Exit


@app.callback()
def _root(
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    pass


_BASE_URL = typer.Option(help="The API's address; default: the environment's, then the public service.")
_PROJECT = typer.Option(help="Scaleway's project, if the key is not for its default one.")
_JSON = typer.Option("--json", help="Print JSON, for scripts.")


@app.command()
def models(
    provider: Annotated[ProviderName, typer.Argument(help="The API.")],
    base_url: Annotated[str | None, _BASE_URL] = None,
    project_id: Annotated[str | None, _PROJECT] = None,
    offline: Annotated[bool, typer.Option("--offline", help="Show the catalogue alone.")] = False,
    as_json: Annotated[bool, _JSON] = False,
) -> None:
    """List an API's models beside what is known of them."""
    from linkspan.commands.models import show_models  # noqa: PLC0415  # not needed by other commands

    address = Address(base_url=base_url, project_id=project_id)
    raise typer.Exit(show_models(provider, address, offline=offline, as_json=as_json))


@app.command()
def doctor(
    offline: Annotated[bool, typer.Option("--offline", help="Ask no API.")] = False,
    as_json: Annotated[bool, _JSON] = False,
) -> None:
    """Check keys, addresses and versions, and whether each API that is set up can be reached."""
    from linkspan.commands.doctor import examine  # noqa: PLC0415  # not needed by other commands

    raise typer.Exit(examine(offline=offline, as_json=as_json))


# ``demo`` and ``sandbox`` come with linkspan-sandbox.
for _command in entry_points(group="linkspan.commands"):
    app.command(_command.name)(_command.load())
