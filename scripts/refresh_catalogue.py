"""Refresh the catalogue of Scaleway's models from Scaleway's public product catalogue. Run by ``make catalogue``.

The product catalogue needs no key. It has each model's prices, tasks, routes, reasoning efforts and status. It lacks
windows, output limits, tools, successors and end-of-life dates, and some documented routes and efforts. So both are
merged, and manual entries are kept:

- prices, kind, reasoning and its default come from the product catalogue;
- routes and efforts come from both; images stay if a document says that a model accepts them;
- the status comes from the product catalogue, unless a document says that the model is nearer to its end;
- names that the product catalogue no longer has are kept.

Where the two differ, a line says so: then check by hand. The file's ``as_of``, the day the documents were read, is
kept. Prices, and models whose status comes from the product catalogue, get today's date.

The source has version "v2alpha1" and its format is known only from reports (docs/apis/scaleway.md), so parsing is
lenient. Rows of other products, for batches (half price) and in unknown units are skipped. A missing or unknown field
keeps the known value.

Exits with 0 if the file was written (with ``--dry-run``, not written), and with 1 and a reason if the source could not
be reached or parsed; then the file is unchanged.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import sys
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx

from linkspan.providers.catalog import ModelInfo, Price, read_catalogue

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

URL = "https://api.scaleway.com/product-catalog/v2alpha1/public-catalog/products"
PAGE_SIZE = 1000
#: The catalogue had six pages in 2026; the limit stops an endless server.
MOST_PAGES = 50
TARGET = Path(__file__).resolve().parent.parent / "src" / "linkspan" / "providers" / "catalog_scaleway.json"

#: Maps product statuses to ours. Others keep the known status.
STATUSES = {
    "public_beta": "preview",
    "preview": "preview",
    "general_availability": "active",
    "end_of_new_features": "deprecated",
    "end_of_growth": "deprecated",
    "end_of_deployment": "deprecated",
    "end_of_support": "deprecated",
    "end_of_sale": "deprecated",
    "end_of_life": "retired",
    "retired": "retired",
}
STATUS_ORDER = ("active", "preview", "deprecated", "retired")
KINDS = {"embeddings": "embedding", "audio_transcription": "transcription", "chat": "chat"}
#: Our name of a price by kind of token, with its unit and the number of units it is for.
PRICES = {
    "input_token": ("input", "token", 1_000_000),
    "output_token": ("output", "token", 1_000_000),
    "input_cached_token": ("cached_input", "token", 1_000_000),
    "input_duration": ("audio_minute", "second", 60),
}
#: Lists merged from both sources.
JOINED = ("reasoning_efforts", "supported_apis")
#: The order of a row's fields in the file, and of a price's.
FIELDS = tuple(name for name in ModelInfo.__dataclass_fields__ if name != "id")
PRICE_FIELDS = tuple(Price.__dataclass_fields__)


class SourceError(Exception):
    """Raised if the product catalogue cannot be reached or its format has changed."""


# ---------------------------------------------------------------------- the source


def fetch(url: str) -> list[dict[str, Any]]:
    """Return all rows of the product catalogue, page by page."""
    rows: list[dict[str, Any]] = []
    with httpx.Client(timeout=60, headers={"Accept": "application/json"}) as client:
        for page in range(1, MOST_PAGES + 1):
            try:
                response = client.get(url, params={"page_size": PAGE_SIZE, "page": page})
                response.raise_for_status()
                answer = response.json()
            except httpx.HTTPStatusError as error:
                raise SourceError(f"{url} answered with HTTP {error.response.status_code}") from error
            except httpx.HTTPError as error:
                raise SourceError(f"{url} cannot be reached ({type(error).__name__}: {error})") from error
            except ValueError as error:
                raise SourceError(f"{url} did not answer with JSON") from error
            found = rows_of(answer)
            rows += found
            total = answer.get("total_count")
            if not found or (len(rows) >= total if isinstance(total, int) else len(found) < PAGE_SIZE):
                return rows
    raise SourceError(f"{url} has more than {MOST_PAGES} pages: something is wrong there")


def rows_of(answer: Any) -> list[dict[str, Any]]:
    """Return the rows of one page."""
    fields = answer if isinstance(answer, dict) else {}
    lists = [fields["products"]] if "products" in fields else [v for v in fields.values() if isinstance(v, list)]
    if len(lists) != 1 or not isinstance(lists[0], list):
        raise SourceError(f"a page of the product catalogue holds no list of products; its fields: {sorted(fields)}")
    return [row for row in lists[0] if isinstance(row, dict)]


# ---------------------------------------------------------------------- its facts


def facts_by_model(rows: Iterable[Mapping[str, Any]], day: str) -> dict[str, dict[str, Any]]:
    """Return the rows' facts by model, as fields of the catalogue; a model has one row per kind of token.

    Args:
        rows: Rows of the product catalogue, of any product.
        day: The date of the prices.

    Raises:
        SourceError: The rows contain no model.
    """
    facts: dict[str, dict[str, Any]] = {}
    for row in rows:
        name = row.get("product")
        if row.get("product_category") != "Generative APIs" or not isinstance(name, str) or not name:
            continue
        listed = facts.setdefault(name, {})
        details = _object(_object(row.get("properties")).get("generative_apis"))
        listed.update(facts_of_status(row.get("status"), listed.get("status")))
        listed.update(facts_of_properties(details))
        price = price_of(row, details)
        if price is not None:
            # If regions ever differ in price, keep the higher one.
            known = listed.setdefault("price", {})
            known.update({word: max(value, known.get(word, value)) for word, value in price.items()})
    if not facts:
        raise SourceError("the product catalogue has no row of the Generative APIs: its shape may have changed")
    for listed in facts.values():
        if {"input", "audio_minute"} & listed.get("price", {}).keys():
            dated = {**listed["price"], "as_of": day, "currency": "EUR"}
            listed["price"] = {word: dated[word] for word in PRICE_FIELDS if word in dated}
        else:
            listed.pop("price", None)
    return facts


def facts_of_status(status: Any, known: str | None) -> dict[str, Any]:
    """Return the status; if a model's rows differ, the one nearest to its end."""
    word = STATUSES.get(status) if isinstance(status, str) else None
    if word is None:
        return {}
    return {"status": max(word, known or word, key=STATUS_ORDER.index)}


def facts_of_properties(details: Mapping[str, Any]) -> dict[str, Any]:
    """Return kind, vision, routes and reasoning."""
    facts: dict[str, Any] = {}
    tasks = details.get("tasks")
    if isinstance(tasks, list):
        kinds = [KINDS[task] for task in KINDS if task in tasks]
        if kinds:
            # A model that can chat is a chat model, whatever else it does.
            facts["kind"] = "chat" if "chat" in kinds else kinds[0]
        if "chat" in kinds:
            facts["vision"] = "vision" in tasks
    routes = details.get("supported_apis")
    if isinstance(routes, list) and routes:
        facts["supported_apis"] = [str(route).removeprefix("/").removeprefix("v1/") for route in routes]
    if isinstance(details.get("reasoning"), bool):
        facts["reasoning"] = details["reasoning"]
    efforts = details.get("supported_reasoning_values")
    if isinstance(efforts, list) and efforts:
        facts["reasoning_efforts"] = [str(effort) for effort in efforts]
    default = details.get("default_reasoning_value")
    if isinstance(default, str) and default:
        facts["default_reasoning_effort"] = default
    return facts


def price_of(row: Mapping[str, Any], details: Mapping[str, Any]) -> dict[str, float] | None:
    """Return the row's price in EUR under our name, if it has one."""
    word, of_unit, count = PRICES.get(str(details.get("token_type")), (None, None, 0))
    unit = _object(row.get("unit_of_measure"))
    size = unit.get("size")
    money = _object(_object(row.get("price")).get("retail_price"))
    if (
        word is None
        or details.get("consumption_mode") == "batch"
        or unit.get("unit") != of_unit
        or not isinstance(size, int)
        or size <= 0
        or money.get("currency_code") != "EUR"
    ):
        return None
    units, nanos = money.get("units") or 0, money.get("nanos") or 0
    if not isinstance(units, int) or not isinstance(nanos, int):
        return None
    per_unit = Decimal(units) + Decimal(nanos) / 10**9
    return {word: float(per_unit * count / size)}


def _object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


# ---------------------------------------------------------------------- merging


def merge(
    known: Mapping[str, Mapping[str, Any]], listed: Mapping[str, Mapping[str, Any]], day: str
) -> dict[str, dict[str, Any]]:
    """Return the known rows merged with the source's facts; new names get a new row.

    New chat models are assumed to support tools and structured output, as Scaleway documents for all current ones.
    """
    merged = {name: dict(row) for name, row in known.items()}
    for name, facts in listed.items():
        if name not in merged and facts.get("kind", "chat") == "chat":
            merged[name] = {"tools": True, "structured_output": True}
        row = merged.setdefault(name, {})
        row.update({**joined(row, facts), "as_of": day} if confirms_status(row, facts) else joined(row, facts))
    return {name: _in_order(merged[name]) for name in sorted(merged, key=lambda name: _place(name, merged[name]))}


def confirms_status(row: Mapping[str, Any], facts: Mapping[str, Any]) -> bool:
    """Return whether the product catalogue's status wins."""
    return "status" in facts and "status" not in kept_by_documents(row, facts)


def kept_by_documents(row: Mapping[str, Any], facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values, by field, that a row keeps although the product catalogue lacks them."""
    kept: dict[str, Any] = {}
    for field in JOINED:
        more = [item for item in row.get(field, ()) if item not in facts.get(field, row.get(field, ()))]
        if more:
            kept[field] = more
    if row.get("vision") and facts.get("vision") is False:
        kept["vision"] = True
    if "end_of_life" in row and STATUS_ORDER.index(row["status"]) > STATUS_ORDER.index(facts.get("status", "retired")):
        kept["status"] = row["status"]
    old, new = row.get("price", {}), facts.get("price", {})
    if "cached_input" in old and "cached_input" not in new and old.get("input") == new.get("input"):
        kept["price"] = {"cached_input": old["cached_input"]}
    return kept


def joined(row: Mapping[str, Any], facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return the source's facts, completed by those only in documents."""
    kept = kept_by_documents(row, facts)
    found = {**facts, **{field: kept[field] for field in ("vision", "status") if field in kept}}
    for field in JOINED:
        if field in facts:
            found[field] = list(dict.fromkeys([*row.get(field, ()), *facts[field]]))
    if "price" in kept:
        price = {**facts["price"], **kept["price"]}
        found["price"] = {word: price[word] for word in PRICE_FIELDS if word in price}
    if "unsupported_apis" in row:
        found["unsupported_apis"] = [
            api for api in row["unsupported_apis"] if api not in facts.get("supported_apis", ())
        ]
    return found


def report(
    before: Mapping[str, Mapping[str, Any]],
    after: Mapping[str, Mapping[str, Any]],
    listed: Mapping[str, Mapping[str, Any]],
) -> Iterator[str]:
    """Describe in lines what is new, what has changed and what the source no longer has."""
    for name in sorted(after.keys() - before.keys()):
        hint = "; enter context_window and max_output_tokens" if after[name].get("kind", "chat") == "chat" else ""
        yield f"added    {name} ({after[name].get('status', 'active')}): check it by hand{hint}"
    for name in sorted(before):
        for field, value in kept_by_documents(before[name], listed.get(name, {})).items():
            yield f"kept     {name}: {field} {json.dumps(value)} is not in the product catalogue; check it by hand"
        for field in FIELDS:
            if field == "as_of":
                continue
            old, new = _undated(before[name].get(field)), _undated(after[name].get(field))
            if old != new:
                yield f"changed  {name}: {field} {json.dumps(old)} -> {json.dumps(new)}"
    for name in sorted(before.keys() - listed.keys()):
        if before[name].get("status") != "retired":
            yield f"vanished {name}: no longer in the product catalogue; kept, set its status by hand if it is gone"


def _undated(value: Any) -> Any:
    """A price that is only confirmed has not changed."""
    return {key: item for key, item in value.items() if key != "as_of"} if isinstance(value, dict) else value


def _place(name: str, row: Mapping[str, Any]) -> tuple[int, str]:
    """Sort active models first, then by name."""
    return int(row.get("status") == "retired"), name


def _in_order(row: Mapping[str, Any]) -> dict[str, Any]:
    return {field: row[field] for field in FIELDS if field in row}


def written(catalogue: Mapping[str, Any], rows: Mapping[str, Any], day: str) -> str:
    """Return the text of the file.

    Raises:
        SourceError: linkspan could not load the file.
    """
    # A "dedicated" section, found only in documents, stays after the models.
    own = {name: value for name, value in catalogue.items() if name not in {"models", "dedicated", "feed_as_of"}}
    last = {name: value for name, value in catalogue.items() if name == "dedicated"}
    text = json.dumps({**own, "feed_as_of": day, "models": rows, **last}, indent=1, ensure_ascii=False) + "\n"
    try:
        read_catalogue(text)
    except ValueError as error:
        raise SourceError(f"the product catalogue has a value unknown to linkspan: {error}") from error
    return text


# ---------------------------------------------------------------------- the command


def main(arguments: list[str] | None = None) -> int:
    """Refresh the file."""
    parser = argparse.ArgumentParser(description="Refresh the catalogue of Scaleway's models.")
    parser.add_argument("--url", default=URL, help="the product catalogue (default: %(default)s)")
    parser.add_argument("--file", type=Path, default=TARGET, help="the file to refresh (default: the package's)")
    parser.add_argument("--dry-run", action="store_true", help="print what would change, but write nothing")
    options = parser.parse_args(arguments)
    today = dt.datetime.now(dt.timezone.utc).date().isoformat()
    try:
        catalogue = json.loads(options.file.read_text("utf-8"))
        listed = facts_by_model(fetch(options.url), today)
        rows = merge(catalogue["models"], listed, today)
        text = written(catalogue, rows, today)
    except SourceError as error:
        sys.stderr.write(f"catalogue: {error}. {options.file.name} is unchanged.\n")
        return 1
    for line in report(catalogue["models"], rows, listed):
        print(line)
    if options.dry_run:
        print("catalogue: dry run, nothing was written")
    else:
        options.file.write_text(text, "utf-8")
        print(f"catalogue: {options.file.name} is of {today}; {len(listed)} models in the product catalogue")
    return 0


if __name__ == "__main__":
    sys.exit(main())
