"""Build the ``parameters`` object of TGI's ``generate``: drop values that mean "unset", refuse impossible ones.

Source: docs/apis/datacrunch.md#parameters. Only rules of every TGI server are checked here. Limits that an operator can
change (``best_of`` above 2, ``top_n_tokens`` above 5, token limits) are left to the server.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from math import isfinite
from typing import TYPE_CHECKING, Any

from linkspan.errors import InvalidRequestError, UnsupportedContentError
from linkspan.providers.datacrunch.grammar import check_grammar
from linkspan.providers.datacrunch.parameter_apis import refuse_foreign
from linkspan.providers.datacrunch.provider import DATACRUNCH
from linkspan.providers.idle_demands import without_idle_demands

if TYPE_CHECKING:
    from collections.abc import Sequence

    from linkspan.conversation import PromptRequest

__all__ = ["DEFAULT_MAX_NEW_TOKENS", "GENERATE_FIELDS", "PARAMETERS", "encode_parameters", "stop_texts"]

#: Sent unless set, because servers default to 20, 100 or unlimited, depending on their version. With 512, a prompt of
#: 1024 tokens fits the smallest default limits.
DEFAULT_MAX_NEW_TOKENS = 512

_NAME = DATACRUNCH.name
_MOST_STOPS = 4
_U64 = 2**64 - 1
_U32 = 2**32 - 1

_BOOLEANS = ("do_sample", "return_full_text", "watermark", "details", "decoder_input_details")
#: Integers: smallest, largest, and the error's advice.
_INTEGERS: Mapping[str, tuple[int, int, str]] = {
    "best_of": (0, _U64, "Leave it out for one answer."),
    "max_new_tokens": (1, _U32, f"Leave it out for {DEFAULT_MAX_NEW_TOKENS}."),
    "seed": (0, _U64, "Leave it out for a random one."),
    "top_k": (1, 2**31 - 1, "Leave it out for no limit; TGI knows neither 0 nor -1 for that."),
    "top_n_tokens": (0, _U32, "Leave it out for no alternatives."),
    "truncate": (1, _U64, "Leave it out to send the whole prompt."),
}
_NUMBERS = ("temperature", "repetition_penalty", "frequency_penalty", "top_p", "typical_p")
_FREE = ("grammar", "adapter_id", "stop")
#: Sampling filters; meaningless with greedy decoding.
_SAMPLERS = ("top_k", "top_p", "typical_p")

#: Parameters that are fields of both frameworks' classes, in the documentation's order.
GENERATE_FIELDS = (
    "temperature",
    "max_tokens",
    "do_sample",
    "top_k",
    "top_p",
    "typical_p",
    "repetition_penalty",
    "frequency_penalty",
    "seed",
    "best_of",
    "truncate",
    "watermark",
    "return_full_text",
    "details",
    "decoder_input_details",
    "top_n_tokens",
    "grammar",
    "adapter_id",
)

#: Every name allowed in ``PromptRequest.parameters``; ``max_tokens`` is an alias of ``max_new_tokens``.
PARAMETERS: frozenset[str] = frozenset((*_BOOLEANS, *_INTEGERS, *_NUMBERS, *_FREE, "max_tokens"))


def stop_texts(request: PromptRequest) -> tuple[str, ...]:
    """Return every stop text of a request: its own, and those in its parameters and extra body."""
    found: list[str] = []
    for value in (
        request.stop,
        request.parameters.get("stop"),
        (request.extra_body.get("parameters") or {}).get("stop"),
    ):
        found.extend(_as_list(value))
    return tuple(dict.fromkeys(found))


def encode_parameters(request: PromptRequest, *, stream: bool) -> dict[str, Any]:
    """Build the ``parameters`` object: what was set, ``max_new_tokens``, and ``details`` unless turned off.

    ``temperature=0`` means greedy decoding. TGI refuses the value, so it is dropped, together with ``top_k``, ``top_p``
    and ``typical_p``, which would turn sampling on. ``top_p=1`` and ``typical_p=1`` mean "no limit"; TGI refuses these
    too, so they are dropped. ``extra_body["parameters"]`` is merged last, unchecked.

    Raises:
        UnsupportedContentError: TGI does not know a parameter and would ignore it silently.
        InvalidRequestError: Every TGI server refuses a value, or a combination.
    """
    on_top = request.extra_body.get("parameters") or {}
    if not isinstance(on_top, Mapping):
        raise _refusal("extra_body['parameters']", on_top, "is not a mapping", "Give a dict of parameters.")
    given = without_idle_demands(request.parameters)
    _check_names(given)
    limit = _one_limit(given)
    parameters: dict[str, Any] = {"max_new_tokens": DEFAULT_MAX_NEW_TOKENS if limit is None else limit, "details": True}
    for name, value in given.items():
        if name != "stop":
            parameters[name] = _checked(name, value)
    stops = tuple(dict.fromkeys((*request.stop, *_as_list(given.get("stop")))))
    if stops:
        parameters["stop"] = _checked_stops(stops)
    _leave_out_what_means_nothing(parameters)
    _check_together(parameters, stream=stream)
    parameters.update(on_top)
    return parameters


def _leave_out_what_means_nothing(parameters: dict[str, Any]) -> None:
    for name in ("top_p", "typical_p"):
        if name in parameters and _as_f32(parameters[name]) == 1:
            del parameters[name]
    if "temperature" in parameters and _as_f32(parameters["temperature"]) == 0:
        if parameters.get("do_sample"):
            raise _refusal("temperature", 0, "means greedy decoding, but do_sample=True turns sampling on", "Set one.")
        for name in ("temperature", *_SAMPLERS):
            parameters.pop(name, None)


def _refusal(name: str, value: Any, rule: str, way_out: str) -> InvalidRequestError:
    return InvalidRequestError(f"{_NAME}: {name}={value!r} {rule}. {way_out}", provider=_NAME)


def _check_names(given: Mapping[str, Any]) -> None:
    refuse_foreign("generate", given, UnsupportedContentError)
    for name in given:
        if name not in PARAMETERS:
            raise UnsupportedContentError(
                f"{_NAME}: TGI has no parameter {name!r} and would ignore it silently. Known are "
                f"{', '.join(sorted(PARAMETERS - {'max_tokens'}))}. Pass others that your server knows in "
                'extra_body={"parameters": {...}}.',
                provider=_NAME,
            )


def _one_limit(given: dict[str, Any]) -> Any:
    """Rename ``max_tokens``, the frameworks' name, to ``max_new_tokens``; return the limit."""
    other = given.pop("max_tokens", None)
    limit = given.get("max_new_tokens")
    if other is not None and limit is not None and other != limit:
        raise _refusal("max_tokens", other, f"and max_new_tokens={limit!r} are two names for one limit", "Set one.")
    if limit is None and other is not None:
        given["max_new_tokens"] = limit = other
    return limit


def _checked(name: str, value: Any) -> Any:
    if name in _BOOLEANS:
        if not isinstance(value, bool):
            raise _refusal(name, value, "is not True or False", "TGI accepts only these.")
    elif name in _INTEGERS:
        _check_integer(name, value)
    elif name in _NUMBERS:
        _check_number(name, value)
    elif name == "grammar":
        return check_grammar(value)
    elif not isinstance(value, str) or not value:
        raise _refusal(name, value, "is not a name", "Give the adapter's id as text.")
    return value


def _checked_stops(stops: Sequence[Any]) -> list[str]:
    for stop in stops:
        if not isinstance(stop, str) or not stop:
            raise _refusal("stop", stop, "is not a stop text: each must be text, and not empty", "Leave it out.")
    if len(stops) > _MOST_STOPS:
        raise _refusal(
            "stop",
            list(stops),
            f"has {len(stops)} texts, and TGI takes {_MOST_STOPS}",
            f"Give at most {_MOST_STOPS}; to a server with a higher limit, pass them in "
            'extra_body={"parameters": {"stop": [...]}}.',
        )
    return list(stops)


def _check_together(parameters: Mapping[str, Any], *, stream: bool) -> None:
    best_of = parameters.get("best_of", 1)
    if stream and parameters.get("decoder_input_details"):
        raise _refusal(
            "decoder_input_details", value=True, rule="does not work in a stream", way_out="Call without streaming."
        )
    if stream and best_of != 1:
        raise _refusal("best_of", best_of, "does not work in a stream", "Call without streaming.")
    if best_of <= 1:
        return
    if "seed" in parameters:
        raise _refusal(
            "best_of",
            best_of,
            "does not work with a seed: the answers would all be the same",
            "Leave out seed, or best_of.",
        )
    if not (parameters.get("do_sample") or any(name in parameters for name in ("temperature", *_SAMPLERS))):
        raise _refusal(
            "best_of",
            best_of,
            "needs sampling: greedy answers would all be the same",
            "Set do_sample=True, or a temperature above 0.",
        )


def _check_integer(name: str, value: Any) -> None:
    low, high, way_out = _INTEGERS[name]
    if not isinstance(value, int) or isinstance(value, bool):
        raise _refusal(name, value, "is not a whole number", way_out)
    if not low <= value <= high:
        rule = f"is below {low}" if value < low else f"is above {high}"
        raise _refusal(name, value, rule, way_out)


def _check_number(name: str, value: Any) -> None:
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not isfinite(value):
        raise _refusal(name, value, "is not a number", "Leave it out for TGI's default.")
    if name == "temperature" and value < 0:
        raise _refusal(name, value, "is below 0", "0 means greedy decoding; leave it out for TGI's default.")
    if name == "repetition_penalty" and _as_f32(value) <= 0:
        raise _refusal(name, value, "is not above 0", "1 means no penalty.")
    if name == "frequency_penalty" and not -2 <= value <= 2:
        raise _refusal(name, value, "is not between -2 and 2", "0 means no penalty.")
    if name in ("top_p", "typical_p") and not (_as_f32(value) > 0 and value <= 1):
        raise _refusal(name, value, "is not above 0 and at most 1", "Leave it out for no limit.")


def _as_list(value: Any) -> Sequence[Any]:
    return [value] if isinstance(value, str) else value or ()


def _as_f32(value: float) -> float:
    """Return the number as TGI's 32-bit float: 0.99999999 becomes 1."""
    try:
        return float(struct.unpack("f", struct.pack("f", value))[0])
    except OverflowError:
        return float("inf")
