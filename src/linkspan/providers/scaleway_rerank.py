"""Encode and decode rerank calls of Scaleway Generative APIs (docs/apis/scaleway.md#rerank)."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite
from typing import TYPE_CHECKING, Any

from linkspan.errors import InvalidRequestError, InvalidResponseError, UnsupportedContentError
from linkspan.providers.chat_completions.decode import decode_usage
from linkspan.providers.error_bodies import request_id_of
from linkspan.providers.scaleway import SCALEWAY, read_object
from linkspan.providers.wire import as_name, as_number
from linkspan.rate_limits import rate_limit_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from linkspan.conversation import Usage

__all__ = ["DEFAULT_RERANK_MODEL", "RERANK_PATH", "Ranked", "Ranking", "check_rerank", "decode_rerank", "encode_rerank"]

#: The route below the base URL.
RERANK_PATH = "rerank"
#: The only model that Scaleway documents for this route; it is an embedding model.
DEFAULT_RERANK_MODEL = "qwen3-embedding-8b"

_NAME = SCALEWAY.name


@dataclass(slots=True, frozen=True)
class Ranked:
    """One document's rank.

    Attributes:
        index: Position of the document in the request.
        score: Cosine similarity of query and document; higher is closer. ``None`` for a document without text.
    """

    index: int
    score: float | None


@dataclass(slots=True)
class Ranking:
    """The documents, best first.

    Attributes:
        results: At most ``top_n`` documents.
        usage: The server's token counts; ``None`` if it sent none.
        model: The model's name, as the answer gives it.
        request_id: The server's id of the request.
        rate_limit: The rate limits in the answer's headers.
    """

    results: list[Ranked]
    usage: Usage | None = None
    model: str | None = None
    request_id: str | None = None
    rate_limit: dict[str, int | str] | None = None


def encode_rerank(
    model: str,
    query: str,
    documents: Sequence[str],
    *,
    top_n: int | None = None,
    extra_body: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Encode the body of a request."""
    body: dict[str, Any] = {"model": model, "query": query, "documents": list(documents)}
    if top_n is not None:
        body["top_n"] = min(top_n, len(documents))
    return {**body, **(extra_body or {})}


def check_rerank(query: Any, documents: Sequence[Any], top_n: int | None) -> None:
    """Refuse input that cannot be ranked, before anything is sent.

    Raises:
        UnsupportedContentError: The query or a document is not a string, or there is a string instead of a list.
        InvalidRequestError: The query is empty or blank, or ``top_n`` below 1.
    """
    if not isinstance(query, str):
        raise UnsupportedContentError(
            f"{_NAME}: the query to rerank by must be a string, not {type(query).__name__}.", provider=_NAME
        )
    if not query.strip():
        raise InvalidRequestError(f"{_NAME}: the query to rerank by is empty or blank.", provider=_NAME)
    if isinstance(documents, str):
        raise UnsupportedContentError(
            f"{_NAME}: reranking takes a list of documents, not a single string.", provider=_NAME
        )
    for index, document in enumerate(documents):
        if not isinstance(document, str):
            raise UnsupportedContentError(
                f"{_NAME}: documents to rerank must be strings; document {index} is of type {type(document).__name__}.",
                provider=_NAME,
            )
    if top_n is not None and (type(top_n) is not int or top_n < 1):
        what = "is below 1" if type(top_n) is int else "is no whole number"
        raise InvalidRequestError(f"{_NAME}: top_n={top_n!r} {what}; use None for all.", provider=_NAME)


def decode_rerank(body: bytes, headers: Mapping[str, str], *, count: int, top_n: int | None = None) -> Ranking:
    """Decode an answer. Documents are identified by ``index`` only, and sorted by score.

    Raises:
        InvalidResponseError: There are too few results, or one has no valid index or score.
        LinkspanError: The answer is an error with status 200.
    """
    parsed = read_object(body, headers)
    request_id = request_id_of(headers)
    expected = count if top_n is None else min(top_n, count)
    try:
        results = _results(parsed.get("results"), count, expected)
    except ValueError as error:
        raise InvalidResponseError(f"{_NAME}: {error}", provider=_NAME, request_id=request_id) from None
    model = as_name(parsed.get("model"), "model")
    usage = decode_usage(parsed.get("usage"))
    return Ranking(results[:expected], usage, model, request_id, rate_limit_of(headers))


def _results(data: Any, count: int, expected: int) -> list[Ranked]:
    if not isinstance(data, list) or len(data) < expected:
        found = f"{len(data)} results" if isinstance(data, list) else "no list of results"
        raise ValueError(f"{expected} of {count} documents were requested, but the answer holds {found}.")
    scores: list[tuple[float, int]] = []
    seen: set[int] = set()
    for item in data:
        fields: dict[str, Any] = item if isinstance(item, dict) else {}
        index, score = fields.get("index"), as_number(fields.get("relevance_score"), "relevance_score")
        if type(index) is not int or not 0 <= index < count or index in seen:
            raise ValueError(f"the answer's index {index!r} is missing, out of range or occurs twice.")
        if score is None or not isfinite(score):
            raise ValueError(f"the relevance_score of document {index} is not a finite number.")
        seen.add(index)
        scores.append((score, index))
    return [Ranked(index, score) for score, index in sorted(scores, key=lambda scored: -scored[0])]
