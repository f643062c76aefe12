"""What answers cost: exact sums at the catalogue's dated prices, or an error that says what is unknown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal

from linkspan.errors import ConfigurationError, LinkspanError
from linkspan.providers.catalog import Price, model_info

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import date

__all__ = ["Cost", "CostItem", "Price", "UnknownPriceError", "cost_of"]

_MILLION = Decimal(1_000_000)


class UnknownPriceError(LinkspanError, LookupError):
    """The price of something that was used is unknown. Nothing is guessed in its place."""


@dataclass(frozen=True, kw_only=True)
class CostItem:
    """One kind of usage of one model.

    Attributes:
        model: The model.
        kind: ``"input"`` (without what was cached), ``"cached_input"``, ``"output"`` or ``"audio"``.
        quantity: Tokens; of ``"audio"`` minutes.
        price: What a million tokens, or a minute, costs.
        amount: What the quantity costs.
        currency: ISO 4217 code.
        as_of: The day on which this was the price.
    """

    model: str
    kind: Literal["input", "cached_input", "output", "audio"]
    quantity: Decimal
    price: Decimal
    amount: Decimal
    currency: str
    as_of: date


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What answers cost, without tax. Costs of one currency can be added, and ``sum(costs)`` works.

    Attributes:
        total: The sum, exact: no amount is rounded.
        currency: ISO 4217 code.
        as_of: The day of the oldest price that was used.
        items: What it is made of.
    """

    total: Decimal
    currency: str
    as_of: date
    items: tuple[CostItem, ...]

    def __add__(self, other: object) -> Cost:
        return _sum((*self.items, *other.items)) if isinstance(other, Cost) else NotImplemented

    def __radd__(self, other: object) -> Cost:
        # sum() starts with 0.
        return self if other == 0 else NotImplemented

    def __str__(self) -> str:
        return f"{self.total:f} {self.currency} (prices of {self.as_of})"


def cost_of(
    answer: Any,
    *,
    model: str | None = None,
    embedding_model: str | None = None,
    provider: str | None = None,
    prices: Mapping[str, Price] | None = None,
) -> Cost:
    """Return what an answer cost, at the catalogue's prices and by the counts that the server sent with it.

    Args:
        answer: A LangChain message, its ``usage_metadata``, or what ``get_usage_metadata_callback`` added up by model;
            a LlamaIndex response, or its ``TokenCountingHandler``; what ``embed()`` of the embedding classes returns; a
            server's own usage object (``prompt_tokens``…, or ``seconds`` of sound); or several of these in an iterable,
            such as an agent's messages, of which those that are no answers cost nothing.
        model: Whose usage it is, where the answer does not say.
        embedding_model: Whose the embedding tokens of a ``TokenCountingHandler`` are.
        provider: Who served it, such as ``"scaleway"``. Needed where the answer does not say, as a name alone does not
            tell it: LangChain's messages and linkspan's own results say it, all others do not.
        prices: Prices of your own by model, which go before the catalogue's: of a contract, of a batch, of a server
            that the catalogue does not know.

    Returns:
        The sum with its currency, the date of its prices and its parts. Tokens from the server's cache cost their own
        price where one is known, else that of other input: then the sum is the most that it can have cost.

    Raises:
        UnknownPriceError: The price of a part is unknown. No half sum is returned.
        ConfigurationError: The answer holds no counts, or does not say whose they are.
    """
    found = [
        item
        for counts in _counts_in(answer, _Owner(provider, model), embedding_model)
        for item in _items(counts, prices or {})
    ]
    if not found:
        raise ConfigurationError(
            "The answer holds no token counts: a stream has them on its last chunk, and what a server does not count "
            "has no known cost."
        )
    return _sum(found)


# --------------------------------------------------------------------------- reading counts


@dataclass(frozen=True)
class _Owner:
    """Who served the answer, and which model gave it, as far as is known."""

    provider: str | None
    model: str | None


@dataclass(frozen=True)
class _Counts:
    """How much of a model was used."""

    owner: _Owner
    input: int = 0
    cached: int = 0
    output: int = 0
    seconds: Decimal = Decimal(0)


def _counts_in(answer: Any, owner: _Owner, embedding_model: str | None) -> Iterator[_Counts]:
    """Read each shape by the names that only it has, so that no framework need be imported."""
    if isinstance(answer, Mapping):
        yield from _counts_in_mapping(answer, owner)
    elif hasattr(answer, "usage_metadata"):  # LangChain's AIMessage
        facts = answer.response_metadata
        own = _Owner(owner.provider or facts.get("model_provider"), facts.get("model_name") or owner.model)
        yield from _counts_in_mapping(answer.usage_metadata or {}, own)
    elif hasattr(answer, "total_embedding_token_count"):  # LlamaIndex's TokenCountingHandler
        yield _Counts(owner, input=answer.prompt_llm_token_count, output=answer.completion_llm_token_count)
        yield _Counts(_Owner(owner.provider, embedding_model), input=answer.total_embedding_token_count)
    elif hasattr(answer, "additional_kwargs") and hasattr(answer, "raw"):  # LlamaIndex's responses
        facts = answer.additional_kwargs
        yield from _counts_in_mapping(facts, _Owner(owner.provider, facts.get("model") or owner.model))
    elif hasattr(answer, "usage") and hasattr(answer, "request_id"):  # linkspan's Embedded and Ranking
        usage = answer.usage
        counts = {} if usage is None else {"input_tokens": usage.input_tokens, "total_tokens": usage.total_tokens}
        yield from _counts_in_mapping(counts, _Owner(owner.provider or "scaleway", answer.model or owner.model))
    elif isinstance(answer, Iterable) and not isinstance(answer, (str, bytes)):
        for one in answer:
            if getattr(one, "type", "ai") in {"ai", "AIMessageChunk"}:
                yield from _counts_in(one, owner, embedding_model)
    else:
        raise ConfigurationError(f"A {type(answer).__name__} has no cost: it holds no token counts.")


def _counts_in_mapping(facts: Mapping[str, Any], owner: _Owner) -> Iterator[_Counts]:
    if facts and all(isinstance(value, Mapping) for value in facts.values()):
        # By model, as LangChain's callback adds them up.
        for name, usage in facts.items():
            yield from _counts_in_mapping(usage, _Owner(owner.provider, name))
        return
    if "seconds" in facts:
        yield _Counts(owner, seconds=Decimal(str(facts["seconds"])))
        return
    given = _first(facts, "input_tokens", "prompt_tokens")
    made = _first(facts, "output_tokens", "completion_tokens")
    if given is None and made is None:
        # Rerank counts all tokens as one, and all of them are input.
        given = facts.get("total_tokens")
        if given is None:
            return
    if given is None or (made is None and facts.get("total_tokens", given) != given):
        raise ConfigurationError("The answer holds a count of one side alone: what the other one cost is unknown.")
    yield _Counts(owner, input=given, cached=_cached(facts), output=made or 0)


def _cached(facts: Mapping[str, Any]) -> int:
    details = _first(facts, "input_token_details", "prompt_tokens_details") or {}
    return _first(details, "cache_read", "cached_tokens") or facts.get("cached_tokens") or 0


def _first(facts: Mapping[str, Any], *names: str) -> Any:
    return next((facts[name] for name in names if facts.get(name) is not None), None)


# --------------------------------------------------------------------------- prices


def _items(counts: _Counts, prices: Mapping[str, Price]) -> Iterator[CostItem]:
    uncached = counts.input - counts.cached
    if uncached < 0:
        raise ConfigurationError(f"The answer counts {counts.cached} cached tokens among {counts.input} of input.")
    if not (counts.input or counts.output or counts.seconds):
        return
    name, price = _price_of(counts.owner, prices)
    cached_price = price.input if price.cached_input is None else price.cached_input
    for kind, quantity, each, unit in (
        ("input", Decimal(uncached), price.input, _MILLION),
        ("cached_input", Decimal(counts.cached), cached_price, _MILLION),
        ("output", Decimal(counts.output), price.output, _MILLION),
        ("audio", counts.seconds / 60, price.audio_minute, Decimal(1)),
    ):
        if not quantity:
            continue
        if each is None:
            raise UnknownPriceError(
                f"The price of {kind} of the model {name!r} is unknown (prices of {price.as_of}). Give it with "
                f"prices={{{name!r}: Price(...)}}.",
                provider=counts.owner.provider,
            )
        yield CostItem(
            model=name,
            kind=kind,  # type: ignore[arg-type]  # mypy widens the words of the loop to str
            quantity=quantity,
            price=each,
            amount=quantity * each / unit,
            currency=price.currency,
            as_of=price.as_of,
        )


def _price_of(owner: _Owner, prices: Mapping[str, Price]) -> tuple[str, Price]:
    if owner.model is None:
        raise ConfigurationError("The answer does not say which model gave it: name it with model=...")
    if owner.model in prices:
        return owner.model, prices[owner.model]
    if owner.provider is None:
        raise ConfigurationError(
            f"Who served {owner.model!r} is unknown, and so is the price: give provider=..., such as 'scaleway'."
        )
    info = model_info(owner.provider, owner.model)
    if info is None or info.price is None:
        if info is None:
            why = "the catalogue does not know it"
        elif info.offer == "dedicated":
            why = "dedicated deployments are paid by the hour"
        else:
            why = f"known as of {info.as_of}"
        raise UnknownPriceError(
            f"The price of {owner.model!r} of {owner.provider} is unknown ({why}). Give it with "
            f"prices={{{owner.model!r}: Price(...)}}.",
            provider=owner.provider,
        )
    return owner.model, info.price


def _sum(items: Iterable[CostItem]) -> Cost:
    items = tuple(items)
    currencies = sorted({item.currency for item in items})
    if len(currencies) > 1:
        raise ConfigurationError(f"Costs in {' and '.join(currencies)} cannot be added.")
    return Cost(
        total=sum((item.amount for item in items), Decimal(0)),
        currency=currencies[0],
        as_of=min(item.as_of for item in items),
        items=items,
    )
