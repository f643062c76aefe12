"""What the headers of an answer say about rate limits, as plain values that any framework can store."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["rate_limit_of"]

_NAME = re.compile(r"(?:x-)?rate-?limit-([a-z0-9-]{1,60})", re.IGNORECASE)
_DURATION = re.compile(r"(?:(\d+)h)?(?:(\d+)m(?!s))?(?:(\d+(?:\.\d+)?)s)?(?:(\d+(?:\.\d+)?)ms)?")
_SECONDS = (3600, 60, 1, 0.001)
#: Digits of a count, and characters of what is neither a count nor a time.
_LONGEST_COUNT, _LONGEST_VALUE = 18, 200


def rate_limit_of(headers: Mapping[str, str]) -> dict[str, int | float | str] | None:
    """Return the rate limits that an answer's headers tell, ``None`` if they tell none.

    ``x-ratelimit-remaining-requests: 599`` becomes ``{"remaining_requests": 599}``, and so does any other header whose
    name begins with ``x-ratelimit-`` or ``ratelimit-``. Counts are whole numbers. Times with a unit (``250ms``,
    ``1m30s``) are seconds. Anything else is the text as it is.
    """
    found: dict[str, int | float | str] = {}
    for name in headers:
        match = _NAME.fullmatch(name)
        if match is not None:
            found[match[1].lower().replace("-", "_")] = _read(headers[name].strip())
    return found or None


def _read(value: str) -> int | float | str:
    if value.isascii() and value.isdigit() and len(value) <= _LONGEST_COUNT:
        return int(value)
    times = _DURATION.fullmatch(value[:_LONGEST_VALUE])
    if value and times is not None:
        return round(sum(float(time or 0) * unit for time, unit in zip(times.groups(), _SECONDS, strict=True)), 3)
    return value[:_LONGEST_VALUE]
