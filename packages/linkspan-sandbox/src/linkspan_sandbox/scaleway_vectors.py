"""Embeddings and reranking of the Scaleway dialect (docs/apis/scaleway.md#embeddings).

The vectors are deterministic and need no model. Each lower-case word adds one at the index that its CRC-32 gives; the
sum is normalised to length one. So texts are similar only as far as they share words.
"""

from __future__ import annotations

import base64
import math
import re
import sys
import zlib
from array import array
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["DIMENSIONS", "MOST_TEXTS", "VectorError", "embed", "rerank", "text_of", "vector_of"]

#: Vector lengths per model: smallest, largest and default.
DIMENSIONS: Mapping[str, tuple[int, int, int]] = {
    "qwen3-embedding-8b": (32, 4096, 4096),
    "bge-multilingual-gemma2": (3584, 3584, 3584),
}
#: Texts per call, if a limit is documented.
MOST_TEXTS: Mapping[str, int] = {"qwen3-embedding-8b": 2048}
_WORD = re.compile(r"\w+")


class VectorError(Exception):
    """Raised for a refused request, with its status."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.message = message
        self.status = status


def vector_of(text: str, size: int) -> list[float]:
    """Return the vector of a text; all zeros if it has no words."""
    vector = [0.0] * size
    for word in _WORD.findall(text.lower()):
        vector[zlib.crc32(word.encode()) % size] += 1.0
    length = math.sqrt(sum(value * value for value in vector)) or 1.0
    return [value / length for value in vector]


def embed(body: Any) -> dict[str, Any]:
    """Answer ``/embeddings``.

    Raises:
        VectorError: Scaleway would refuse the request.
    """
    model, (low, high, default) = _model_of(body)
    given = body.get("input")
    texts = _texts([given] if isinstance(given, str) else given, "input")
    if len(texts) > MOST_TEXTS.get(model, len(texts)):
        raise VectorError(f"payload validation: input is limited to {MOST_TEXTS[model]} texts for {model}")
    size = body.get("dimensions") or default
    if type(size) is not int or not low <= size <= high:
        raise VectorError(f"payload validation: dimensions must be from {low} to {high} for {model}")
    as_base64 = body.get("encoding_format") == "base64"
    data = []
    for index, text in enumerate(texts):
        vector = vector_of(text, size)
        written = base64.b64encode(_little_endian(vector)).decode() if as_base64 else vector
        data.append({"object": "embedding", "index": index, "embedding": written})
    return {"object": "list", "model": model, "data": data, "usage": _usage(texts)}


def rerank(body: Any) -> dict[str, Any]:
    """Answer ``/rerank``: documents by the cosine similarity of their vectors to the query's.

    Raises:
        VectorError: Scaleway would refuse the request.
    """
    model, (_, _, size) = _model_of(body)
    query = _texts([body.get("query")], "query")[0]
    documents = _texts(body.get("documents"), "documents")
    top_n = body.get("top_n", len(documents))
    if type(top_n) is not int or top_n < 1:
        raise VectorError("payload validation: top_n must be a positive number")
    wanted = vector_of(query, size)
    scores = [sum(a * b for a, b in zip(wanted, vector_of(text, size), strict=True)) for text in documents]
    best = sorted(range(len(scores)), key=lambda index: -scores[index])[:top_n]
    results = [
        {
            "index": index,
            "document": {"text": documents[index], "multi_modal": None},
            "relevance_score": scores[index],
        }
        for index in best
    ]
    usage = {"total_tokens": _usage([query, *documents])["total_tokens"]}
    return {"id": "rerank-sandbox", "model": model, "usage": usage, "results": results}


def text_of(body: Any) -> str:
    """Return the texts to embed, one per line, or the query to rank by, of an accepted body."""
    given = body["query"] if "query" in body else body["input"]
    return given if isinstance(given, str) else "\n".join(given)


def _model_of(body: Any) -> tuple[str, tuple[int, int, int]]:
    model = body.get("model") if isinstance(body, dict) else None
    if not isinstance(model, str):
        raise VectorError("payload validation: model is required")
    if model not in DIMENSIONS:
        raise VectorError(f"model '{model}' not found", 422)
    return model, DIMENSIONS[model]


def _texts(value: Any, name: str) -> list[str]:
    if not isinstance(value, list) or not value or not all(isinstance(text, str) and text for text in value):
        raise VectorError(f"payload validation: {name} must be texts, and not empty")
    return value


def _little_endian(vector: list[float]) -> bytes:
    numbers = array("f", vector)
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers.tobytes()


def _usage(texts: list[str]) -> dict[str, int]:
    tokens = sum(len(text.split()) for text in texts)
    return {"prompt_tokens": tokens, "total_tokens": tokens}
