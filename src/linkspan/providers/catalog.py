"""The catalogue: dated facts about models. It never restricts calls; unknown names work everywhere.

The data is in ``catalog_<provider>.json`` beside this module. The facts about Scaleway's models come from documents
(docs/apis/scaleway.md#models), which a person read on the file's ``as_of``, and from Scaleway's public product
catalogue, which ``make catalogue`` reads. So facts have their own dates: :attr:`ModelInfo.as_of` and
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

from linkspan.errors import ConfigurationError

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
    """Prices of a model, without tax.

    Attributes:
        input: Per million prompt tokens; ``None`` for models not billed by the token.
        output: Per million generated tokens, including reasoning; ``None`` for models that generate none.
        cached_input: Per million prompt tokens from the server's cache; ``None`` if no separate price is known.
        audio_minute: Per minute of audio; ``None`` for models not billed by the minute.
        as_of: The day on which these prices held.
        currency: ISO 4217 code.
    """

    input: Decimal | None = None
    output: Decimal | None = None
    cached_input: Decimal | None = None
    audio_minute: Decimal | None = None
    as_of: date
    currency: str = "EUR"

    def __post_init__(self) -> None:
        if all(price is None for price in (self.input, self.output, self.cached_input, self.audio_minute)):
            raise ConfigurationError("A Price must have at least one of input, output, cached_input and audio_minute.")


@dataclass(frozen=True, kw_only=True)
class ModelInfo:
    """Facts about a model.

    Attributes:
        id: Its name, without the vendor and quantisation of a dedicated deployment's name.
        offer: ``"serverless"``, the public service, or ``"dedicated"``, your own deployment.
        kind: Its use: ``"chat"``, ``"embedding"`` (rerank too), ``"transcription"`` or ``"ocr"``.
        context_window: Most tokens of prompt and answer together; ``None`` if unknown. For dedicated deployments, the
            most on any GPU: ``list_models()`` returns the deployment's own.
        max_output_tokens: Most tokens of an answer, a hard limit on Scaleway; ``None`` if unlimited or unknown.
        vision: Whether it accepts images.
        video: Whether it accepts videos, according to the provider.
        tools: Whether it calls tools over any API; see :meth:`calls_tools_over`.
        reasoning: Whether it reasons before it answers.
        structured_output: Whether the server can enforce a JSON schema.
        reasoning_efforts: Values of ``reasoning_effort`` that it accepts.
        default_reasoning_effort: Its effort without ``reasoning_effort``; ``None`` if unknown.
        dimensions: Shortest and longest vector of an embedding model, equal if the length is fixed.
        price: Its prices; ``None`` if unknown, or if billed otherwise, such as dedicated deployments by the hour.
        status: ``"active"``, ``"preview"`` (may end at short notice), ``"deprecated"`` (its end is announced) or
            ``"retired"``.
        end_of_life: The day of its retirement; ``None`` if unknown.
        successor: The model that answers instead of a retired one, or that the provider recommends; may be retired too.
        routed: Whether another model answers requests for the retired one; ``None`` if unknown.
        supported_apis: Routes known to serve it: paths below ``/v1/``, such as ``"chat/completions"``,
            ``"responses"`` or ``"embeddings"``. Probably incomplete; see :meth:`serves`.
        unsupported_apis: Routes known to refuse it.
        tool_apis: Routes over which it calls tools, if not all that serve it.
        uncertain: Names of the fields above that no document of the provider confirms.
        as_of: The day of these facts; ``None`` if they do not come from the catalogue.
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
        """Return whether a route, such as ``"responses"``, serves the model; ``None`` if unknown."""
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
    """Facts about a provider's models, by name.

    Attributes:
        models: Models of the public service, including retired ones.
        dedicated: Models of dedicated deployments, by the same bare names.
    """

    models: Mapping[str, ModelInfo]
    dedicated: Mapping[str, ModelInfo]


#: Read at import, so that creating an object in an event loop never waits for a disk.
_TEXTS = {
    provider: (files("linkspan.providers") / f"catalog_{provider}.json").read_text("utf-8")
    for provider in ("gray_swan", "scaleway")
}


@cache
def _catalogue(provider: str) -> Catalogue:
    text = _TEXTS.get(provider)
    return Catalogue(models={}, dedicated={}) if text is None else read_catalogue(text)


def known_models(provider: str) -> Mapping[str, ModelInfo]:
    """Return the facts about a provider's public models, by name; empty without a catalogue."""
    return _catalogue(provider).models


def model_info(provider: str, model: str) -> ModelInfo | None:
    """Return the facts about a model; ``None`` if it is unknown.

    A name with a quantisation, such as ``mistral/NAME:fp8``, means a dedicated deployment, whose limits differ from the
    public service's. A name with only a vendor, such as ``google/NAME``, is an alias of ``NAME``.
    """
    catalogue = _catalogue(provider)
    bare, deployed, _ = model.rsplit("/", 1)[-1].partition(":")
    if deployed and model not in catalogue.models:
        return catalogue.dedicated.get(bare)
    return catalogue.models.get(model) or catalogue.models.get(bare) or catalogue.dedicated.get(bare)


# --------------------------------------------------------------------------- reading


def read_catalogue(text: str) -> Catalogue:
    """Read a catalogue file: ``{"as_of": day, "models": {name: facts}, "dedicated": {"as_of": day, "models": …}}``.

    For a model with both offers, the dedicated entry states only what differs.

    Raises:
        ValueError: A row has a field or value unknown to :class:`ModelInfo`; the error names the row.
    """
    # Prices are parsed exactly, not as floats.
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
    return Catalogue(models=MappingProxyType(models), dedicated=MappingProxyType(dedicated))


def _as_dedicated(info: ModelInfo) -> ModelInfo:
    """Return a public model's capabilities, without its limits, prices and dates there."""
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
