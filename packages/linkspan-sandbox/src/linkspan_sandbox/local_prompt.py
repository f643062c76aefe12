"""Raw prompts for llama.cpp's server: encode requests to its ``/completion`` route and decode its events.

Unlike the Chat Completions routes, this one returns each token with its id.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from linkspan.conversation import Delta, TokenLogprob, Usage
from linkspan.providers.filters.stops import StopCutter
from linkspan_sandbox.engine import Call, EngineError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

__all__ = ["PromptReader", "constraint_of", "prompt_body", "read_prompt_tokens"]

#: llama.cpp's names that differ from the usual ones.
_NAMES = {"repetition_penalty": "repeat_penalty"}
_FINISH_REASONS = {"eos": "stop", "word": "stop", "limit": "length"}

if TYPE_CHECKING:
    #: Looks up the text of a special token, which is empty in events.
    TextOfToken = Callable[[int], Awaitable[str]]


def prompt_body(call: Call, tokens: Sequence[TokenLogprob] | None) -> dict[str, Any]:
    """Build the body. ``tokens`` are the prompt's, if they had to be looked up."""
    prompt: Any = call.prompt if tokens is None else [token.id for token in tokens]
    body: dict[str, Any] = {_NAMES.get(name, name): value for name, value in call.parameters.items()}
    body.update(prompt=prompt, stream=True)
    if call.max_tokens is not None:
        body["n_predict"] = call.max_tokens
    if call.stop and not call.keep_stop:
        body["stop"] = list(call.stop)
    if call.tokens or call.logprobs is not None:
        body["n_probs"] = max(1, call.logprobs or 0)
    body.update(constraint_of(call))
    return body


def constraint_of(call: Call) -> dict[str, Any]:
    """Encode a guide as llama.cpp's parameters.

    Raises:
        EngineError: The guide is a regular expression, which llama.cpp does not support.
    """
    if call.guide is None:
        return {}
    kind, value = call.guide.kind, call.guide.value
    if kind == "json":
        return {"json_schema": value}
    if kind == "choice":
        # A grammar's literals use JSON's escapes.
        return {"grammar": "root ::= " + " | ".join(json.dumps(str(text), ensure_ascii=False) for text in value)}
    if kind == "grammar":
        return {"grammar": value}
    raise EngineError("the local engine does not support regular expressions: use a grammar or a choice", status=400)


def read_prompt_tokens(answer: Mapping[str, Any]) -> list[TokenLogprob]:
    """Parse the answer of ``/tokenize``; a piece that is not valid text is a list of bytes."""
    found = []
    for token in answer["tokens"]:
        piece = token["piece"]
        text = piece if isinstance(piece, str) else bytes(piece).decode("utf-8", "replace")
        found.append(TokenLogprob(text, None, id=token["id"]))
    return found


class PromptReader:
    """Decodes the events of one answer.

    ``stopped`` becomes true once a stop text that the answer keeps is complete; llama.cpp would continue.
    """

    def __init__(self, call: Call, text_of_token: TextOfToken) -> None:
        self._call = call
        self._text_of_token = text_of_token
        # llama.cpp omits the stop text; to keep it, search for it here.
        self._cutter = StopCutter(call.stop) if call.keep_stop else None
        self._text = ""
        self._usage: Usage | None = None
        self.stopped = False

    async def read(self, event: Mapping[str, Any]) -> list[Delta]:
        """Read one event."""
        made, given = event["tokens_predicted"], event["tokens_evaluated"]
        self._usage = Usage(given, made, given + made)
        logprobs = await self._logprobs(event.get("completion_probabilities") or ())
        deltas = []
        text = self._up_to_stop(event["content"])
        if text or logprobs:
            deltas.append(Delta(text=text, logprobs=logprobs or None, usage=self._usage))
        if self._cutter is not None and self._cutter.matched is not None:
            self.stopped = True
            deltas.append(self._end("stop", self._cutter.matched))
        elif event.get("stop"):
            deltas.append(self._end(_FINISH_REASONS[event["stop_type"]], event.get("stopping_word")))
        return deltas

    def _end(self, finish_reason: str, stop_text: str | None) -> Delta:
        extra = {"stop_text": stop_text} if stop_text else None
        return Delta(finish_reason=finish_reason, usage=self._usage, extra=extra)

    def _up_to_stop(self, piece: str) -> str:
        """Return the piece, cut after a stop text that it completes."""
        if self._cutter is None:
            return piece
        before = len(self._text)
        self._text += piece
        self._cutter.feed(piece)
        stop = self._cutter.matched
        return piece if stop is None else self._text[before : self._text.index(stop) + len(stop)]

    async def _logprobs(self, entries: Sequence[Mapping[str, Any]]) -> list[TokenLogprob]:
        tokens = [await self._token(entry, with_top=True) for entry in entries]
        # A client that did not request tokens gets only those of the text.
        return tokens if self._call.tokens else [token for token in tokens if not token.special]

    async def _token(self, entry: Mapping[str, Any], *, with_top: bool) -> TokenLogprob:
        # llama.cpp renders special tokens, and only those, as empty text.
        special = not entry["bytes"]
        text = await self._text_of_token(entry["id"]) if special and self._call.tokens else entry["token"]
        tops = entry["top_logprobs"][: self._call.logprobs or 0] if with_top else ()
        return TokenLogprob(
            text,
            entry["logprob"],
            bytes=entry["bytes"],
            id=entry["id"],
            special=special,
            top=[await self._token(top, with_top=False) for top in tops],
        )
