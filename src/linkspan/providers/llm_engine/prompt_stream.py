"""A streamed v1 answer: the data of its events in, deltas out (reference, section 6)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from linkspan.conversation import Delta, TokenLogprob, Usage
from linkspan.errors import InvalidResponseError
from linkspan.providers.chat_completions.decode import unknown_fields
from linkspan.providers.error_bodies import request_id_of
from linkspan.providers.llm_engine.errors import error_of
from linkspan.providers.llm_engine.provider import LLM_ENGINE
from linkspan.providers.wire_json import parse_json

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["KNOWN_OUTPUT", "KNOWN_TOP", "PromptStreamDecoder", "read_usage"]

_NAME = LLM_ENGINE.name

KNOWN_TOP = frozenset({"request_id", "output", "error"})
KNOWN_OUTPUT = frozenset({"text", "finished", "num_prompt_tokens", "num_completion_tokens", "token", "tokens"})


def read_usage(prompt_tokens: Any, completion_tokens: Any) -> Usage | None:
    """Read token counts; 0 stands for "not counted" at this API. ``None`` if nothing was counted."""
    given, made = prompt_tokens or None, completion_tokens or None
    if given is None and made is None:
        return None
    total = given + made if given is not None and made is not None else None
    raw = {"num_prompt_tokens": prompt_tokens, "num_completion_tokens": completion_tokens}
    return Usage(input_tokens=given, output_tokens=made, total_tokens=total, raw=raw)


class PromptStreamDecoder:
    """State of one stream.

    ``finished: true`` ends the answer, whatever the server appends. TensorRT-LLM never says it, so an end without it
    ends the answer too. DeepSpeed counts no tokens and repeats the whole text at the end: only what is new is taken.
    """

    #: This decoder never ends an answer before the server does.
    cut_short = False

    __slots__ = ("_extra", "_headers", "_made", "_prompt_tokens", "_request_id", "_seen", "_uncounted", "finished")

    def __init__(self, headers: Mapping[str, str]) -> None:
        self._headers = headers
        self._extra: dict[str, Any] = {}
        self._made: int | None = None
        self._prompt_tokens: int | None = None
        self._request_id: str | None = None
        self._seen = False
        #: Text of the events without a count of tokens.
        self._uncounted: list[str] = []
        self.finished = False

    @property
    def complete(self) -> bool:
        """Whether the answer is whole."""
        return self.finished

    def end(self) -> None:
        """Take the answer for whole: its reader ended it, whatever the server would still say."""
        self.finished = True

    def feed(self, data: bytes) -> Sequence[Delta]:
        """Take the data of one event.

        Raises:
            InvalidResponseError: It is not a JSON object.
            LinkspanError: It reports an error.
        """
        if self.finished or data[:6] == b"[DONE]" or not data.strip():
            return ()
        event = parse_json(data, _NAME)
        if not isinstance(event, dict):
            raise InvalidResponseError(
                f"{_NAME}: an event of the stream is {type(event).__name__}, not an object.", provider=_NAME
            )
        if self._request_id is None:
            self._request_id = event.get("request_id")
        if event.get("error") or "detail" in event:
            raise self._error(event)
        if not KNOWN_TOP.issuperset(event):
            self._extra.update(unknown_fields(event, KNOWN_TOP))
        output = event.get("output")
        return () if output is None else self._take(output)

    def _take(self, output: Mapping[str, Any]) -> Sequence[Delta]:
        self._seen = True
        text = output.get("text") or ""
        made = output.get("num_completion_tokens")
        if output.get("finished"):
            self.finished = True
            self._prompt_tokens = output.get("num_prompt_tokens")
            text = self._without_repetition(text)
        elif made is None:
            self._uncounted.append(text)
        if made is not None:
            self._made = made
        if not KNOWN_OUTPUT.issuperset(output):
            self._extra.update(unknown_fields(output, KNOWN_OUTPUT))
        token = output.get("token")
        if token:
            return (Delta(text, logprobs=(TokenLogprob(token.get("token") or "", token.get("log_prob")),)),)
        return (Delta(text),) if text else ()

    def _without_repetition(self, text: str) -> str:
        so_far = "".join(self._uncounted)
        return text[len(so_far) :] if so_far and text.startswith(so_far) else text

    def _error(self, event: Mapping[str, Any]) -> Exception:
        event = event if event.get("request_id") else {**event, "request_id": self._request_id}
        return error_of(event, self._headers)

    def feed_texts(self, events: Sequence[bytes]) -> Sequence[Delta] | None:  # noqa: ARG002
        """Take no events: each differs from the one before in more than its text."""
        return None

    def close(self) -> Sequence[Delta]:
        """Take the end of the stream.

        Raises:
            InvalidResponseError: It held no answer at all.
        """
        request_id = self._request_id or request_id_of(self._headers)
        if not self._seen:
            raise InvalidResponseError(f"{_NAME}: the stream held no answer.", provider=_NAME, request_id=request_id)
        usage = read_usage(self._prompt_tokens, self._made)
        return (Delta(usage=usage, request_id=request_id, extra=self._extra or None, last=True),)
