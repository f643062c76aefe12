"""``linkspan models``: what an API lists, beside what linkspan's catalogue knows."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from decimal import Decimal
from typing import TYPE_CHECKING, Any, cast

from rich.table import Table

from linkspan.commands import console
from linkspan.commands.apis import PROVIDERS, Address, ProviderName, chat_endpoint
from linkspan.errors import ConfigurationError, LinkspanError
from linkspan.providers.catalog import known_models
from linkspan.providers.datacrunch import datacrunch_base_url
from linkspan.providers.datacrunch.provider import is_legacy
from linkspan.routes.models import list_models

if TYPE_CHECKING:
    from collections.abc import Callable

    from linkspan.providers.catalog import ModelInfo
    from linkspan.providers.chat_completions.models import ListedModel

__all__ = ["show_models"]

#: APIs that have a list. Gray Swan has none; TGI's is of one model, on containers.
_LISTING = frozenset({ProviderName.SCALEWAY, ProviderName.LLM_ENGINE, ProviderName.DATACRUNCH})


def show_models(name: ProviderName, address: Address, *, offline: bool, as_json: bool) -> int:
    """Print the models and return the exit code: 1 if the API was to be asked and could not be."""
    known = known_models(PROVIDERS[name].name)
    listed: list[ListedModel] | None = None
    failure: LinkspanError | None = None
    if not offline:
        try:
            listed = _listed(name, address)
        except LinkspanError as error:
            failure = error
    rows = _rows(listed, known)
    if as_json:
        sys.stdout.write(f"{json.dumps({'models': rows, 'error': failure and str(failure)}, default=_jsonable)}\n")
    else:
        _print(name, rows, asked=listed is not None)
        if failure is not None:
            console.failure("asking the API", failure)
    return 0 if failure is None else 1


def _jsonable(value: Any) -> Any:
    """Return a date as text and an amount as the number it is."""
    return float(value) if isinstance(value, Decimal) else str(value)


def _listed(name: ProviderName, address: Address) -> list[ListedModel]:
    if name not in _LISTING:
        raise ConfigurationError(f"{PROVIDERS[name].title} has no list of models that is known; see --offline.")
    if name is ProviderName.DATACRUNCH and is_legacy(datacrunch_base_url(address.base_url)):
        raise ConfigurationError("The legacy address has no list of models: give --base-url, that of a container.")
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
    """Return what the API says of a model, without what is its or linkspan's own business."""
    return {name: fact for name, fact in vars(model).items() if fact is not None and name not in {"info", "extra"}}


def _print(name: ProviderName, rows: list[dict[str, Any]], *, asked: bool) -> None:
    where = "listed by the API" if asked else "by linkspan's catalogue; the API was not asked"
    table = Table(title=f"{PROVIDERS[name].title}: {where}", title_justify="left")
    columns = _ENDPOINT_COLUMNS if name is ProviderName.LLM_ENGINE else _CATALOGUE_COLUMNS
    for place, heading in enumerate(columns):
        table.add_column(heading, no_wrap=place == 0)
    for row in rows:
        table.add_row(*(read(row) for read in columns.values()))
    console.out.print(table)


def _word(name: str, missing: str = "?") -> Callable[[dict[str, Any]], str]:
    return lambda row: str(row.get(name) or missing)


def _number(value: int | None) -> str:
    return "?" if value is None else f"{value:,}"


def _price(price: dict[str, Any] | None) -> str:
    if price is None:
        return "?"
    if price["input"] is None:
        return f"{price['audio_minute']:g} per minute"
    made = price["output"]
    return f"{price['input']:g}" if made is None else f"{price['input']:g} / {made:g}"


#: What is shown of each model, by heading.
_CATALOGUE_COLUMNS: dict[str, Callable[[dict[str, Any]], str]] = {
    "model": _word("id"),
    "kind": _word("kind"),
    "window": lambda row: _number(row.get("context_window")),
    "longest answer": lambda row: _number(row.get("max_output_tokens")),
    "can": lambda row: ", ".join(word for word in ("vision", "tools", "reasoning") if row.get(word)),
    "€ per million in / out": lambda row: _price(row.get("price")),
    "status": _word("status", "not in the catalogue"),
}
_ENDPOINT_COLUMNS: dict[str, Callable[[dict[str, Any]], str]] = {
    "model": _word("id"),
    "serves": _word("model_name"),
    "framework": _word("framework"),
    "kind": _word("kind"),
    "status": _word("status"),
}
