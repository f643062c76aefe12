"""Embeddings of Scaleway Generative APIs (docs/apis/scaleway.md#embeddings)."""

from __future__ import annotations

import base64
import sys
from array import array
from dataclasses import dataclass
from math import isfinite
from typing import TYPE_CHECKING, Any

from linkspan.errors import InvalidRequestError, InvalidResponseError, UnsupportedContentError
from linkspan.providers.chat_completions.decode import decode_usage, error_in
from linkspan.providers.error_bodies import request_id_of
from linkspan.providers.scaleway import SCALEWAY, ScalewayChatCodec
from linkspan.providers.wire import as_name, parse_json

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from linkspan.conversation import Usage

__all__ = ["EMBEDDINGS_PATH", "Embedded", "check_texts", "decode_embeddings", "encode_embeddings", "read_object"]

#: The route below the base URL.
EMBEDDINGS_PATH = "embeddings"

_NAME = SCALEWAY.name


@dataclass(slots=True)
class Embedded:
    """Vectors, in the order of the texts.

    Attributes:
        vectors: One list of floats per text, all of one length.
        usage: Tokens as the server counted them; ``None`` if it did not.
        model: The model that answered, by its own word.
        request_id: The server's id of the request.
    """

    vectors: list[list[float]]
    usage: Usage | None = None
    model: str | None = None
    request_id: str | None = None


def check_texts(texts: Sequence[Any]) -> None:
    """Refuse what Scaleway does not embed, before anything is sent.

    Raises:
        UnsupportedContentError: It is not a list of strings.
        InvalidRequestError: A text is empty.
    """
    if isinstance(texts, (str, bytes)):
        raise UnsupportedContentError(
            f"{_NAME}: embeddings take a list of texts, not a single {type(texts).__name__}.", provider=_NAME
        )
    for index, text in enumerate(texts):
        if not isinstance(text, str):
            raise UnsupportedContentError(
                f"{_NAME}: embeddings take strings; item {index} is of type {type(text).__name__}.", provider=_NAME
            )
        if not text:
            raise InvalidRequestError(
                f"{_NAME}: text {index} of {len(texts)} is empty, which the API refuses: leave it out.", provider=_NAME
            )


def encode_embeddings(
    model: str, texts: Sequence[str], *, dimensions: int | None = None, extra_body: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Write the body of one request.

    Args:
        model: Name of the model.
        texts: What to embed, at least one.
        dimensions: Length of the vectors, sent only if given.
        extra_body: Merged in last, as it is.
    """
    body: dict[str, Any] = {"model": model, "input": list(texts)}
    if dimensions is not None:
        body["dimensions"] = dimensions
    return {**body, **(extra_body or {})}


def decode_embeddings(
    body: bytes, headers: Mapping[str, str], *, count: int, dimensions: int | None = None
) -> Embedded:
    """Read an answer: vectors sorted by ``index``, given as lists of numbers or as base64 of little-endian float32.

    Args:
        body: The answer's body.
        headers: The answer's headers.
        count: How many texts were sent.
        dimensions: The length that was asked for, ``None`` for the model's own.

    Raises:
        InvalidResponseError: The answer does not hold exactly one vector of finite numbers for each text.
        LinkspanError: It reports an error under status 200.
    """
    parsed = read_object(body, headers)
    request_id = request_id_of(headers)
    try:
        vectors = _vectors(parsed.get("data"), count)
        _check_lengths(vectors, dimensions)
    except ValueError as error:
        raise InvalidResponseError(f"{_NAME}: {error}", provider=_NAME, request_id=request_id) from None
    return Embedded(vectors, decode_usage(parsed.get("usage")), as_name(parsed.get("model"), "model"), request_id)


def read_object(body: bytes, headers: Mapping[str, str]) -> dict[str, Any]:
    """Parse an answer that must be a JSON object.

    Raises:
        InvalidResponseError: It is none.
        LinkspanError: It reports an error under status 200.
    """
    parsed = parse_json(body, _NAME)
    error = error_in(parsed, _NAME, headers)
    if error is not None:
        raise ScalewayChatCodec().explain(error)
    if not isinstance(parsed, dict):
        raise InvalidResponseError(
            f"{_NAME}: the answer is a JSON {type(parsed).__name__}, not an object.",
            provider=_NAME,
            request_id=request_id_of(headers),
        )
    return parsed


def _vectors(data: Any, count: int) -> list[list[float]]:
    if not isinstance(data, list) or len(data) != count:
        found = f"{len(data)} embeddings" if isinstance(data, list) else "no list of embeddings"
        raise ValueError(f"{count} texts were sent, but the answer holds {found}.")
    by_index: dict[int, list[float]] = {}
    for position, item in enumerate(data):
        fields: dict[str, Any] = item if isinstance(item, dict) else {}
        index = fields.get("index", position)
        if type(index) is not int or not 0 <= index < count or index in by_index:
            raise ValueError(f"the answer's index {index!r} is unusable or occurs twice, for {count} texts.")
        by_index[index] = _vector(fields.get("embedding"), index)
    return [by_index[index] for index in range(count)]


def _vector(value: Any, index: int) -> list[float]:
    if isinstance(value, str):
        value = _from_base64(value, index)
    if not isinstance(value, list) or not value:
        raise ValueError(f"embedding {index} of the answer holds no vector.")
    try:
        finite = all(map(isfinite, value))
    except (TypeError, OverflowError):
        finite = False
    if not finite:
        raise ValueError(f"embedding {index} of the answer holds something that is no finite number (NaN, null, text).")
    return list(map(float, value))


def _from_base64(value: str, index: int) -> list[float]:
    try:
        numbers = array("f")
        numbers.frombytes(base64.b64decode(value, validate=True))
    except ValueError:
        raise ValueError(f"embedding {index} of the answer is text that is not base64 of 32-bit floats.") from None
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers.tolist()


def _check_lengths(vectors: Sequence[Sequence[float]], dimensions: int | None) -> None:
    lengths = {len(vector) for vector in vectors}
    if len(lengths) > 1:
        raise ValueError(f"the answer's embeddings differ in length: {sorted(lengths)}.")
    if dimensions is not None and lengths and lengths != {dimensions}:
        raise ValueError(
            f"dimensions={dimensions} was asked for, but the embeddings have {lengths.pop()}: this model's length may "
            "be fixed; leave dimensions out."
        )
