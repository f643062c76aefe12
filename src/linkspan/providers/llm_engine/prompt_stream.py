"""Decode v1 streams: event data in, deltas out (docs/apis/llm_engine.md#streams)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from linkspan.conversation import Delta, TokenLogprob, Usage
from linkspan.errors import InterruptedStreamError, InvalidResponseError
from linkspan.providers.chat_completions.decode import unknown_fields
from linkspan.providers.error_bodies import request_id_of
from linkspan.providers.llm_engine.errors import reported_error
from linkspan.providers.llm_engine.provider import LLM_ENGINE
from linkspan.providers.unknown_fields import join_fields
from linkspan.providers.wire import as_count, as_name, as_number, as_text, not_an_object, parse_json, wrong_type

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from linkspan.errors import LinkspanError

__all__ = ["KNOWN_FIELDS", "KNOWN_OUTPUT", "PromptStreamDecoder", "finish_reason_at_limit", "read_token", "read_usage"]

_NAME = LLM_ENGINE.name

KNOWN_FIELDS = frozenset({"request_id", "output", "error"})
KNOWN_OUTPUT = frozenset({"text", "finished", "num_prompt_tokens", "num_completion_tokens", "token", "tokens"})


def read_usage(prompt_tokens: Any, completion_tokens: Any) -> Usage | None:
    """Read token counts, where 0 means "not counted"; ``None`` if nothing was counted."""
    given = as_count(prompt_tokens, "num_prompt_tokens") or None
    made = as_count(completion_tokens, "num_completion_tokens") or None
    if given is None and made is None:
        return None
    total = given + made if given is not None and made is not None else None
    raw = {"num_prompt_tokens": prompt_tokens, "num_completion_tokens": completion_tokens}
    return Usage(input_tokens=given, output_tokens=made, total_tokens=total, raw=raw)


def finish_reason_at_limit(usage: Usage | None, limit: Any) -> str | None:
    """Return ``"length"`` if the count reached the limit, else ``None``: the API sends no finish reason."""
    made = None if usage is None else usage.output_tokens
    return "length" if made is not None and type(limit) is int and made >= limit else None


def read_token(token: Any) -> TokenLogprob:
    """Read a token and its log probability."""
    if token.__class__ is not dict:
        raise wrong_type(token, "a token", "an object")
    return TokenLogprob(as_text(token.get("token"), "token"), as_number(token.get("log_prob"), "log_prob"))


class PromptStreamDecoder:
    """Decodes one stream.

    ``finished: true`` ends the answer, whatever the server appends. Without it the answer is incomplete, except from
    TensorRT-LLM, which never sends it: there, the end of the stream ends the answer. DeepSpeed counts no tokens and
    repeats the whole text at the end, of which only new text is used.

    Args:
        headers: The stream's headers.
        limit: The request's limit of generated tokens.
        ends_unsaid: Whether the end of the stream ends the answer.
    """

    #: This decoder never ends an answer before the server does.
    cut_short = False

    __slots__ = (
        "_ends_unsaid",
        "_extra",
        "_headers",
        "_limit",
        "_made",
        "_prompt_tokens",
        "_request_id",
        "_seen",
        "_uncounted",
        "finished",
    )

    def __init__(self, headers: Mapping[str, str], *, limit: Any, ends_unsaid: bool = False) -> None:
        self._headers = headers
        self._limit = limit
        self._ends_unsaid = ends_unsaid
        self._extra: dict[str, Any] = {}
        self._made: int | None = None
        self._prompt_tokens: int | None = None
        self._request_id: str | None = None
        self._seen = False
        #: Text of the events without a token count.
        self._uncounted: list[str] = []
        self.finished = False

    @property
    def complete(self) -> bool:
        """Whether the answer is complete."""
        return self.finished

    def end(self) -> None:
        """Mark the answer as complete because a filter ended it, whatever the server still sends."""
        self.finished = True

    def feed(self, data: bytes) -> Sequence[Delta]:
        """Process the data of one event.

        Raises:
            InvalidResponseError: The event is not a JSON object.
            LinkspanError: The event is an error.
        """
        if self.finished or data[:6] == b"[DONE]" or not data.strip():
            return ()
        event = parse_json(data, _NAME)
        if not isinstance(event, dict):
            raise not_an_object(event, "an event of the stream", _NAME)
        if self._request_id is None:
            self._request_id = as_name(event.get("request_id"), "request_id")
        is_known = KNOWN_FIELDS.issuperset(event)
        error = self._error(event) if event.get("error") or not is_known else None
        if error is not None:
            raise error
        if not is_known:
            join_fields(self._extra, unknown_fields(event, KNOWN_FIELDS), pieces=False)
        output = event.get("output")
        return () if output is None else self._take(output)

    def _take(self, output: Any) -> Sequence[Delta]:
        if output.__class__ is not dict:
            raise wrong_type(output, "output", "an object")
        text = output.get("text") or ""
        if text.__class__ is not str:
            text = as_text(text, "output.text")
        made = output.get("num_completion_tokens")
        if made.__class__ is not int:
            made = as_count(made, "num_completion_tokens")
        self._seen = True
        finished = output.get("finished")
        if finished:
            if finished is not True:
                raise wrong_type(finished, "finished", "true or false")
            self._prompt_tokens = as_count(output.get("num_prompt_tokens"), "num_prompt_tokens")
            self.finished = True
            text = self._without_repetition(text)
        elif made is None:
            self._uncounted.append(text)
        if made is not None:
            self._made = made
        if not KNOWN_OUTPUT.issuperset(output):
            join_fields(self._extra, unknown_fields(output, KNOWN_OUTPUT), pieces=False)
        token = output.get("token")
        if token:
            return (Delta(text, logprobs=(read_token(token),)),)
        return (Delta(text),) if text else ()

    def _without_repetition(self, text: str) -> str:
        so_far = "".join(self._uncounted)
        return text[len(so_far) :] if so_far and text.startswith(so_far) else text

    def _error(self, event: Mapping[str, Any]) -> LinkspanError | None:
        event = event if event.get("request_id") else {**event, "request_id": self._request_id}
        return reported_error(event, self._headers)

    def close(self) -> Sequence[Delta]:
        """Process the end of the stream.

        Raises:
            InvalidResponseError: The stream held no answer.
            InterruptedStreamError: The stream ended without ``finished: true``.
        """
        request_id = self._request_id or request_id_of(self._headers)
        if not self._seen:
            raise InvalidResponseError(f"{_NAME}: the stream held no answer.", provider=_NAME, request_id=request_id)
        if not (self.finished or self._ends_unsaid):
            raise InterruptedStreamError(
                f'{_NAME}: the stream ended before the answer did, without "finished": true. If the endpoint runs '
                f"TensorRT-LLM, which never sends it, set inference_framework='tensorrt_llm'.",
                provider=_NAME,
                request_id=request_id,
            )
        usage = read_usage(self._prompt_tokens, self._made)
        reason = finish_reason_at_limit(usage, self._limit)
        return (Delta(finish_reason=reason, usage=usage, request_id=request_id, extra=self._extra or None, last=True),)
