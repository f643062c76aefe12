"""Detect answers that a provider blocked, and raise an error for them on request."""

from __future__ import annotations

from typing import TYPE_CHECKING

from linkspan.assembler import Assembler
from linkspan.errors import ContentBlockedError
from linkspan.providers.codec import WrappedDecoder

if TYPE_CHECKING:
    from collections.abc import Sequence

    from linkspan.conversation import Completion, Delta
    from linkspan.providers.codec import StreamDecoder

__all__ = ["BLOCKED_FINISH_REASONS", "BlockWatch", "block_reason", "raise_if_blocked"]

#: Finish reasons of blocked answers: Cygnet's and Cygnal's (docs/apis/gray_swan.md).
BLOCKED_FINISH_REASONS = frozenset({"content_filter", "violation"})


def block_reason(completion: Completion) -> str | None:
    """Return the sign that an answer, or one of its alternatives, was blocked; ``None`` if it was not.

    The sign is the finish reason, or ``"refusal"`` if only that field is set.
    """
    for answer in (completion, *completion.alternatives):
        if answer.finish_reason in BLOCKED_FINISH_REASONS:
            return answer.finish_reason
        if answer.refusal:
            return "refusal"
    return None


def raise_if_blocked(completion: Completion, provider: str) -> None:
    """Raise an error if an answer was blocked.

    Raises:
        ContentBlockedError: It was blocked; ``code`` is the sign, ``completion`` the answer.
    """
    reason = block_reason(completion)
    if reason is not None:
        raise ContentBlockedError(
            f"{provider}: the answer was blocked ({reason}); the error's completion holds what the API gave.",
            provider=provider,
            code=reason,
            request_id=completion.request_id,
            completion=completion,
        )


class BlockWatch(WrappedDecoder["StreamDecoder"]):
    """A stream decoder that raises an error at the end of a blocked answer. Until then, all pieces pass."""

    __slots__ = ("_answer", "_provider")

    def __init__(self, inner: StreamDecoder, provider: str) -> None:
        super().__init__(inner)
        self._provider = provider
        self._answer = Assembler()

    def feed(self, data: bytes) -> Sequence[Delta]:
        """Process the data of one event."""
        return self._record(self._inner.feed(data))

    def close(self) -> Sequence[Delta]:
        """Process the end of the stream.

        Raises:
            ContentBlockedError: The answer was blocked.
            InterruptedStreamError: The answer is incomplete.
        """
        ending = self._record(self._inner.close())
        raise_if_blocked(self._answer.completion(), self._provider)
        return ending

    def _record(self, deltas: Sequence[Delta]) -> Sequence[Delta]:
        for delta in deltas:
            self._answer.add(delta)
        return deltas
