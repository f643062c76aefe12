"""Embed any number of texts at one endpoint, in batches, for both frameworks."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from linkspan.concurrency import acall_each, call_each
from linkspan.conversation import Usage
from linkspan.errors import InvalidRequestError, InvalidResponseError, LinkspanError
from linkspan.providers.scaleway import SCALEWAY
from linkspan.providers.scaleway_embeddings import (
    EMBEDDINGS_PATH,
    LARGEST_INPUT,
    Embedded,
    checked_texts,
    decode_embeddings,
    encode_embeddings,
    most_texts,
    without_text,
)
from linkspan.transport import TOO_LARGE

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Mapping, Sequence

    from linkspan.endpoint import Endpoint

__all__ = ["EmbeddingCall", "PlacedText", "placed", "with_text", "with_zeros"]

_CONTENT_TOO_LARGE = 413


class PlacedText(str):
    """A text that knows its position, so that errors can name it when a framework passes texts in parts.

    Attributes:
        place: Its position, counted from 0.
        total: Number of texts.
    """

    __slots__ = ("place", "total")

    place: int
    total: int

    @classmethod
    def at(cls, place: int, total: int, text: str) -> PlacedText:
        """Create a text with its position."""
        made = cls(text)
        made.place, made.total = place, total
        return made

    def after(self, instruction: str) -> PlacedText:
        """Return this text with an instruction before it."""
        return PlacedText.at(self.place, self.total, f"{instruction}{self}") if instruction else self

    def size(self) -> int:
        """Return its length in UTF-8 bytes."""
        return len(self) if self.isascii() else len(self.encode("utf-8", "replace"))


def placed(texts: Sequence[str]) -> list[PlacedText]:
    """Return the texts with their positions: those that they know, else those in this list."""
    return [
        text if isinstance(text, PlacedText) else PlacedText.at(place, len(texts), text)
        for place, text in enumerate(texts)
    ]


def with_text(texts: Sequence[PlacedText]) -> list[PlacedText]:
    """Return the texts that are not blank."""
    blank = set(without_text(texts))
    return [text for place, text in enumerate(texts) if place not in blank]


def with_zeros(texts: Sequence[str], vectors: list[list[float]], dimensions: int | None) -> list[list[float]]:
    """Insert a vector of zeros for each blank text into the vectors of the others, in place.

    Raises:
        InvalidRequestError: All texts are blank, and ``dimensions`` is ``None``.
    """
    blank = without_text(texts)
    if not blank:
        return vectors
    length = len(vectors[0]) if vectors else dimensions
    if length is None:
        raise InvalidRequestError(
            f"{SCALEWAY.name}: all {len(texts)} texts are blank, so the length of a vector of zeros is unknown: "
            f"set dimensions, or leave the texts out.",
            provider=SCALEWAY.name,
        )
    for place in blank:
        vectors.insert(place, [0.0] * length)
    return vectors


_Texts: TypeAlias = "Sequence[PlacedText]"


@dataclass(frozen=True)
class EmbeddingCall:
    """How to embed texts.

    ``batch_size`` is the most texts per request; ``None`` means the model's limit.
    """

    endpoint: Endpoint[Any]
    model: str
    dimensions: int | None = None
    batch_size: int | None = None
    extra_body: Mapping[str, Any] = field(default_factory=dict)
    blank_texts: Literal["error", "zeros"] = "error"

    def run(self, texts: Sequence[str], instruction: str, max_concurrency: int) -> Embedded:
        """Embed texts, each after the instruction. Without texts, no request is sent."""
        texts = self.checked(texts)
        return self._whole(texts, call_each(self._batches(texts, instruction), self._ask, max_concurrency))

    async def arun(self, texts: Sequence[str], instruction: str, gate: asyncio.Semaphore) -> Embedded:
        """Embed texts; see :meth:`run`."""
        texts = self.checked(texts)
        return self._whole(texts, await acall_each(self._batches(texts, instruction), self._aask, gate))

    def checked(self, texts: Sequence[str]) -> list[PlacedText]:
        """Return the texts with their positions; refuse those that cannot be embedded."""
        return placed(checked_texts(texts, may_be_blank=self.blank_texts == "zeros"))

    def _batches(self, texts: _Texts, instruction: str) -> list[_Texts]:
        sent = [text.after(instruction) for text in with_text(texts)]
        return _batches_of(sent, self.batch_size or most_texts(self.model))

    def _ask(self, batch: _Texts) -> Embedded:
        try:
            return self.endpoint.call(EMBEDDINGS_PATH, self._body(batch), self._decoder(len(batch)))
        except LinkspanError as error:
            if not _is_too_much(error, batch):
                _say_which(error, batch)
                raise
        return _joined([self._ask(half) for half in _halves(batch)])

    async def _aask(self, batch: _Texts) -> Embedded:
        try:
            return await self.endpoint.acall(EMBEDDINGS_PATH, self._body(batch), self._decoder(len(batch)))
        except LinkspanError as error:
            if not _is_too_much(error, batch):
                _say_which(error, batch)
                raise
        return _joined([await self._aask(half) for half in _halves(batch)])

    def _body(self, batch: _Texts) -> dict[str, Any]:
        return encode_embeddings(self.model, batch, dimensions=self.dimensions, extra_body=self.extra_body)

    def _decoder(self, count: int) -> Callable[[bytes, Mapping[str, str]], Embedded]:
        return lambda body, headers: decode_embeddings(body, headers, count=count, dimensions=self.dimensions)

    def _whole(self, texts: _Texts, parts: Sequence[Embedded]) -> Embedded:
        """Join the answers of all batches, with a vector of zeros for each text that was not sent."""
        whole = _joined(parts)
        whole.vectors = with_zeros(texts, whole.vectors, self.dimensions)
        return whole


def _batches_of(texts: _Texts, most: int) -> list[_Texts]:
    """Split texts into batches of at most ``most`` texts and ``LARGEST_INPUT`` bytes; a larger text is alone."""
    starts, size = [0], 0
    for place, text in enumerate(texts):
        size += text.size()
        if place > starts[-1] and (size > LARGEST_INPUT or place - starts[-1] == most):
            starts.append(place)
            size = text.size()
    return [texts[start:end] for start, end in pairwise([*starts, len(texts)])] if texts else []


def _is_too_much(error: LinkspanError, batch: _Texts) -> bool:
    """Return whether half of the batch may succeed: the request was too large for a gateway, or the answer for us."""
    return len(batch) > 1 and (error.status_code == _CONTENT_TOO_LARGE or error.code == TOO_LARGE)


def _halves(batch: _Texts) -> tuple[_Texts, _Texts]:
    middle = len(batch) // 2
    return batch[:middle], batch[middle:]


def _say_which(error: LinkspanError, batch: _Texts) -> None:
    """Name the texts of a failed request, if the call had several requests."""
    first, last = batch[0], batch[-1]
    if len(batch) < first.total:
        error.with_hint(f"The request held texts {first.place} to {last.place} of {first.total}, counted from 0.")


def _joined(parts: Sequence[Embedded]) -> Embedded:
    """Join the answers of all batches; usage is summed if every batch reports it."""
    lengths = sorted({len(vector) for part in parts for vector in part.vectors})
    if len(lengths) > 1:
        raise InvalidResponseError(
            f"{SCALEWAY.name}: embeddings of one call differ in length between requests: {lengths}.",
            provider=SCALEWAY.name,
        )
    usages = [part.usage for part in parts if part.usage is not None]
    return Embedded(
        vectors=[vector for part in parts for vector in part.vectors],
        usage=_total(usages) if usages and len(usages) == len(parts) else None,
        model=parts[0].model if parts else None,
        request_id=parts[0].request_id if len(parts) == 1 else None,
        rate_limit=next((part.rate_limit for part in reversed(parts) if part.rate_limit), None),
    )


def _total(usages: Sequence[Usage]) -> Usage:
    if len(usages) == 1:
        return usages[0]
    return Usage(
        input_tokens=_sum([usage.input_tokens for usage in usages]),
        output_tokens=_sum([usage.output_tokens for usage in usages]),
        total_tokens=_sum([usage.total_tokens for usage in usages]),
    )


def _sum(counts: Sequence[int | None]) -> int | None:
    """Return the sum, ``None`` if a count is missing."""
    known = [count for count in counts if count is not None]
    return sum(known) if known and len(known) == len(counts) else None
