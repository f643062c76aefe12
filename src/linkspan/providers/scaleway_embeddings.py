"""Encode and decode embedding calls of Scaleway Generative APIs (docs/apis/scaleway.md#embeddings)."""

from __future__ import annotations

import base64
import sys
from array import array
from collections.abc import Iterable
from dataclasses import dataclass
from math import isfinite
from typing import TYPE_CHECKING, Any

from linkspan.errors import InvalidRequestError, InvalidResponseError, UnsupportedContentError
from linkspan.providers.chat_completions.decode import decode_usage
from linkspan.providers.error_bodies import request_id_of
from linkspan.providers.scaleway import SCALEWAY, read_object
from linkspan.providers.wire import as_name
from linkspan.rate_limits import rate_limit_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from linkspan.conversation import Usage

__all__ = [
    "EMBEDDINGS_PATH",
    "LARGEST_INPUT",
    "Embedded",
    "checked_texts",
    "decode_embeddings",
    "encode_embeddings",
    "most_texts",
    "without_text",
]

#: The route below the base URL.
EMBEDDINGS_PATH = "embeddings"
#: Most bytes of text per request: 2,048 chunks of 4 kB. Scaleway documents no limit, but gateways have one.
LARGEST_INPUT = 8 * 1024 * 1024

#: Most texts per request: the model's limit if Scaleway documents it, else the default.
_MOST_TEXTS = {"qwen3-embedding-8b": 2048}
_MOST_TEXTS_ELSEWHERE = 32
#: For more texts than this, vectors are requested as base64.
_MOST_WRITTEN_OUT = 32
#: Most positions that an error lists.
_MOST_LISTED = 10

_NAME = SCALEWAY.name


@dataclass(slots=True)
class Embedded:
    """Vectors in the order of the texts.

    Attributes:
        vectors: One list of floats per text, all of the same length.
        usage: The server's token counts; ``None`` if it sent none.
        model: The model's name, as the answer gives it.
        request_id: The server's id of the request.
        rate_limit: The rate limits in the answer's headers.
    """

    vectors: list[list[float]]
    usage: Usage | None = None
    model: str | None = None
    request_id: str | None = None
    rate_limit: dict[str, int | str] | None = None


def most_texts(model: str) -> int:
    """Return the most texts per request for a model; names of dedicated deployments (``vendor/…``) work too."""
    return _MOST_TEXTS.get(model.rpartition("/")[2].partition(":")[0], _MOST_TEXTS_ELSEWHERE)


def without_text(texts: Sequence[str]) -> list[int]:
    """Return the positions of empty and blank texts, which come from scans, pictures and empty pages."""
    return [place for place, text in enumerate(texts) if not text or text.isspace()]


def checked_texts(given: Iterable[Any], *, may_be_blank: bool = False) -> list[str]:
    """Return the texts as a list; refuse those that Scaleway cannot embed, before anything is sent.

    Raises:
        UnsupportedContentError: ``given`` does not hold strings.
        InvalidRequestError: Texts are empty or blank; the error names their positions.
    """
    if isinstance(given, (str, bytes)) or not isinstance(given, Iterable):
        raise UnsupportedContentError(
            f"{_NAME}: embeddings take a list of texts, not a single {type(given).__name__}.", provider=_NAME
        )
    texts = list(given)
    for index, text in enumerate(texts):
        if not isinstance(text, str):
            raise UnsupportedContentError(
                f"{_NAME}: embeddings take strings; item {index} is of type {type(text).__name__}.", provider=_NAME
            )
    blank = [] if may_be_blank else without_text(texts)
    if blank:
        places = ", ".join(map(str, blank[:_MOST_LISTED])) + (", …" if len(blank) > _MOST_LISTED else "")
        named = f"text {places} of {len(texts)} is" if len(blank) == 1 else f"{len(blank)} of {len(texts)} texts are"
        raise InvalidRequestError(
            f"{_NAME}: {named} empty or blank{'' if len(blank) == 1 else f' (places {places})'}, and a blank text "
            "cannot be embedded. Nothing was sent. Leave out documents and nodes without text (scans, pictures, "
            'empty pages), or set blank_texts="zeros" to get a vector of zeros for each.',
            provider=_NAME,
        )
    return texts


def encode_embeddings(
    model: str, texts: Sequence[str], *, dimensions: int | None = None, extra_body: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Encode the body of one request."""
    body: dict[str, Any] = {"model": model, "input": list(texts)}
    if len(texts) > _MOST_WRITTEN_OUT:
        # A quarter of the size of decimal numbers: 45 instead of 180 MB for 2,048 vectors of 4,096. Scaleway's samples
        # use OpenAI's client, which always requests it. A server that ignores it sends numbers, which are decoded too.
        body["encoding_format"] = "base64"
    if dimensions is not None:
        body["dimensions"] = dimensions
    return {**body, **(extra_body or {})}


def decode_embeddings(
    body: bytes, headers: Mapping[str, str], *, count: int, dimensions: int | None = None
) -> Embedded:
    """Decode an answer: vectors sorted by ``index``, as lists of numbers or as base64 of little-endian float32.

    Raises:
        InvalidResponseError: The answer does not hold exactly one vector of finite numbers per text.
        LinkspanError: The answer is an error with status 200.
    """
    parsed = read_object(body, headers)
    request_id = request_id_of(headers)
    try:
        vectors = _vectors(parsed.get("data"), count)
        _check_lengths(vectors, dimensions)
    except ValueError as error:
        raise InvalidResponseError(f"{_NAME}: {error}", provider=_NAME, request_id=request_id) from None
    model = as_name(parsed.get("model"), "model")
    return Embedded(vectors, decode_usage(parsed.get("usage")), model, request_id, rate_limit_of(headers))


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
    is_packed = isinstance(value, str)
    if is_packed:
        value = _from_base64(value, index)
    if not isinstance(value, list) or not value:
        raise ValueError(f"embedding {index} of the answer holds no vector.")
    try:
        # Fast path: the sum is finite if every number is, unless it overflows. So check again before refusing.
        finite = isfinite(sum(value)) or all(map(isfinite, value))
    except (TypeError, OverflowError):
        finite = False
    if not finite:
        raise ValueError(
            f"embedding {index} of the answer holds something that is not a finite number (NaN, null, text)."
        )
    return value if is_packed else list(map(float, value))


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
            f"dimensions={dimensions} was requested, but the embeddings have {lengths.pop()}: this model's length may "
            "be fixed; leave dimensions out."
        )
