"""Fields of a v1 request, and the rules that every inference framework shares (docs/apis/llm_engine.md)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from linkspan.errors import InvalidRequestError, UnsupportedContentError
from linkspan.providers.idle_demands import without_idle_demands
from linkspan.providers.llm_engine.provider import LLM_ENGINE

if TYPE_CHECKING:
    from linkspan.conversation import PromptRequest

__all__ = [
    "DEFAULT_MAX_NEW_TOKENS",
    "DEFAULT_TEMPERATURE",
    "GUIDES",
    "PROMPT_FIELDS",
    "answer_limit",
    "check_one_guide",
    "prompt_parameters",
    "refuse_guides",
    "schema_refusal",
    "stops_to_cut_at",
]

_NAME = LLM_ENGINE.name

#: Always sent, because v1 has no default for these two.
DEFAULT_MAX_NEW_TOKENS = 256
DEFAULT_TEMPERATURE = 0.2

#: Fields that force the answer's shape; vLLM only, and one at a time.
GUIDES = ("guided_json", "guided_regex", "guided_choice", "guided_grammar")

#: All fields of a v1 request except ``prompt``.
PROMPT_FIELDS = (
    "max_new_tokens",
    "temperature",
    "stop_sequences",
    "return_token_log_probs",
    "presence_penalty",
    "frequency_penalty",
    "top_k",
    "top_p",
    "include_stop_str_in_output",
    *GUIDES,
    "skip_special_tokens",
)

#: Lowest and highest value, both allowed.
_RANGES: Mapping[str, tuple[float, float]] = {
    "temperature": (0.0, 1.0),
    "presence_penalty": (0.0, 2.0),
    "frequency_penalty": (0.0, 2.0),
    "top_p": (0.0, 1.0),
}
_WHOLE_NUMBERS = ("max_new_tokens", "top_k")
_FLAGS = ("return_token_log_probs", "include_stop_str_in_output", "skip_special_tokens")


def prompt_parameters(request: PromptRequest, *, guided_decoding: bool = False) -> dict[str, Any]:
    """Check and return the body's fields except the prompt: those that are set, and the two that are always sent.

    ``max_tokens`` is sent as ``max_new_tokens``; ``stop_sequences`` also holds the request's ``stop``. Fields that are
    ``None`` or have no effect (``n=1``) are not sent.

    Raises:
        UnsupportedContentError: The server would silently ignore a field: v1 does not have it, or it is guided and the
            endpoint has no guided decoding.
        InvalidRequestError: Every framework behind LLM Engine refuses a value or a combination.
    """
    given = without_idle_demands(request.parameters)
    if "max_tokens" in given:
        if "max_new_tokens" in given:
            raise _invalid("max_tokens and max_new_tokens are two names for one limit: set only one")
        given["max_new_tokens"] = given.pop("max_tokens")
    _check_known(given)
    if not guided_decoding:
        refuse_guides(given)
    for name, value in given.items():
        _check_value(name, value)
    fields: dict[str, Any] = {"max_new_tokens": DEFAULT_MAX_NEW_TOKENS, "temperature": DEFAULT_TEMPERATURE, **given}
    if fields.get("include_stop_str_in_output") is False:
        # Not sent although it is the default: all frameworks except vLLM refuse the field with any value.
        del fields["include_stop_str_in_output"]
    stops = _stops(request)
    if stops:
        fields["stop_sequences"] = stops
    _check_together(fields)
    return fields


def stops_to_cut_at(request: PromptRequest) -> list[str]:
    """Return the stop texts to cut from an answer; none if the request keeps them in it."""
    return [] if _merged_fields(request).get("include_stop_str_in_output") else _stops(request)


def answer_limit(request: PromptRequest) -> Any:
    """Return the request's limit of generated tokens."""
    asked = _merged_fields(request)
    return asked.get("max_new_tokens") or asked.get("max_tokens") or DEFAULT_MAX_NEW_TOKENS


def _merged_fields(request: PromptRequest) -> dict[str, Any]:
    return {**request.parameters, **request.extra_body}


def _stops(request: PromptRequest) -> list[str]:
    return list(dict.fromkeys([*request.stop, *(request.parameters.get("stop_sequences") or ())]))


def refuse_guides(fields: Mapping[str, Any]) -> None:
    """Refuse guided fields for an endpoint without guided decoding.

    Raises:
        UnsupportedContentError: A guided field is set.
    """
    guides = [name for name in GUIDES if fields.get(name) is not None]
    if guides:
        raise UnsupportedContentError(
            f"{_NAME}: {guides[0]} has no effect where vLLM is 0.12 or newer, as on LLM Engine's current images: the "
            "server would ignore it silently. If the endpoint runs an older image, set guided_decoding=True.",
            provider=_NAME,
        )


def schema_refusal() -> UnsupportedContentError:
    """Return the error for a schema or choices that the prompt API cannot enforce."""
    return UnsupportedContentError(
        f"{LLM_ENGINE.title}: the prompt API (v1) cannot enforce a schema or choices on current images, whose vLLM "
        'ignores guided_json. Use the chat API (ChatLLMEngine with api="v2"), or ask for the shape in the prompt '
        '(LangChain\'s chat class: method="json_mode"; LlamaIndex: pydantic_program_mode="llm"). If the '
        "endpoint runs vLLM before 0.12, set guided_decoding=True.",
        provider=_NAME,
    )


def check_one_guide(fields: Mapping[str, Any]) -> None:
    """Refuse more than one guided field.

    Raises:
        InvalidRequestError: Two are set.
    """
    guides = [name for name in GUIDES if fields.get(name) is not None]
    if len(guides) > 1:
        raise _invalid(f"{' and '.join(guides)} are both set: set only one of the guided fields")


def _check_known(given: Mapping[str, Any]) -> None:
    unknown = [name for name in given if name not in PROMPT_FIELDS]
    if unknown:
        raise UnsupportedContentError(
            f"{LLM_ENGINE.title}'s prompt API (v1) has no field {unknown[0]!r}, and would ignore it silently. It "
            f"has: {', '.join(PROMPT_FIELDS)}. To send it anyway, put it into extra_body.",
            provider=_NAME,
        )


def _check_value(name: str, value: Any) -> None:
    if name in _RANGES:
        _check_range(name, value)
    elif name in _WHOLE_NUMBERS:
        _check_whole_number(name, value)
    elif name in _FLAGS:
        if not isinstance(value, bool):
            raise _invalid(f"{name} must be true or false, not {value!r}")
    elif name in ("stop_sequences", "guided_choice"):
        _check_texts(name, value)
    elif name == "guided_json":
        if not isinstance(value, Mapping):
            raise _invalid(f"guided_json must be a JSON Schema as an object, not {type(value).__name__}")
    elif not isinstance(value, str):
        raise _invalid(f"{name} must be text, not {type(value).__name__}")


def _check_range(name: str, value: Any) -> None:
    low, high = _RANGES[name]
    fits = isinstance(value, (int, float)) and not isinstance(value, bool) and low <= value <= high
    if not fits or (name == "top_p" and value == 0):
        above = "more than 0 and at most" if name == "top_p" else f"between {low:g} and"
        raise _invalid(f"{name} must be {above} {high:g} on the prompt API (v1), not {value!r}")


def _check_whole_number(name: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        raise _invalid(f"{name} must be a whole number, not {value!r}")
    if name == "max_new_tokens" and value < 1:
        raise _invalid(f"max_new_tokens must be at least 1, not {value}")
    if name == "top_k" and (value < -1 or value == 0):
        raise _invalid(f"top_k must be at least 1, or -1 for all tokens, not {value}")


def _check_texts(name: str, value: Any) -> None:
    if isinstance(value, str) or not isinstance(value, (list, tuple)) or not all(isinstance(one, str) for one in value):
        raise _invalid(f"{name} must be a list of texts, not {type(value).__name__}")
    if name == "guided_choice" and not value:
        raise _invalid("guided_choice must hold at least one text")


def _check_together(fields: Mapping[str, Any]) -> None:
    check_one_guide(fields)
    if fields["temperature"] == 0:
        for name, neutral in (("top_k", -1), ("top_p", 1)):
            if fields.get(name, neutral) != neutral:
                raise _invalid(
                    f"{name}={fields[name]!r} cannot be combined with temperature=0, which always takes the most "
                    f"likely token: leave {name} out, or raise temperature"
                )


def _invalid(what: str) -> InvalidRequestError:
    return InvalidRequestError(f"{_NAME}: {what}.", provider=_NAME)
