"""The catalogue of models: dated facts about each, never a gate. Unknown names work everywhere.

The data is in ``catalog_<provider>.json`` beside this module. What is known of Scaleway's models comes from
documents (docs/apis/scaleway.md#models), which a person read on the file's ``as_of``, and from Scaleway's public
product catalogue, which ``make catalogue`` asks. So facts have dates of their own: :attr:`ModelInfo.as_of` and
:attr:`Price.as_of`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Literal

__all__ = ["Catalogue", "ModelInfo", "Price", "known_models", "model_info", "read_catalogue"]

_KINDS = ("chat", "embedding", "transcription", "ocr")
_STATUSES = ("active", "preview", "deprecated", "retired")
#: Fields that are lists in the file.
_LISTS = {"reasoning_efforts", "supported_apis", "unsupported_apis", "tool_apis", "uncertain"}
_AMOUNTS = {"input", "output", "cached_input", "audio_minute"}


@dataclass(frozen=True, kw_only=True)
class Price:
    """What a model costs, without tax.

    Attributes:
        input: Per million prompt tokens; ``None`` for models that are not paid by the token.
        output: Per million generated tokens, reasoning included; ``None`` for models that generate none.
        cached_input: Per million prompt tokens found in the server's cache; ``None`` if no price of their own is known.
        audio_minute: Per minute of sound; ``None`` for models that are not paid by the minute.
        as_of: The day on which this was the price.
        currency: ISO 4217 code.
    """

    input: Decimal | None = None
    output: Decimal | None = None
    cached_input: Decimal | None = None
    audio_minute: Decimal | None = None
    as_of: date
    currency: str = "EUR"


@dataclass(frozen=True, kw_only=True)
class ModelInfo:
    """What is known of a model.

    Attributes:
        id: Its name, without the vendor and the quantisation of a dedicated deployment's name.
        offer: ``"serverless"``, the public service, or ``"dedicated"``, a deployment of one's own.
        kind: What it is for: ``"chat"``, ``"embedding"`` (rerank too), ``"transcription"`` or ``"ocr"``.
        context_window: Tokens of prompt and answer together, ``None`` if unknown. Of a dedicated deployment the most
            that any GPU allows: ``list_models()`` tells what the deployment has.
        max_output_tokens: The most tokens of an answer, a hard limit on Scaleway; ``None`` if there is none, or if it
            is unknown.
        vision: Whether it takes images.
        video: Whether the provider says that it takes videos.
        tools: Whether it calls tools, over whatever API it does; see :meth:`calls_tools_over`.
        reasoning: Whether it thinks before it answers.
        structured_output: Whether the server can hold the answer to a JSON schema.
        reasoning_efforts: Values of ``reasoning_effort`` that it takes.
        default_reasoning_effort: What it does without ``reasoning_effort``, ``None`` if unknown.
        dimensions: Shortest and longest vector of an embedding model, the same twice if it has no choice.
        price: What it costs, ``None`` if unknown, or if it is paid otherwise, as dedicated deployments are by the hour.
        status: ``"active"``, ``"preview"`` (may go at short notice), ``"deprecated"`` (its end is announced) or
            ``"retired"``.
        end_of_life: The day it is or was retired, ``None`` if unknown.
        successor: What the provider answers with, or names, instead of a retired model; may itself be retired since.
        routed: Whether the API answers a request for the retired model with another one; ``None`` if unknown.
        supported_apis: Routes that are known to serve it: paths below ``/v1/``, such as ``"chat/completions"``,
            ``"responses"`` or ``"embeddings"``. Most likely not all; see :meth:`serves`.
        unsupported_apis: Routes that are known to refuse it.
        tool_apis: Routes over which it calls tools, where those are not all that it answers on.
        uncertain: Names of the fields above that no document of the provider states.
        as_of: The day on which this was known, ``None`` for what was not read from the catalogue.
    """

    id: str
    offer: Literal["serverless", "dedicated"] = "serverless"
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
    routed: bool | None = None
    supported_apis: tuple[str, ...] = ()
    unsupported_apis: tuple[str, ...] = ()
    tool_apis: tuple[str, ...] = ()
    uncertain: tuple[str, ...] = ()
    as_of: date | None = None

    def serves(self, api: str) -> bool | None:
        """Return whether a route, such as ``"responses"``, answers for the model; ``None`` if that is unknown."""
        if api in self.supported_apis:
            return True
        return False if api in self.unsupported_apis else None

    def calls_tools_over(self, api: str) -> bool:
        """Return whether the model calls tools over a route, as far as is known."""
        return self.tools and self.serves(api) is not False and api in (self.tool_apis or (api,))

    def has_ended(self, today: date) -> bool:
        """Return whether its end of life has come, as far as is known."""
        return self.status == "retired" or (self.end_of_life is not None and self.end_of_life <= today)


@dataclass(frozen=True, kw_only=True)
class Catalogue:
    """What is known of a provider's models, by name.

    Attributes:
        as_of: The day on which a person read the documents.
        models: The models of the public service, those that are retired too.
        dedicated: The models of dedicated deployments, under the same bare names.
    """

    as_of: date | None = None
    models: Mapping[str, ModelInfo]
    dedicated: Mapping[str, ModelInfo]


#: Read where the module is imported: an object that is made in an event loop must not wait for a disk.
_TEXTS = {
    provider: (files("linkspan.providers") / f"catalog_{provider}.json").read_text("utf-8")
    for provider in ("gray_swan", "scaleway")
}


@cache
def _catalogue(provider: str) -> Catalogue:
    text = _TEXTS.get(provider)
    return Catalogue(models={}, dedicated={}) if text is None else read_catalogue(text)


def known_models(provider: str) -> Mapping[str, ModelInfo]:
    """Return what is known of the models of a provider's public service, by name; empty if it has no catalogue."""
    return _catalogue(provider).models


def model_info(provider: str, model: str) -> ModelInfo | None:
    """Return what is known of a model, ``None`` if nothing is: never an error.

    A name with a quantisation, such as ``mistral/NAME:fp8``, is that of a dedicated deployment, whose limits are not
    those of the public service. One with a vendor alone, such as ``google/NAME``, is another name of ``NAME``.
    """
    catalogue = _catalogue(provider)
    bare, deployed, _ = model.rsplit("/", 1)[-1].partition(":")
    if deployed and model not in catalogue.models:
        return catalogue.dedicated.get(bare)
    return catalogue.models.get(model) or catalogue.models.get(bare) or catalogue.dedicated.get(bare)


# --------------------------------------------------------------------------- reading


def read_catalogue(text: str) -> Catalogue:
    """Read a catalogue file: ``{"as_of": day, "models": {name: facts}, "dedicated": {"as_of": day, "models": …}}``.

    Of a model that has both offers, the dedicated one states only what differs.

    Raises:
        ValueError: A row holds a field or a word that :class:`ModelInfo` does not have; the row is named.
    """
    # Amounts of money are read as they are written, not as the float that is nearest.
    found: dict[str, Any] = json.loads(text, parse_float=Decimal)
    day = found["as_of"]
    models = {name: _model_info(name, {"as_of": day, **row}) for name, row in found["models"].items()}
    dedicated = {name: _as_dedicated(info) for name, info in models.items()}
    own = found.get("dedicated", {"as_of": day, "models": {}})
    for name, row in own["models"].items():
        stated = _model_info(name, {"as_of": own["as_of"], "offer": "dedicated", **row})
        known = dedicated.get(name)
        fields = {"as_of", *row}
        dedicated[name] = replace(known, **{field: getattr(stated, field) for field in fields}) if known else stated
    return Catalogue(
        as_of=date.fromisoformat(day), models=MappingProxyType(models), dedicated=MappingProxyType(dedicated)
    )


def _as_dedicated(info: ModelInfo) -> ModelInfo:
    """Return what the public service's model can do, without the limits, the prices and the life that it has there."""
    return ModelInfo(
        id=info.id,
        offer="dedicated",
        kind=info.kind,
        vision=info.vision,
        video=info.video,
        tools=info.tools,
        reasoning=info.reasoning,
        structured_output=info.structured_output,
        reasoning_efforts=info.reasoning_efforts,
        default_reasoning_effort=info.default_reasoning_effort,
        dimensions=info.dimensions,
        as_of=info.as_of,
    )


def _model_info(name: str, row: Mapping[str, Any]) -> ModelInfo:
    facts = dict(row)
    try:
        for field in _LISTS & facts.keys():
            facts[field] = tuple(facts[field])
        if "dimensions" in facts:
            shortest, longest = facts["dimensions"]
            facts["dimensions"] = (shortest, longest)
        for field in {"end_of_life", "as_of"} & facts.keys():
            facts[field] = date.fromisoformat(facts[field])
        if "price" in facts:
            price: dict[str, Any] = {
                word: Decimal(said) if word in _AMOUNTS else said for word, said in facts["price"].items()
            }
            facts["price"] = Price(**{**price, "as_of": date.fromisoformat(price["as_of"])})
        info = ModelInfo(id=name, **facts)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"the catalogue's row {name!r} is wrong: {error}") from error
    for word, words in ((info.kind, _KINDS), (info.status, _STATUSES)):
        if word not in words:
            raise ValueError(f"the catalogue's row {name!r} is wrong: {word!r} must be one of {', '.join(words)}")
    return info
