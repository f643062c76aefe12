"""Compute what answers cost: exact sums at the catalogue's dated prices, or an error that names what is unknown."""

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
_NOT_COUNTED = (
    "The answer has no token counts from the server, so its cost is unknown. Of a stream, pass the sum of its chunks "
    "(LangChain) or its last response (LlamaIndex), which has the counts."
)
#: What to do about counts that are wrong.
_CORRECTED = (
    'Pass the right counts, for example {"input_tokens": 10, "output_tokens": 5}, with model=... and provider=...'
)


class UnknownPriceError(LinkspanError, LookupError):
    """Raised if the price of something that was used is unknown; linkspan never guesses."""


@dataclass(frozen=True, kw_only=True)
class CostItem:
    """One kind of usage of one model.

    Attributes:
        model: The model.
        kind: ``"input"`` (without cached tokens), ``"cached_input"``, ``"output"`` or ``"audio"``.
        quantity: Tokens, or minutes of ``"audio"``.
        price: The price of a million tokens, or of a minute.
        amount: The cost of the quantity.
        currency: ISO 4217 code.
        as_of: The day on which this price held.
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
    """The cost of answers, without tax. Costs of one currency can be added, and ``sum(costs)`` works.

    Attributes:
        total: The exact sum; no amount is rounded.
        currency: ISO 4217 code.
        as_of: The day of the oldest price that was used.
        items: Its items.
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
    """Return the cost of an answer, by the server's counts and the catalogue's prices.

    Args:
        answer: A LangChain message, its ``usage_metadata``, or the totals by model of ``get_usage_metadata_callback``;
            a LlamaIndex response, or its ``TokenCountingHandler``; the result of an embedding class's ``embed()``; a
            server's usage object (``prompt_tokens``…, or ``seconds`` of audio); an iterable of these; or the result of
            a LangChain agent, which counts all of its ``messages``. Messages that are not answers, and answers from
            LangChain's cache, cost nothing.
        model: The model's name, if the answer does not have it.
        embedding_model: The model of a ``TokenCountingHandler``'s embedding tokens.
        provider: The provider, such as ``"scaleway"``. Needed if the answer does not have it: only LangChain's messages
            and linkspan's own results do, and a model's name does not identify its provider.
        prices: Your own prices by model, which override the catalogue's, such as those of a contract, of batches, or
            of your own server.

    Returns:
        The sum with its currency, the date of its prices and its items. If no separate price is known for cached
        tokens, they are counted as other input, and the sum is an upper bound.

    Raises:
        UnknownPriceError: A price is unknown. Partial sums are never returned.
        ConfigurationError: The answer has no counts or impossible ones, or its model or provider is unknown.
    """
    counts = list(_counts_in(answer, _Owner(provider, model), embedding_model))
    if not counts:
        raise ConfigurationError(_NOT_COUNTED)
    # If all counts are zero, one of them gives the currency.
    used = [one for one in counts if not one.is_zero] or counts[:1]
    return _sum(item for one in used for item in _items(one, prices or {}))


# --------------------------------------------------------------------------- reading counts


@dataclass(frozen=True)
class _Owner:
    """Provider and model of an answer, as far as known."""

    provider: str | None
    model: str | None


@dataclass(frozen=True)
class _Counts:
    """Usage of one model."""

    owner: _Owner
    input: int = 0
    cached: int = 0
    output: int = 0
    seconds: Decimal = Decimal(0)

    @property
    def is_zero(self) -> bool:
        """Whether nothing was used."""
        return not (self.input or self.cached or self.output or self.seconds)


def _counts_in(answer: Any, owner: _Owner, embedding_model: str | None) -> Iterator[_Counts]:
    """Recognize each shape by names that only it has, so that no framework has to be imported."""
    if isinstance(answer, Mapping) and isinstance(answer.get("messages"), (list, tuple)):  # a LangChain agent's result
        yield from _counts_in_each(answer["messages"], owner, embedding_model)
    elif isinstance(answer, Mapping):
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
        yield from _counts_in_each(answer, owner, embedding_model)
    else:
        raise ConfigurationError(
            f"A value of type {type(answer).__name__} has no token counts: pass an answer, its usage, or a list of "
            "answers."
        )


def _counts_in_each(answers: Iterable[Any], owner: _Owner, embedding_model: str | None) -> Iterator[_Counts]:
    for one in answers:
        if getattr(one, "type", "ai") in {"ai", "AIMessageChunk"}:
            found = list(_counts_in(one, owner, embedding_model))
            if not found and _comes_from_a_model(one):
                raise ConfigurationError(
                    f"One of the answers has no token counts, so a sum would be too low. {_NOT_COUNTED}"
                )
            yield from found


def _comes_from_a_model(answer: Any) -> bool:
    """Whether an answer is a server's whole answer: neither a chunk nor written by the program."""
    facts = getattr(answer, "response_metadata", None) or getattr(answer, "additional_kwargs", None) or {}
    return getattr(answer, "type", "ai") == "ai" and any(facts.get(name) for name in ("model_name", "model"))


def _counts_in_mapping(facts: Mapping[str, Any], owner: _Owner) -> Iterator[_Counts]:
    if facts and all(isinstance(value, Mapping) for value in facts.values()):
        # By model, as LangChain's callback sums them.
        for name, usage in facts.items():
            yield from _counts_in_mapping(usage, _Owner(owner.provider, name))
        return
    if facts.get("total_cost") == 0:  # LangChain's mark of an answer from its cache
        yield _Counts(owner)
        return
    if facts.get("seconds") is not None:
        yield _Counts(owner, seconds=Decimal(str(_checked(facts["seconds"], "seconds of audio", whole=False))))
        return
    given = _first(facts, "input_tokens", "prompt_tokens")
    made = _first(facts, "output_tokens", "completion_tokens")
    if given is None and made is None:
        # Rerank reports only a total, and all of it is input.
        given = facts.get("total_tokens")
        if given is None:
            return
    if given is None or (made is None and facts.get("total_tokens", given) != given):
        raise ConfigurationError(
            "The answer counts only its input tokens or only its output tokens, so the cost of the others is unknown. "
            f"{_CORRECTED}"
        )
    cached = _checked(_cached(facts), "cached tokens")
    if cached > _checked(given, "input tokens"):
        raise ConfigurationError(
            f"The answer counts more cached input tokens ({cached}) than input tokens ({given}). {_CORRECTED}"
        )
    yield _Counts(owner, input=given, cached=cached, output=_checked(made or 0, "output tokens"))


def _cached(facts: Mapping[str, Any]) -> int:
    details = _first(facts, "input_token_details", "prompt_tokens_details") or {}
    return _first(details, "cache_read", "cached_tokens") or facts.get("cached_tokens") or 0


def _checked(count: Any, what: str, *, whole: bool = True) -> Any:
    """Return a count.

    Raises:
        ConfigurationError: It is not a number, negative, infinite or NaN, or a fraction where ``whole`` is set.
    """
    is_number = isinstance(count, int if whole else (int, float, Decimal)) and not isinstance(count, bool)
    if not is_number or not 0 <= count < float("inf"):
        kind = "a whole number" if whole else "a finite number"
        what_to_do = f" {_CORRECTED}" if whole else ""
        raise ConfigurationError(
            f"The answer's count of {what} must be {kind} that is not negative, but is {count!r}.{what_to_do}"
        )
    return count


def _first(facts: Mapping[str, Any], *names: str) -> Any:
    return next((facts[name] for name in names if facts.get(name) is not None), None)


# --------------------------------------------------------------------------- prices


def _items(counts: _Counts, prices: Mapping[str, Price]) -> Iterator[CostItem]:
    name, price = _price_of(counts.owner, prices)
    cached_price = price.input if price.cached_input is None else price.cached_input
    for kind, quantity, each, unit in (
        ("input", Decimal(counts.input - counts.cached), price.input, _MILLION),
        ("cached_input", Decimal(counts.cached), cached_price, _MILLION),
        ("output", Decimal(counts.output), price.output, _MILLION),
        ("audio", counts.seconds / 60, price.audio_minute, Decimal(1)),
    ):
        if not quantity and not (counts.is_zero and each is not None):
            continue
        if each is None:
            raise UnknownPriceError(
                f"The price of {kind} of the model {name!r} is unknown (prices of {price.as_of}). Pass your own: "
                f"prices={{{name!r}: Price(...)}}.",
                provider=counts.owner.provider,
            )
        yield CostItem(
            model=name,
            kind=kind,  # type: ignore[arg-type]  # mypy widens the loop's literals to str
            quantity=quantity,
            price=each,
            amount=quantity * each / unit,
            currency=price.currency,
            as_of=price.as_of,
        )


def _price_of(owner: _Owner, prices: Mapping[str, Price]) -> tuple[str, Price]:
    if owner.model is None:
        raise ConfigurationError("The answer does not name its model, so its price is unknown: pass model=...")
    if owner.model in prices:
        own = prices[owner.model]
        if not isinstance(own, Price):
            raise ConfigurationError(
                f"prices[{owner.model!r}] must be a linkspan.costs.Price, not a {type(own).__name__}."
            )
        return owner.model, own
    if owner.provider is None:
        raise ConfigurationError(
            f"The answer does not say who served {owner.model!r}, so its price is unknown: pass provider=..., such as "
            "provider='scaleway'."
        )
    info = model_info(owner.provider, owner.model)
    if info is None or info.price is None:
        if info is None:
            why = "the catalogue does not know it"
        elif info.offer == "dedicated":
            why = "dedicated deployments are paid by the hour"
        else:
            why = f"as of {info.as_of}"
        raise UnknownPriceError(
            f"The price of {owner.model!r} of {owner.provider} is unknown ({why}). Pass your own: "
            f"prices={{{owner.model!r}: Price(...)}}.",
            provider=owner.provider,
        )
    return owner.model, info.price


def _sum(items: Iterable[CostItem]) -> Cost:
    items = tuple(items)
    currencies = sorted({item.currency for item in items})
    if len(currencies) > 1:
        raise ConfigurationError(
            f"Costs in {' and '.join(currencies)} cannot be added: compute those of each currency separately."
        )
    return Cost(
        total=sum((item.amount for item in items), Decimal(0)),
        currency=currencies[0],
        as_of=min(item.as_of for item in items),
        items=items,
    )
