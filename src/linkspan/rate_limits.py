"""Read the rate limits in an answer's headers, as plain values that any framework can store."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["rate_limit_of"]

_NAME = re.compile(r"(?:x-)?rate-?limit-([a-z0-9-]{1,60})", re.IGNORECASE)
_DURATION = re.compile(r"(?:(\d+)h)?(?:(\d+)m(?!s))?(?:(\d+(?:\.\d+)?)s)?(?:(\d+(?:\.\d+)?)ms)?")
_MILLISECONDS = (3_600_000, 60_000, 1000, 1)
#: Most digits of a count, and most characters of values that are neither counts nor times.
_LONGEST_COUNT, _LONGEST_VALUE = 18, 200


def rate_limit_of(headers: Mapping[str, str]) -> dict[str, int | str] | None:
    """Return the rate limits in an answer's headers; ``None`` if there are none.

    ``x-ratelimit-remaining-requests: 599`` becomes ``{"remaining_requests": 599}``, and so does any other header whose
    name begins with ``x-ratelimit-`` or ``ratelimit-``. Counts become integers. Times with a unit (``250ms``,
    ``1m30s``) become integer milliseconds, with ``_ms`` in the name: ``{"reset_requests_ms": 250}``. Any other value
    stays text. There are no floats, because LangChain fails on them when a program adds chunks of several answers.
    """
    found: dict[str, int | str] = {}
    for header in headers:
        match = _NAME.fullmatch(header)
        if match is None:
            continue
        name, value = match[1].lower().replace("-", "_"), headers[header].strip()[:_LONGEST_VALUE]
        times = _DURATION.fullmatch(value)
        if value.isascii() and value.isdigit() and len(value) <= _LONGEST_COUNT:
            found[name] = int(value)
        elif value and times is not None:
            found[f"{name}_ms"] = round(
                sum(float(time or 0) * unit for time, unit in zip(times.groups(), _MILLISECONDS, strict=True))
            )
        else:
            found[name] = value
    return found or None
