"""Retry failed attempts, with tenacity's loop.

What: an attempt that raised a ``LinkspanError`` whose ``is_retryable`` is true. When: after the server's
``Retry-After``, else after an exponential delay with jitter. How often: ``max_retries``, so at most ``max_retries + 1``
requests are sent.

All waiting uses :func:`sleep` and :func:`async_sleep` of this module, looked up at each call, so that tests can replace
them.
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

    from linkspan.transport.http_messages import HttpRequest

__all__ = [
    "LONGEST_DELAY",
    "LONGEST_RETRY_AFTER",
    "async_sleep",
    "retry_after_seconds",
    "sleep",
    "with_retries",
    "with_retries_async",
]

AnswerT = TypeVar("AnswerT")

#: Seconds before the first retry; doubles with each further one. Half of it is random.
_FIRST_DELAY = 0.5
#: Longest delay in seconds, unless the server requests more.
LONGEST_DELAY = 8.0
#: Longest delay in seconds that a server may request. For a longer one, the call fails at once, with the time in
#: ``retry_after``.
LONGEST_RETRY_AFTER = 60.0

_log = logging.getLogger("linkspan.transport")


def sleep(seconds: float) -> None:
    """Wait between two attempts."""
    time.sleep(seconds)


async def async_sleep(seconds: float) -> None:
    """Wait between two attempts without blocking the event loop. Cancelling the task ends it."""
    await asyncio.sleep(seconds)


def with_retries(attempt: Callable[[HttpRequest], AnswerT], request: HttpRequest) -> AnswerT:
    """Send a request, with retries."""
    import tenacity  # noqa: PLC0415  # a fifth of linkspan's own import: it comes with the first call

    return tenacity.Retrying(sleep=sleep, **_policy(request))(attempt, request)


async def with_retries_async(attempt: Callable[[HttpRequest], Awaitable[AnswerT]], request: HttpRequest) -> AnswerT:
    """Send a request, with retries."""
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
    """Return whether a retry may succeed, and soon enough."""
    return (
        isinstance(error, LinkspanError)
        and error.is_retryable
        and (error.retry_after is None or error.retry_after <= LONGEST_RETRY_AFTER)
    )


def retry_after_seconds(headers: Mapping[str, str]) -> float | None:
    """Return the delay in seconds that an answer requests, never negative; ``None`` if it requests none.

    Reads ``retry-after-ms`` (milliseconds) and ``retry-after`` (seconds, or RFC 9110's date).
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
    except (ValueError, OverflowError):  # a year, hour or time zone of twenty digits
        return None
    if moment.tzinfo is None:  # "-0000": HTTP's dates are in UTC
        moment = moment.replace(tzinfo=timezone.utc)
    return (moment - datetime.now(timezone.utc)).total_seconds()


def _wait(state: tenacity.RetryCallState) -> float:
    """Return the seconds until the next attempt: the server's delay, else exponential with jitter."""
    error = state.outcome.exception() if state.outcome is not None else None
    if isinstance(error, LinkspanError) and error.retry_after is not None:
        return error.retry_after
    # Half fixed, half random: clients that failed together do not retry together, yet none retries at once.
    delay = min(_FIRST_DELAY * 2.0 ** (state.attempt_number - 1), LONGEST_DELAY)
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
