"""JSON as it comes from a server."""

from __future__ import annotations

from typing import Any

from pydantic_core import from_json

from linkspan.errors import InvalidResponseError

__all__ = ["parse_json"]


def parse_json(content: bytes, provider: str) -> Any:
    """Parse JSON from the wire.

    Raises:
        InvalidResponseError: It is not JSON.
    """
    try:
        return from_json(content)
    except ValueError as error:
        start = content[:80].decode("utf-8", "replace")
        hint = " An HTML page: check base_url." if start.lstrip().startswith("<") else ""
        raise InvalidResponseError(
            f"{provider}: the answer is not JSON; it begins with {start!r}.{hint}", provider=provider
        ) from error
