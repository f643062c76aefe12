"""A small embeddings and rerank service for the loopback server: bag-of-words vectors, so likeness means something.

Every word adds one to the place that its checksum names. Two texts are alike as far as they share words.
"""

from __future__ import annotations

import base64
import functools
import json
import math
import re
import struct
import zlib
from typing import TYPE_CHECKING, Any

from tests.support.loopback import http

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.support.loopback import ReceivedRequest, Step

SIZE = 256


def vector_of(text: str, size: int = SIZE) -> list[float]:
    return list(_vector_of(text, size))


# The service and the test each want those of the same texts, thousands of them in some tests.
@functools.lru_cache(20_000)
def _vector_of(text: str, size: int) -> tuple[float, ...]:
    vector = [0.0] * size
    for word in re.findall(r"\w+", text.lower()):
        vector[zlib.crc32(word.encode()) % size] += 1.0
    length = math.sqrt(sum(x * x for x in vector)) or 1.0
    return tuple(x / length for x in vector)


def rounded(vector: Sequence[float]) -> list[float]:
    """What is left after a way through 32-bit floats."""
    return list(struct.unpack(f"<{len(vector)}f", struct.pack(f"<{len(vector)}f", *vector)))


def serve(request: ReceivedRequest) -> Sequence[Step]:
    """Answer both routes; results come in reverse order, so that only their ``index`` says what belongs together."""
    body = request.json()
    answer = _rerank(body) if request.path.endswith("/rerank") else _embed(body)
    return [http(body=json.dumps(answer).encode(), headers={"x-request-id": "req-1"})]


def _embed(body: dict[str, Any]) -> dict[str, Any]:
    vectors = [vector_of(text, body.get("dimensions", SIZE)) for text in body["input"]]
    data = [
        {"object": "embedding", "index": index, "embedding": _written(vector, body.get("encoding_format"))}
        for index, vector in enumerate(vectors)
    ]
    tokens = sum(len(text.split()) for text in body["input"])
    return {
        "object": "list",
        "model": body["model"],
        "data": data[::-1],
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }


def _written(vector: list[float], encoding: str | None) -> Any:
    if encoding == "base64":
        return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
    return vector


def _rerank(body: dict[str, Any]) -> dict[str, Any]:
    query = vector_of(body["query"])
    scores = [sum(a * b for a, b in zip(query, vector_of(text), strict=True)) for text in body["documents"]]
    best = sorted(range(len(scores)), key=lambda index: -scores[index])[: body.get("top_n")]
    return {
        "id": "rerank-1",
        "model": body["model"],
        "usage": {"total_tokens": len(scores)},
        "results": [{"index": index, "relevance_score": scores[index]} for index in best[::-1]],
    }
