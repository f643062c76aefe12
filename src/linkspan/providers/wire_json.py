"""JSON as it comes from a server."""

from __future__ import annotations

import re
from typing import Any

from pydantic_core import from_json

from linkspan.errors import InvalidResponseError

__all__ = ["parse_json"]

_ESCAPE = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(?P<half>u[dD][89a-fA-F][0-9a-fA-F]{2})|.)"
)


def parse_json(content: bytes, provider: str) -> Any:
    """Parse JSON from the wire.

    Raises:
        InvalidResponseError: It is not JSON.
    """
    try:
        return from_json(content)
    except ValueError as error:
        failure = error
    mended = _mended(content)
    if mended != content:
        try:
            return from_json(mended)
        except ValueError as error:
            failure = error
    start = content[:80].decode("utf-8", "replace")
    hint = " An HTML page: check base_url." if start.lstrip().startswith("<") else ""
    raise InvalidResponseError(
        f"{provider}: the answer is not JSON; it begins with {start!r}.{hint}", provider=provider
    ) from failure


def _mended(content: bytes) -> bytes:
    """Return JSON without a byte order mark, and with U+FFFD for halves of surrogate pairs, which are no characters.

    Gateways that cut texts by UTF-16 units send such halves.
    """
    return _ESCAPE.sub(_whole, content.removeprefix(b"\xef\xbb\xbf"))


def _whole(escape: re.Match[bytes]) -> bytes:
    return rb"\ufffd" if escape.lastgroup == "half" else escape[0]
