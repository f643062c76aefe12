"""Detect answers that the server aborted, which some servers only report by a finish reason."""

from __future__ import annotations

from typing import TYPE_CHECKING

from linkspan.errors import ServerError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from linkspan.conversation import Completion

__all__ = ["failure_of", "raise_if_failed"]

#: vLLM ends an answer with ``error`` after a failure of the engine; vLLM and SGLang with ``abort`` if a request was
#: aborted. A tuple, because servers also send unhashable finish reasons.
_FAILED = ("error", "abort")


def failure_of(finish_reasons: Iterable[str | None], provider: str, request_id: str | None) -> ServerError | None:
    """Return the error for an answer with one of these finish reasons; ``None`` if none of them means failure."""
    for reason in finish_reasons:
        if reason in _FAILED:
            return ServerError(
                f"{provider}: the server gave up on the answer (finish reason {reason!r}); the error's partial holds "
                "what had arrived.",
                provider=provider,
                code=reason,
                request_id=request_id,
            )
    return None


def raise_if_failed(completion: Completion, provider: str) -> None:
    """Raise an error if the server aborted a whole answer or one of its alternatives.

    Raises:
        ServerError: The server aborted it; ``code`` is the finish reason, ``partial`` the answer.
    """
    reasons = (answer.finish_reason for answer in (completion, *completion.alternatives))
    error = failure_of(reasons, provider, completion.request_id)
    if error is not None:
        error.partial = completion
        raise error
