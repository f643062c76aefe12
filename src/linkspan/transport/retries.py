"""What is retried, when and how often. The loop is tenacity's.

What: an attempt that raised a ``LinkspanError`` whose ``is_retryable`` is true. When: after ``Retry-After`` if the
server said so, else after an exponentially growing time with jitter. How often: ``max_retries``, so at most
``max_retries + 1`` requests are sent.

All waiting goes through :func:`sleep` and :func:`async_sleep` of this module, looked up at each call: tests that do
not want to wait replace these two.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from math import isfinite
from typing import TYPE_CHECKING, Any, TypeVar

from linkspan.errors import LinkspanError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    import tenacity

    from linkspan.transport.messages import HttpRequest

__all__ = [
    "FIRST_DELAY",
    "LONGEST_DELAY",
    "LONGEST_RETRY_AFTER",
    "async_sleep",
    "retry_after_seconds",
    "sleep",
    "with_retries",
    "with_retries_async",
]

AnswerT = TypeVar("AnswerT")

#: Seconds before the first retry. It doubles with each further one; half of it is drawn at random.
FIRST_DELAY = 0.5
#: Seconds that no delay exceeds, unless the server asked for more.
LONGEST_DELAY = 8.0
#: Seconds that a server may ask for. Told to wait longer, a call fails at once, with the time in ``retry_after``.
LONGEST_RETRY_AFTER = 60.0

_log = logging.getLogger("linkspan.transport")


def sleep(seconds: float) -> None:
    """Wait between two attempts."""
    time.sleep(seconds)


async def async_sleep(seconds: float) -> None:
    """Wait between two attempts without blocking the event loop. Cancelling the task ends it."""
    await asyncio.sleep(seconds)


def with_retries(attempt: Callable[[HttpRequest], AnswerT], request: HttpRequest) -> AnswerT:
    """Carry out a request, again if that may help."""
    import tenacity  # noqa: PLC0415  # a fifth of linkspan's own import: it comes with the first call

    return tenacity.Retrying(sleep=sleep, **_policy(request))(attempt, request)


async def with_retries_async(attempt: Callable[[HttpRequest], Awaitable[AnswerT]], request: HttpRequest) -> AnswerT:
    """Carry out a request, again if that may help."""
    import tenacity  # noqa: PLC0415  # as above

    answer: AnswerT = await tenacity.AsyncRetrying(sleep=async_sleep, **_policy(request))(attempt, request)
    return answer


def _policy(request: HttpRequest) -> dict[str, Any]:
    import tenacity  # noqa: PLC0415  # as above

    return {
        "stop": tenacity.stop_after_attempt(request.max_retries + 1),
        "wait": _wait,
        "retry": tenacity.retry_if_exception(is_worth_retrying),
        "before_sleep": _announce,
        "reraise": True,
    }


def is_worth_retrying(error: BaseException) -> bool:
    """Tell whether another attempt may succeed, and soon enough."""
    return (
        isinstance(error, LinkspanError)
        and error.is_retryable
        and (error.retry_after is None or error.retry_after <= LONGEST_RETRY_AFTER)
    )


def retry_after_seconds(headers: Mapping[str, str]) -> float | None:
    """Return how many seconds an answer asks to wait, never negative; ``None`` if it does not say.

    Read are ``retry-after-ms`` (milliseconds) and ``retry-after`` (seconds, or a date as RFC 9110 defines it).
    """
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return max(0.0, milliseconds / 1000)
    value = headers.get("retry-after")
    seconds = _number(value)
    if seconds is None and value is not None:
        seconds = _seconds_until(value)
    return None if seconds is None else max(0.0, seconds)


def _number(value: str | None) -> float | None:
    try:
        number = float(value or "")
    except ValueError:
        return None
    return number if isfinite(number) else None


def _seconds_until(date: str) -> float | None:
    try:
        moment = parsedate_to_datetime(date)
    except ValueError:
        return None
    if moment.tzinfo is None:  # "-0000": HTTP's dates are in UTC
        moment = moment.replace(tzinfo=timezone.utc)
    return (moment - datetime.now(timezone.utc)).total_seconds()


def _wait(state: tenacity.RetryCallState) -> float:
    """Return the seconds until the next attempt: what the server asked for, else exponential with jitter."""
    error = state.outcome.exception() if state.outcome is not None else None
    if isinstance(error, LinkspanError) and error.retry_after is not None:
        return error.retry_after
    # Half fixed, half at random: clients that failed together do not come back together, yet none comes back at once.
    delay = min(FIRST_DELAY * 2.0 ** (state.attempt_number - 1), LONGEST_DELAY)
    return delay * random.uniform(0.5, 1.0)  # noqa: S311  # spreads load, guards nothing


def _announce(state: tenacity.RetryCallState) -> None:
    error = state.outcome.exception() if state.outcome is not None else None
    status = getattr(error, "status_code", None)
    _log.warning(
        "attempt %d failed (%s%s): next one in %.2f s",
        state.attempt_number,
        type(error).__name__,
        f", HTTP {status}" if status is not None else "",
        state.next_action.sleep if state.next_action is not None else 0.0,
    )
