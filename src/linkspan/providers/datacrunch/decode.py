"""Decode TGI's answers: whole ones, and what they share with a stream's events.

Source: docs/apis/datacrunch.md#answers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from linkspan.conversation import Completion, TokenLogprob, Usage
from linkspan.errors import InvalidResponseError
from linkspan.providers.chat_completions.decode import unknown_fields
from linkspan.providers.datacrunch.errors import tgi_error_in
from linkspan.providers.datacrunch.hints import is_sglang_answer, sglang_answer
from linkspan.providers.datacrunch.parameters import stop_texts
from linkspan.providers.datacrunch.provider import DATACRUNCH
from linkspan.providers.error_bodies import request_id_of
from linkspan.providers.filters.stops import StopCutter
from linkspan.providers.wire import (
    as_count,
    as_flag,
    as_list,
    as_name,
    as_number,
    as_object,
    as_text,
    parse_json,
    wrong_type,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from linkspan.conversation import Delta, PromptRequest

__all__ = [
    "STOPPED",
    "asks_for_logprobs",
    "count_tokens",
    "decode_generated",
    "decode_token",
    "extra_of",
    "full_text_prompt",
    "put_common_words",
    "wants_details",
]

#: TGI's finish reason at a stop text.
STOPPED = "stop_sequence"

#: Most digits of a count in a header.
_LONGEST_COUNT = 18

#: TGI's finish reasons of complete answers.
_ENDED = frozenset({"eos_token", STOPPED})
_KNOWN_DETAILS = frozenset({"finish_reason", "tokens", "prompt_tokens"})
_KNOWN_TOP = frozenset({"generated_text", "details"})
_KNOWN_LIGHTLLM = frozenset({"generated_text", "finish_reason", "count_output_tokens", "prompt_tokens"})


def decode_generated(content: bytes, headers: Mapping[str, str], request: PromptRequest) -> Completion:
    """Decode a whole answer: an object, or a list with one object.

    Raises:
        InvalidResponseError: It is not TGI's answer.
        LinkspanError: The answer is an error with status 200.
    """
    parsed = parse_json(content, DATACRUNCH.name)
    error = tgi_error_in(parsed, headers)
    if error is not None:
        raise error
    if is_sglang_answer(parsed):
        raise sglang_answer(request_id_of(headers))
    if isinstance(parsed, list) and len(parsed) == 1:
        parsed = parsed[0]
    generated = parsed.get("generated_text") if isinstance(parsed, dict) else None
    if isinstance(generated, list) and generated:
        return _decode_lightllm(parsed, headers, request)
    if not isinstance(generated, str):
        held = ", ".join(parsed) if isinstance(parsed, dict) else f"a {type(parsed).__name__}"
        raise InvalidResponseError(
            f"{DATACRUNCH.name}: the answer is not TGI's: generated_text is missing (it holds: {held or 'nothing'}).",
            provider=DATACRUNCH.name,
            request_id=request_id_of(headers),
        )
    details = as_object(parsed.get("details"), "details")
    answer = Completion(
        finish_reason=as_name(details.get("finish_reason"), "finish_reason"),
        usage=count_tokens(details, headers),
        logprobs=_logprobs(details),
        request_id=request_id_of(headers),
        extra={**unknown_fields(parsed, _KNOWN_TOP), **extra_of(details)},
        raw=parsed,
    )
    _put_text(answer, generated, request)
    put_common_words(answer)
    return answer


def _decode_lightllm(parsed: Mapping[str, Any], headers: Mapping[str, str], request: PromptRequest) -> Completion:
    """Decode an answer of LightLLM's ``/generate``, which may hold several texts and their counts.

    ``finish_reason`` and ``count_output_tokens`` are lists if there are several texts.
    """
    texts = as_list(parsed["generated_text"], "generated_text")
    reasons = _one_each(parsed.get("finish_reason"), len(texts))
    counts = _one_each(parsed.get("count_output_tokens"), len(texts))
    answers = []
    for text, reason in zip(texts, reasons, strict=True):
        answer = Completion(finish_reason=as_name(reason, "finish_reason"), request_id=request_id_of(headers))
        _put_text(answer, as_text(text, "generated_text"), request)
        put_common_words(answer)
        answers.append(answer)
    first = answers[0]
    first.alternatives = answers[1:]
    made = [as_count(count, "count_output_tokens") for count in counts]
    known = [count for count in made if count is not None]
    first.usage = _usage_of(
        as_count(parsed.get("prompt_tokens"), "prompt_tokens"), sum(known) if len(known) == len(made) else None
    )
    first.extra.update(unknown_fields(parsed, _KNOWN_LIGHTLLM))
    first.raw = parsed
    return first


def _one_each(value: Any, count: int) -> list[Any]:
    """Return one value per answer; all ``None`` if the list has another length."""
    values = value if isinstance(value, list) else [value] if count == 1 else []
    return values if len(values) == count else [None] * count


def _put_text(answer: Completion, generated: str, request: PromptRequest) -> None:
    """Set the text, cut before the first stop text, which TGI leaves in or may even miss.

    If the answer should begin with the prompt, it does, even if the server ignores ``return_full_text``.
    """
    prompt = full_text_prompt(request)
    spoken = generated.removeprefix(prompt)
    cutter = StopCutter(stop_texts(request))
    kept = cutter.feed(spoken) + cutter.flush()
    answer.text = prompt + kept
    if cutter.matched is not None and len(kept) + len(cutter.matched) < len(spoken):
        # The server went on after the stop text; the rest does not belong to the answer.
        answer.finish_reason = STOPPED
        _drop_tokens_after_stop(answer, request)


def _drop_tokens_after_stop(answer: Completion, request: PromptRequest) -> None:
    cutter = StopCutter(stop_texts(request))
    for number, token in enumerate(answer.logprobs or (), start=1):
        if not token.special:
            cutter.feed(token.token)
        if cutter.matched is not None:
            answer.logprobs = (answer.logprobs or [])[:number]
            if isinstance(answer.extra.get("top_tokens"), list):
                answer.extra["top_tokens"] = answer.extra["top_tokens"][:number]
            return


def full_text_prompt(request: PromptRequest) -> str:
    """Return the prompt if the answer should begin with it, else ``""``."""
    return request.prompt if _parameters(request).get("return_full_text") else ""


def wants_details(request: PromptRequest) -> bool:
    """Whether finish reason, counts and tokens are requested."""
    return _parameters(request).get("details") is not False


def asks_for_logprobs(request: PromptRequest) -> bool:
    """Whether log probabilities are requested explicitly; TGI's streams always contain them."""
    wanted = _parameters(request)
    return wanted.get("details") is True or bool(wanted.get("top_n_tokens"))


def _parameters(request: PromptRequest) -> dict[str, Any]:
    return {**request.parameters, **(request.extra_body.get("parameters") or {})}


def decode_token(token: Any, alternatives: Any = None) -> TokenLogprob:
    """Read a token and its alternatives; a server may send more of these than requested."""
    if token.__class__ is not dict:
        raise wrong_type(token, "a token", "an object")
    text, logprob, identity = token.get("text"), token.get("logprob"), token.get("id")
    if text.__class__ is not str or logprob.__class__ is not float or identity.__class__ is not int:
        text, logprob = as_text(text, "the text of a token"), as_number(logprob, "logprob")
        identity = as_count(identity, "the id of a token")
    special = token.get("special")
    return TokenLogprob(
        text,
        logprob,
        None,
        identity,
        special if special.__class__ is bool else as_flag(special, "special"),
        [decode_token(other) for other in as_list(alternatives, "top_tokens")] if alternatives else (),
    )


def _logprobs(details: Mapping[str, Any]) -> list[TokenLogprob] | None:
    tokens = as_list(details.get("tokens"), "tokens")
    if not tokens:
        return None
    rows = as_list(details.get("top_tokens"), "top_tokens")
    return [decode_token(token, rows[place] if place < len(rows) else None) for place, token in enumerate(tokens)]


def count_tokens(details: Mapping[str, Any], headers: Mapping[str, str]) -> Usage | None:
    """Read token counts from the several places where servers put them; missing ones stay ``None``."""
    generated = _first(
        as_count(details.get("generated_tokens"), "generated_tokens"), _number(headers.get("x-generated-tokens"))
    )
    given = _first(
        _number(headers.get("x-prompt-tokens")),
        as_count(details.get("input_length"), "input_length"),
        as_count(details.get("prompt_tokens"), "prompt_tokens"),
        len(as_list(details.get("prefill"), "prefill")) or None,
    )
    return _usage_of(given, generated)


def _usage_of(given: int | None, made: int | None) -> Usage | None:
    if made is None and given is None:
        return None
    total = None if made is None or given is None else given + made
    return Usage(input_tokens=given, output_tokens=made, total_tokens=total)


def put_common_words(answer: Completion | Delta) -> None:
    """Replace TGI's finish reasons of complete answers by ``"stop"``; ``extra`` keeps them.

    Frameworks' components know ``stop`` and ``length``, and treat other values as failures.
    """
    word = answer.finish_reason
    if word in _ENDED:
        answer.finish_reason = "stop"
        answer.extra = {**(answer.extra or {}), "tgi_finish_reason": word}


def extra_of(details: Mapping[str, Any]) -> dict[str, Any]:
    """Return the details other than finish reason and tokens, by TGI's names, without nulls and empty lists."""
    return {key: value for key, value in unknown_fields(details, _KNOWN_DETAILS).items() if value != []}


def _first(*values: int | None) -> int | None:
    return next((value for value in values if value is not None), None)


def _number(text: str | None) -> int | None:
    """Read a count from a header; ``None`` if it is not a number, because proxies write headers too."""
    return int(text) if text is not None and len(text) <= _LONGEST_COUNT and text.isdecimal() else None
