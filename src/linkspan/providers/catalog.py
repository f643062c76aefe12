"""The catalogue of models: dated facts about each, never a gate. Unknown names work everywhere.

The data lies in ``catalog_<provider>.json`` beside this module; its ``as_of`` is the day it was checked. Scaleway's is
refreshed by ``make catalogue`` (source: docs/apis/scaleway.md#models).
"""

from __future__ import annotations

import inspect
import json
import sysconfig
import warnings
from dataclasses import dataclass
from datetime import date, datetime, timezone
from functools import cache
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from linkspan.errors import ModelRetiredWarning

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Literal

    from linkspan.providers.provider import Provider

__all__ = ["ModelInfo", "Price", "known_models", "model_info", "read_catalogue", "warn_if_retired"]

_KINDS = ("chat", "embedding", "transcription", "ocr")
_STATUSES = ("active", "preview", "deprecated", "retired")
#: Fields that are lists in the file.
_LISTS = {"reasoning_efforts", "supported_apis", "unsupported_apis", "tool_apis"}


@dataclass(frozen=True, kw_only=True)
class Price:
    """What a model costs, per million tokens and without tax.

    Attributes:
        input: Per million prompt tokens.
        output: Per million generated tokens, reasoning included; ``None`` for models that generate none.
        cached_input: Per million prompt tokens found in the server's cache; ``None`` if they cost the same.
        as_of: The day on which this was the price.
        currency: ISO 4217 code.
    """

    input: float
    output: float | None = None
    cached_input: float | None = None
    as_of: date
    currency: str = "EUR"


@dataclass(frozen=True, kw_only=True)
class ModelInfo:
    """What is known of a model.

    Attributes:
        id: Its name on the wire.
        kind: What it is for: ``"chat"``, ``"embedding"`` (rerank too), ``"transcription"`` or ``"ocr"``.
        context_window: Tokens of prompt and answer together, ``None`` if unknown.
        max_output_tokens: The most tokens of an answer, a hard limit on Scaleway; ``None`` if unknown.
        vision: Whether it takes images.
        video: Whether the provider says that it takes videos.
        tools: Whether it calls tools, over whatever API it does; see :meth:`calls_tools_over`.
        reasoning: Whether it thinks before it answers.
        structured_output: Whether the server can hold the answer to a JSON schema.
        reasoning_efforts: Values of ``reasoning_effort`` that it takes.
        default_reasoning_effort: What it does without ``reasoning_effort``, ``None`` if unknown.
        dimensions: Shortest and longest vector of an embedding model, the same twice if it has no choice.
        price: What it costs, ``None`` if unknown.
        status: ``"active"``, ``"preview"`` (may go at short notice), ``"deprecated"`` (its end is announced, or it is
            not known whether it has come) or ``"retired"``. Of the public service: a deployment of one's own may go on.
        end_of_life: The day it is or was retired, ``None`` if not announced.
        successor: What to use instead of a retired model, if the provider says.
        supported_apis: Routes that are known to serve it: paths below ``/v1/``, such as ``"chat/completions"``,
            ``"responses"`` or ``"embeddings"``. Most likely not all; see :meth:`serves`.
        unsupported_apis: Routes that are known to refuse it.
        tool_apis: Routes over which it calls tools, where those are not all that it answers on.
    """

    id: str
    kind: Literal["chat", "embedding", "transcription", "ocr"] = "chat"
    context_window: int | None = None
    max_output_tokens: int | None = None
    vision: bool = False
    video: bool = False
    tools: bool = False
    reasoning: bool = False
    structured_output: bool = False
    reasoning_efforts: tuple[str, ...] = ()
    default_reasoning_effort: str | None = None
    dimensions: tuple[int, int] | None = None
    price: Price | None = None
    status: Literal["active", "preview", "deprecated", "retired"] = "active"
    end_of_life: date | None = None
    successor: str | None = None
    supported_apis: tuple[str, ...] = ()
    unsupported_apis: tuple[str, ...] = ()
    tool_apis: tuple[str, ...] = ()

    def serves(self, api: str) -> bool | None:
        """Return whether a route, such as ``"responses"``, answers for the model; ``None`` if that is unknown."""
        if api in self.supported_apis:
            return True
        return False if api in self.unsupported_apis else None

    def calls_tools_over(self, api: str) -> bool:
        """Return whether the model calls tools over a route, as far as is known."""
        return self.tools and self.serves(api) is not False and api in (self.tool_apis or (api,))


@cache
def known_models(provider: str) -> Mapping[str, ModelInfo]:
    """Return what is known of a provider's models, by name; empty for a provider without a list."""
    source = files("linkspan.providers") / f"catalog_{provider}.json"
    return read_catalogue(source.read_text("utf-8")) if source.is_file() else MappingProxyType({})


def model_info(provider: str, model: str) -> ModelInfo | None:
    """Return what is known of a model, ``None`` if nothing is: never an error.

    A dedicated deployment's name such as ``mistral/NAME:fp8`` is looked up as ``NAME``.
    """
    known = known_models(provider)
    return known.get(model) or known.get(model.rsplit("/", 1)[-1].split(":", 1)[0])


def read_catalogue(text: str) -> Mapping[str, ModelInfo]:
    """Read a catalogue file: ``{"as_of": day, "models": {name: facts}}``.

    Raises:
        ValueError: A row holds a field or a word that :class:`ModelInfo` does not have; the row is named.
    """
    rows: dict[str, dict[str, Any]] = json.loads(text)["models"]
    return MappingProxyType({name: _model_info(name, row) for name, row in rows.items()})


def _model_info(name: str, row: Mapping[str, Any]) -> ModelInfo:
    facts = dict(row)
    try:
        for field in _LISTS & facts.keys():
            facts[field] = tuple(facts[field])
        if "dimensions" in facts:
            shortest, longest = facts["dimensions"]
            facts["dimensions"] = (shortest, longest)
        if "end_of_life" in facts:
            facts["end_of_life"] = date.fromisoformat(facts["end_of_life"])
        if "price" in facts:
            price = facts["price"]
            facts["price"] = Price(**{**price, "as_of": date.fromisoformat(price["as_of"])})
        info = ModelInfo(id=name, **facts)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"the catalogue's row {name!r} is wrong: {error}") from error
    for word, words in ((info.kind, _KINDS), (info.status, _STATUSES)):
        if word not in words:
            raise ValueError(f"the catalogue's row {name!r} is wrong: {word!r} is none of {', '.join(words)}")
    return info


def warn_if_retired(provider: Provider, model: str | None) -> None:
    """Warn of a model that is deprecated or retired. Silent for all others, and for unknown names.

    Only the public service's own names are looked up. A dedicated deployment's name, such as ``meta/NAME:fp8``, is
    not: there a model lives as long as its deployment (docs/apis/scaleway.md#addresses-and-keys).

    Args:
        provider: The API.
        model: The name as the user gave it; ``None`` where the API serves one model only.
    """
    info = known_models(provider.name).get(model) if model is not None else None
    if info is not None and info.status in {"deprecated", "retired"}:
        warnings.warn(_retirement(provider, info), ModelRetiredWarning, stacklevel=_callers_level())


def _retirement(provider: Provider, info: ModelInfo) -> str:
    way_out = (
        f"Use {info.successor!r} instead."
        if info.successor
        else "No successor is known: list_models() names what is served."
    )
    return (
        f"{provider.title}: the model {info.id!r} {_end_of(info)}; the API may refuse it, or answer with another "
        f"model. {way_out}"
    )


def _end_of(info: ModelInfo) -> str:
    if info.end_of_life is None:
        return "is at its end of life" if info.status == "retired" else "is deprecated or at its end of life"
    past = info.end_of_life <= datetime.now(timezone.utc).date()
    return f"{'reached' if past else 'reaches'} its end of life on {info.end_of_life.isoformat()}"


def _callers_level() -> int:
    """Return the ``stacklevel``, for a warning of the calling function, of the first line outside installed packages.

    ``warnings.warn(skip_file_prefixes=...)`` does the same, but from Python 3.12 on only.
    """
    own = Path(__file__).parents[1]
    installed = (str(own), *(sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")))
    frame = inspect.currentframe()
    level = 0
    while frame is not None and frame.f_code.co_filename.startswith(installed):
        frame, level = frame.f_back, level + 1
    return level
