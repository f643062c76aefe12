"""``linkspan models``: list an API's models, with the facts of linkspan's catalogue."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import asdict, replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal, cast

from rich.markup import escape
from rich.table import Table

from linkspan.commands import console
from linkspan.commands.apis import PROVIDERS, Address, ProviderName, chat_endpoint
from linkspan.errors import ConfigurationError, LinkspanError
from linkspan.providers.catalog import known_models
from linkspan.providers.datacrunch import DATACRUNCH
from linkspan.providers.datacrunch.provider import is_legacy
from linkspan.routes.models import list_models

if TYPE_CHECKING:
    from collections.abc import Callable

    from linkspan.providers.catalog import ModelInfo
    from linkspan.providers.chat_completions.models import ListedModel

__all__ = ["show_models"]

#: APIs with a model list. Gray Swan has none; TGI lists one model, on containers.
_LISTING = frozenset({ProviderName.SCALEWAY, ProviderName.LLM_ENGINE, ProviderName.DATACRUNCH})
#: Prompt APIs: chat over them needs a template, which the list of models does not.
_PROMPT_APIS = frozenset({"generate", "v1"})


def show_models(name: ProviderName, address: Address, *, offline: bool, show_all: bool, as_json: bool) -> int:
    """Print the models and return the exit code: 1 if the call of the API failed."""
    known = known_models(PROVIDERS[name].name)
    listed: list[ListedModel] | None = None
    failure: LinkspanError | None = None
    if not offline and name in _LISTING:
        try:
            listed = _listed(name, address)
        except LinkspanError as error:
            failure = error
    rows = _rows(listed, known)
    if as_json:
        sys.stdout.write(f"{json.dumps({'models': rows, 'error': failure and str(failure)}, default=_jsonable)}\n")
    else:
        _print(name, rows, asked=listed is not None, failed=failure is not None, show_all=show_all)
        if failure is not None:
            console.failure("Listing the models", failure)
    return 0 if failure is None else 1


def _jsonable(value: Any) -> Any:
    """Return a date as text and an amount as a number."""
    return float(value) if isinstance(value, Decimal) else str(value)


def _listed(name: ProviderName, address: Address) -> list[ListedModel]:
    if name is ProviderName.DATACRUNCH and is_legacy(DATACRUNCH.resolve_base_url(address.base_url)):
        raise ConfigurationError("The legacy address has no list of models: set --base-url to a container's.")
    if address.api in _PROMPT_APIS:
        address = replace(address, api=None)
    endpoint = chat_endpoint(name, "any", address)
    try:
        return list_models(endpoint)
    finally:
        endpoint.close()


def _rows(listed: list[ListedModel] | None, known: Any) -> list[dict[str, Any]]:
    infos: dict[str, ModelInfo | None] = dict(known) if listed is None else {model.id: model.info for model in listed}
    served = None if listed is None else set(infos)
    said = {model.id: _listed_facts(model) for model in listed or ()}
    rows = []
    for name in sorted(infos):
        info = infos[name]
        facts: dict[str, Any] = {} if info is None else asdict(cast("Any", info))
        rows.append({**facts, **said.get(name, {}), "id": name, "listed": None if served is None else name in served})
    return rows


def _listed_facts(model: ListedModel) -> dict[str, Any]:
    """Return the API's facts about a model, without its raw and internal fields."""
    facts = {**vars(model), "context_window": model.context_window}
    return {name: fact for name, fact in facts.items() if fact is not None and name not in {"info", "extra"}}


def _print(name: ProviderName, rows: list[dict[str, Any]], *, asked: bool, failed: bool, show_all: bool) -> None:
    shown = rows if show_all else [row for row in rows if row.get("status") != "retired"]
    if not rows and failed:
        return
    if rows and console.out.is_terminal:
        _print_table(name, shown, asked=asked)
    elif rows:
        _print_lines(name, shown)
    if failed:
        unasked = "the API did not list them"
    else:
        unasked = "the API was not called" if name in _LISTING else "the API has no list"
    source = "listed by the API" if asked else f"from linkspan's catalogue; {unasked}"
    console.hint(f"{PROVIDERS[name].title}: {len(shown)} models, {source}.")
    dates = sorted({str(row["as_of"]) for row in shown if row.get("as_of")})
    if dates and name is not ProviderName.LLM_ENGINE:
        console.hint(f"Windows and prices as of {dates[-1]}; € per million tokens, input / output.")
    if len(shown) < len(rows):
        console.hint(f"{len(rows) - len(shown)} retired models are not shown; --all shows them.")


def _print_table(name: ProviderName, rows: list[dict[str, Any]], *, asked: bool) -> None:
    """Print a table for people: as wide as the terminal, long texts wrapped instead of cut."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    columns = _ENDPOINT_COLUMNS if name is ProviderName.LLM_ENGINE and asked else _CATALOGUE_COLUMNS
    longest = max((len(row["id"]) for row in rows), default=0)
    for heading in columns:
        # Names are for copying, so they wrap last.
        least = min(longest, console.out.width // 2) if heading == "model" else None
        side: Literal["left", "right"] = "right" if heading in _NUMBERS else "left"
        table.add_column(heading, overflow="fold", justify=side, min_width=least)
    for row in rows:
        table.add_row(*(escape(read(row)) for read in columns.values()))
    console.out.print(table)


def _print_lines(name: ProviderName, rows: list[dict[str, Any]]) -> None:
    """Print for programs: one model per line, tab-separated, never truncated."""
    fields = _ENDPOINT_COLUMNS if name is ProviderName.LLM_ENGINE else _CATALOGUE_FIELDS
    console.stream("\t".join(fields) + "\n")
    for row in rows:
        values = (re.sub(r"\s+", " ", read(row)) for read in fields.values())
        console.stream("\t".join(values) + "\n")


def _word(name: str) -> Callable[[dict[str, Any]], str]:
    return lambda row: str(row.get(name) or "")


def _short(name: str) -> Callable[[dict[str, Any]], str]:
    """Format a number of tokens in thousands: 262144 is 262k."""
    return lambda row: f"{row[name] // 1000}k" if row.get(name) else ""


def _abilities(row: dict[str, Any]) -> str:
    """Return a model's capabilities in short words; for other models than chat, their kind."""
    if row.get("kind") not in (None, "chat"):
        return str(row["kind"])
    words = {"vision": "images", "tools": "tools", "reasoning": "thinks"}
    return " ".join(word for name, word in words.items() if row.get(name))


def _price(row: dict[str, Any]) -> str:
    price = row.get("price")
    if not price:
        return ""
    if price["input"] is None:
        return f"{price['audio_minute']:g}/min"
    made = price["output"]
    return f"{price['input']:g}" if made is None else f"{price['input']:g}/{made:g}"


def _part_of_price(name: str) -> Callable[[dict[str, Any]], str]:
    return lambda row: "" if not row.get("price") or row["price"].get(name) is None else f"{row['price'][name]:g}"


_NUMBERS = frozenset({"window", "answer", "€/M"})
#: Columns for people, by heading: within 80 columns for current model names.
_CATALOGUE_COLUMNS: dict[str, Callable[[dict[str, Any]], str]] = {
    "model": _word("id"),
    "window": _short("context_window"),
    "answer": _short("max_output_tokens"),
    "€/M": _price,
    "can": lambda row: " ".join(filter(None, (_abilities(row), _status(row)))),
}
_ENDPOINT_COLUMNS: dict[str, Callable[[dict[str, Any]], str]] = {
    "model": _word("id"),
    "serves": _word("model_name"),
    "framework": _word("framework"),
    "kind": _word("kind"),
    "status": _word("status"),
}
#: Columns for programs; endpoints have the same as for people.
_CATALOGUE_FIELDS: dict[str, Callable[[dict[str, Any]], str]] = {
    "model": _word("id"),
    "kind": _word("kind"),
    "context_window": _word("context_window"),
    "max_output_tokens": _word("max_output_tokens"),
    "abilities": lambda row: ",".join(name for name in ("vision", "tools", "reasoning") if row.get(name)),
    "input_price": _part_of_price("input"),
    "output_price": _part_of_price("output"),
    "status": _word("status"),
}


def _status(row: dict[str, Any]) -> str:
    return "" if row.get("status") in (None, "active") else f"({row['status']})"
