"""The ``linkspan`` command line."""

from __future__ import annotations

from contextlib import contextmanager
from importlib.metadata import entry_points
from importlib.metadata import version as installed_version
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from linkspan.commands.apis import Address, ProviderName, check_options
from linkspan.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["app", "examples"]

app = typer.Typer(
    help="Scaleway, Gray Swan, Scale LLM Engine and DataCrunch in LangChain and LlamaIndex.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)


def examples(*lines: str) -> str:
    """Return the examples that help shows below the options, one per line."""
    return "\n\n".join(("Examples:", *(f"  {escape(line)}" for line in lines)))


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


@contextmanager
def _invalid_command_line(command: str) -> Iterator[None]:
    """Print what is wrong with the arguments, and exit with 2."""
    from linkspan.commands import console  # noqa: PLC0415  # not needed for help

    try:
        yield
    except ConfigurationError as error:
        console.failure(command, error)
        raise typer.Exit(2) from None


_PROVIDER = typer.Argument(help="The API.", metavar="API", show_default=False)
_BASE_URL = typer.Option(
    help="The API's base URL. Default: the environment variable, then the public service.", metavar="URL"
)
_PROJECT = typer.Option(help="Scaleway's project ID, if not the key's default project.", metavar="ID")
_API = typer.Option(
    "--api",
    help="DataCrunch: openai, messages or generate. LLM Engine: v2 or v1. Scaleway: chat or responses.",
    metavar="NAME",
)
_JSON = typer.Option("--json", help="Print JSON, for scripts.")


@app.command(
    epilog=examples(
        "linkspan models scaleway",
        "linkspan models scaleway --offline | cut -f 1",
        "linkspan models datacrunch --base-url http://127.0.0.1:8080 --api openai",
    )
)
def models(
    provider: Annotated[ProviderName, _PROVIDER],
    *,
    base_url: Annotated[str | None, _BASE_URL] = None,
    project_id: Annotated[str | None, _PROJECT] = None,
    api: Annotated[str | None, _API] = None,
    offline: Annotated[bool, typer.Option("--offline", help="Show the catalogue without calling the API.")] = False,
    show_all: Annotated[bool, typer.Option("--all", help="Also show retired models.")] = False,
    as_json: Annotated[bool, _JSON] = False,
) -> None:
    """List an API's models with context windows, capabilities and prices.

    In a pipe: one model per line, tab-separated, never truncated.
    """
    from linkspan.commands.models import show_models  # noqa: PLC0415  # not needed by other commands

    address = Address(base_url=base_url, project_id=project_id, api=api)
    with _invalid_command_line("linkspan models"):
        check_options(provider, "any", address)
    raise typer.Exit(show_models(provider, address, offline=offline, show_all=show_all, as_json=as_json))


@app.command(
    epilog=examples(
        'linkspan chat scaleway -m gpt-oss-120b "Why do tides lag?"',
        'cat notes.md | linkspan chat scaleway -m mistral-small-3.2-24b-instruct-2506 "Summarise"',
        'linkspan chat datacrunch --base-url http://127.0.0.1:8080 --api openai "Hello"',
    )
)
def chat(
    provider: Annotated[ProviderName, _PROVIDER],
    question: Annotated[
        list[str] | None, typer.Argument(help="The question. Piped text is appended to it.", show_default=False)
    ] = None,
    *,
    model: Annotated[str | None, typer.Option("--model", "-m", help="The model.", metavar="NAME")] = None,
    system: Annotated[str | None, typer.Option("--system", "-s", help="The system message.", metavar="TEXT")] = None,
    max_tokens: Annotated[
        int | None, typer.Option(min=1, help="Maximum number of tokens to generate.", metavar="NUMBER")
    ] = None,
    base_url: Annotated[str | None, _BASE_URL] = None,
    project_id: Annotated[str | None, _PROJECT] = None,
    api: Annotated[str | None, _API] = None,
) -> None:
    """Ask a model one question; the answer streams to standard output."""
    from linkspan.commands.chat import ask, question_from  # noqa: PLC0415  # not needed by other commands

    address = Address(base_url=base_url, project_id=project_id, api=api)
    with _invalid_command_line("linkspan chat"):
        check_options(provider, model, address)
        text = question_from(question or [])
    raise typer.Exit(ask(provider, model, text, address, system=system, max_tokens=max_tokens))


@app.command(epilog=examples("linkspan doctor", "linkspan doctor --offline --json"))
def doctor(
    offline: Annotated[bool, typer.Option("--offline", help="Call no API.")] = False,
    as_json: Annotated[bool, _JSON] = False,
) -> None:
    """Check keys, base URLs and versions, and call each API that is set up."""
    from linkspan.commands.doctor import examine  # noqa: PLC0415  # not needed by other commands

    raise typer.Exit(examine(offline=offline, as_json=as_json))


# ``demo`` and ``sandbox`` come with linkspan-sandbox.
for _command in entry_points(group="linkspan.commands"):
    app.command(_command.name)(_command.load())
