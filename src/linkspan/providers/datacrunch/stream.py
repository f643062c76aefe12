"""Decode TGI's streams: event data in, deltas out. Source: docs/apis/datacrunch.md#streams."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from linkspan.conversation import Delta, TokenLogprob
from linkspan.errors import InterruptedStreamError, InvalidResponseError
from linkspan.providers.chat_completions.decode import unknown_fields
from linkspan.providers.datacrunch.decode import (
    STOPPED,
    asks_for_logprobs,
    count_tokens,
    decode_token,
    extra_of,
    full_text_prompt,
    put_common_words,
    wants_details,
)
from linkspan.providers.datacrunch.errors import tgi_error_in
from linkspan.providers.datacrunch.hints import is_sglang_answer, sglang_answer
from linkspan.providers.datacrunch.parameters import stop_texts
from linkspan.providers.datacrunch.provider import DATACRUNCH
from linkspan.providers.error_bodies import request_id_of
from linkspan.providers.filters.stops import StopCutter
from linkspan.providers.unknown_fields import join_fields
from linkspan.providers.wire import as_name, as_object, as_text, parse_json

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from linkspan.conversation import PromptRequest

__all__ = ["TGIStreamDecoder"]

_DONE = b"[DONE]"
_KNOWN = frozenset({"index", "token", "top_tokens", "generated_text", "details", "finished", "finish_reason"})


class TGIStreamDecoder:
    """Decodes one stream.

    The text is that of the non-special tokens, cut before the first stop text. A stop text that the server missed (it
    checks only the end of the text after each token) ends the stream: ``cut_short``. TGI sends log probabilities with
    every token. If requested, each delta has its own, and those of tokens without text wait for the next delta with
    text; otherwise the last delta has all of them.
    """

    __slots__ = (
        "_cutter",
        "_details",
        "_extra",
        "_final",
        "_headers",
        "_opening",
        "_pieces",
        "_prompt",
        "_rows",
        "_scores",
        "_scores_each",
        "_shown",
        "_with_scores",
        "cut_short",
        "finished",
    )

    def __init__(self, request: PromptRequest, headers: Mapping[str, str]) -> None:
        self._headers = headers
        self._cutter = StopCutter(stop_texts(request))
        self._prompt = full_text_prompt(request)
        #: Start of the first delta: the prompt, if the answer should repeat it. The tokens do not contain it.
        self._opening = self._prompt
        self._with_scores = wants_details(request)
        self._scores_each = asks_for_logprobs(request)
        #: Those not yet yielded.
        self._scores: list[TokenLogprob] = []
        self._rows: list[Any] = []
        self._pieces: list[str] = []
        self._shown = 0
        self._extra: dict[str, Any] = {}
        self._details: Mapping[str, Any] = {}
        self._final = False
        self.finished = False
        self.cut_short = False

    @property
    def complete(self) -> bool:
        """Whether the last event arrived, or a stop text ended the answer."""
        return self._final or self.cut_short

    def feed(self, data: bytes) -> Sequence[Delta]:
        """Process the data of one event.

        Raises:
            InvalidResponseError: The event is not TGI's.
            LinkspanError: The event is an error.
        """
        if data[:6] == _DONE:
            self.finished = True
            return ()
        if not data.strip():
            return ()
        event = parse_json(data, DATACRUNCH.name)
        token = event.get("token") if isinstance(event, dict) else None
        if not isinstance(token, dict):
            raise tgi_error_in(event, self._headers) or self._foreign(event)
        if not _KNOWN.issuperset(event):
            join_fields(self._extra, unknown_fields(event, _KNOWN), pieces=False)
        text = "" if token.get("special") else as_text(token.get("text"), "the text of a token")
        if self._with_scores:
            self._store_scores(token, event.get("top_tokens"))
        generated = event.get("generated_text")
        if "finished" in event:
            generated = self._take_lightllm(event, token, text)
        if generated is not None:
            return self._end(event, text, as_text(generated, "generated_text"))
        if not text:
            return ()
        self._pieces.append(text)
        text = self._cutter.feed(text)
        if self._cutter.matched is not None:
            self.finished = self.cut_short = True
        return self._hand_out(text)

    def _end(self, event: Mapping[str, Any], text: str, generated: str) -> Sequence[Delta]:
        """Process the last event. ``generated`` is the whole text, not an addition to what was streamed.

        Raises:
            InvalidResponseError: It contradicts what was streamed: events were lost or doubled.
        """
        self._details = as_object(event.get("details"), "details") or self._details
        self._final = self.finished = True
        self._pieces.append(text)
        spoken = "".join(self._pieces)
        whole = generated.removeprefix(self._prompt)
        if len(whole) > len(spoken) and whole.startswith(spoken):
            # The bytes of an unfinished character appear in the whole text, but in no token's.
            text += whole[len(spoken) :]
            spoken = whole
        elif not _agree(spoken, whole):
            raise InvalidResponseError(
                f"{DATACRUNCH.name}: the answer contradicts itself: its final text differs from what was streamed.",
                provider=DATACRUNCH.name,
                request_id=request_id_of(self._headers),
            )
        text = self._cutter.feed(text)
        matched = self._cutter.matched
        text += self._cutter.flush()
        if matched is not None and self._shown + len(text) + len(matched) < len(spoken):
            self._details = {**self._details, "finish_reason": STOPPED}
        return self._hand_out(text)

    def close(self) -> Sequence[Delta]:
        """Process the end of the stream.

        Raises:
            InterruptedStreamError: The last event never arrived.
        """
        request_id = request_id_of(self._headers)
        if not self.complete:
            raise InterruptedStreamError(
                f"{DATACRUNCH.name}: the stream ended before the answer did: its last event is missing.",
                provider=DATACRUNCH.name,
                request_id=request_id,
            )
        details = {"finish_reason": STOPPED} if self.cut_short else self._details
        extra = {**self._extra, **extra_of(details)}
        if self._rows:
            extra["top_tokens"] = self._rows
        last = Delta(
            finish_reason=as_name(details.get("finish_reason"), "finish_reason"),
            usage=count_tokens(details, self._headers),
            logprobs=self._take_scores(),
            request_id=request_id,
            extra=extra or None,
            last=True,
        )
        put_common_words(last)
        # An answer without text still repeats the prompt if requested.
        return (Delta(self._opening), last) if self._opening else (last,)

    def _hand_out(self, text: str) -> Sequence[Delta]:
        if not text:
            return ()
        self._shown += len(text)
        if self._opening:
            text, self._opening = self._opening + text, ""
        return (Delta(text, logprobs=self._take_scores()) if self._scores_each else Delta(text),)

    def _take_scores(self) -> list[TokenLogprob] | None:
        scores, self._scores = self._scores, []
        return scores or None

    def _store_scores(self, token: Mapping[str, Any], row: Any) -> None:
        self._scores.append(decode_token(token, row))
        if row is not None:
            self._rows.append(row)

    def _take_lightllm(self, event: Mapping[str, Any], token: Mapping[str, Any], text: str) -> Any:
        """Read the counts and the finish reason, which LightLLM sends in each event.

        Returns:
            The whole text with the last event, which does not repeat it on LightLLM's own route.
        """
        self._details = {
            "prompt_tokens": token.get("prompt_tokens"),
            "generated_tokens": token.get("count_output_tokens"),
            "finish_reason": event.get("finish_reason"),
        }
        generated = event.get("generated_text")
        return "".join((*self._pieces, text)) if generated is None and event["finished"] is True else generated

    def _foreign(self, event: Any) -> InvalidResponseError:
        if is_sglang_answer(event):
            return sglang_answer(request_id_of(self._headers))
        held = ", ".join(event) if isinstance(event, dict) else type(event).__name__
        return InvalidResponseError(
            f"{DATACRUNCH.name}: an event of the stream is not TGI's: token is missing; it holds {held or 'nothing'}.",
            provider=DATACRUNCH.name,
            request_id=request_id_of(self._headers),
        )


def _agree(spoken: str, whole: str) -> bool:
    """Whether one text starts with the other: the server may cut a stop text from the whole one.

    White space does not count, because servers decode the tokens for both. Nor does what follows an incomplete
    character: some servers decode each token by itself, and one character may have several.
    """
    spoken, whole = ("".join(text.partition("\ufffd")[0].split()) for text in (spoken, whole))
    return spoken.startswith(whole) or whole.startswith(spoken)
