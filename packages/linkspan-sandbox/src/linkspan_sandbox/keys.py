"""The check of API keys."""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.requests import Request

__all__ = ["KeyCheck"]


class KeyCheck:
    """Accepts one key, or any key that is not empty.

    Args:
        key: The only key accepted; ``None`` for any.
    """

    def __init__(self, key: str | None) -> None:
        self._key = key

    @property
    def accepted(self) -> str:
        """An accepted key."""
        return self._key or "sandbox-key"

    def accepts(self, key: str) -> bool:
        """Whether the key is accepted."""
        if self._key is None:
            return bool(key.strip())
        return hmac.compare_digest(key.encode(), self._key.encode())

    def accepts_bearer(self, request: Request) -> bool:
        """Whether a request's bearer token is accepted."""
        scheme, _, key = request.headers.get("authorization", "").partition(" ")
        return scheme.lower() == "bearer" and self.accepts(key)
