"""Turn an engine's pieces into TGI's tokens: where an answer ends, which token ended it, and its details.

Follows docs/apis/datacrunch.md#answers: it checks the length first, then the end token, then the stop texts. It looks
for stop texts only at the end of the text after each token, so one inside a token is missed.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from linkspan.conversation import Delta, TokenLogprob

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator, Sequence

    from linkspan_sandbox.engine import Call, Engine, HTTPAnswer, Piece, RawEvent
    from linkspan_sandbox.tgi_request import GenerateRequest

__all__ = ["Generation", "Step", "run"]

_END = TokenLogprob("</s>", 0.0, id=2, special=True)


@dataclass(slots=True)
class Step:
    """One generated token; ``finish_reason`` is set on the last one."""

    token: dict[str, Any]
    top_tokens: list[dict[str, Any]] | None
    finish_reason: str | None = None


@dataclass
class Generation:
    """An answer so far."""

    request: GenerateRequest
    steps: list[Step] = field(default_factory=list)
    text: str = ""
    prefill: list[dict[str, Any]] = field(default_factory=list)
    input_tokens: int | None = None

    @property
    def finish_reason(self) -> str | None:
        """TGI's finish reason; ``None`` if the answer did not end."""
        return self.steps[-1].finish_reason if self.steps else None

    @property
    def score(self) -> float:
        """Mean log probability per token, which ``best_of`` compares."""
        return sum(step.token["logprob"] or 0.0 for step in self.steps) / max(1, len(self.steps))

    @property
    def seed(self) -> int | None:
        """The given or drawn seed; ``None`` unless sampled. A prompt always draws the same seed, above 63 bits."""
        if not self.request.sampling:
            return None
        given: int | None = self.request.get("seed")
        return 2**63 + zlib.crc32(self.request.inputs.encode()) if given is None else given

    def take(self, piece: Delta) -> Iterator[Step]:
        """Process a piece; no step follows the one that ends the answer."""
        if piece.usage is not None and piece.usage.input_tokens is not None:
            self.input_tokens = piece.usage.input_tokens
        if piece.extra and "prompt_tokens" in piece.extra:
            self.prefill = [
                {"id": token.id, "text": token.token, "logprob": token.logprob if place else None}
                for place, token in enumerate(piece.extra["prompt_tokens"])
            ]
        for token, text in _tokens(piece):
            yield self._add(token, text, None)
            if self.finish_reason is not None:
                return
        if piece.finish_reason is not None:
            # The engine sent no last token, but TGI always does.
            if piece.finish_reason == "length":
                yield self._add(TokenLogprob("", 0.0, id=0, special=False), "", "length")
            else:
                yield self._add(_END, "", "eos_token")

    def _add(self, token: TokenLogprob, text: str, finish_reason: str | None) -> Step:
        if not token.special:
            self.text += text
        alternatives = self.request.get("top_n_tokens", 0)
        step = Step(
            _token_json(token, token.token if token.special else text),
            [_token_json(top, top.token) for top in token.top or (token,)] if alternatives else None,
        )
        self.steps.append(step)
        step.finish_reason = finish_reason or self._finish_reason(token)
        return step

    def _finish_reason(self, token: TokenLogprob) -> str | None:
        limit = self.request.get("max_new_tokens")
        if limit is not None and len(self.steps) >= limit:
            return "length"
        if token.special:
            return "eos_token"
        ends = (self.text, self.text.removesuffix("\n"))
        stops = [stop for stop in self.request.get("stop", ()) if any(text.endswith(stop) for text in ends)]
        return "stop_sequence" if stops else None


def _tokens(piece: Delta) -> Iterator[tuple[TokenLogprob, str]]:
    """Yield tokens with their texts; several tokens of one piece are parts of one character."""
    tokens: Sequence[TokenLogprob] = piece.logprobs or ()
    if not tokens and piece.text:
        tokens = (TokenLogprob(piece.text, None, id=0, special=False),)
    for place, token in enumerate(tokens, start=1):
        yield token, piece.text if place == len(tokens) else ""


def _token_json(token: TokenLogprob, text: str) -> dict[str, Any]:
    return {"id": token.id or 0, "text": text, "logprob": token.logprob, "special": bool(token.special)}


async def run(engine: Engine, call: Call, generation: Generation) -> AsyncGenerator[Step | RawEvent | HTTPAnswer, None]:
    """Run the engine token by token until TGI would stop it.

    Raises:
        EngineError: The engine cannot answer.
        ConnectionCut: A rule cuts the connection.
    """
    pieces: AsyncGenerator[Piece, None] = engine.answer(call)
    try:
        async for piece in pieces:
            if not isinstance(piece, Delta):
                yield piece
                continue
            for step in generation.take(piece):
                yield step
            if generation.finish_reason is not None:
                return
    finally:
        await pieces.aclose()
