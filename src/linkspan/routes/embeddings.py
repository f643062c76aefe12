"""Embeddings of any number of texts at one endpoint, for both frameworks: batches, requests, one result."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from linkspan.batching import batches_of, run_batches, run_batches_async
from linkspan.conversation import Usage
from linkspan.errors import InvalidResponseError
from linkspan.providers.scaleway import SCALEWAY
from linkspan.providers.scaleway_embeddings import (
    EMBEDDINGS_PATH,
    Embedded,
    check_texts,
    decode_embeddings,
    encode_embeddings,
)

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Mapping, Sequence

    from linkspan.endpoint import Endpoint

__all__ = ["EmbeddingCall"]


@dataclass(frozen=True)
class EmbeddingCall:
    """How texts are to be embedded.

    Args:
        endpoint: Where to ask.
        model: Name of the model.
        dimensions: Length of the vectors, ``None`` for the model's own.
        batch_size: The most texts per request.
        extra_body: Merged into each body last.
    """

    endpoint: Endpoint[Any]
    model: str
    dimensions: int | None = None
    batch_size: int = 32
    extra_body: Mapping[str, Any] = field(default_factory=dict)

    def run(self, texts: Sequence[str], instruction: str, max_concurrency: int) -> Embedded:
        """Embed texts, each with the instruction before it. No text, no request."""
        return _joined(run_batches(self._batches(texts, instruction), self._ask, max_concurrency))

    async def arun(self, texts: Sequence[str], instruction: str, gate: asyncio.Semaphore) -> Embedded:
        """Embed texts, each with the instruction before it. No text, no request."""
        return _joined(await run_batches_async(self._batches(texts, instruction), self._aask, gate))

    def _batches(self, texts: Sequence[str], instruction: str) -> list[Sequence[str]]:
        check_texts(texts)
        return batches_of([f"{instruction}{text}" for text in texts] if instruction else texts, self.batch_size)

    def _ask(self, texts: Sequence[str]) -> Embedded:
        return self.endpoint.call(EMBEDDINGS_PATH, self._body(texts), self._decoder(len(texts)))

    async def _aask(self, texts: Sequence[str]) -> Embedded:
        return await self.endpoint.acall(EMBEDDINGS_PATH, self._body(texts), self._decoder(len(texts)))

    def _body(self, texts: Sequence[str]) -> dict[str, Any]:
        return encode_embeddings(self.model, texts, dimensions=self.dimensions, extra_body=self.extra_body)

    def _decoder(self, count: int) -> Callable[[bytes, Mapping[str, str]], Embedded]:
        return lambda body, headers: decode_embeddings(body, headers, count=count, dimensions=self.dimensions)


def _joined(parts: Sequence[Embedded]) -> Embedded:
    """Put the answers of all batches together; the usage is their sum, if each of them told one."""
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
    """The sum, ``None`` if one of the counts is missing: a part is not the whole."""
    known = [count for count in counts if count is not None]
    return sum(known) if known and len(known) == len(counts) else None
