"""Encode ``multipart/form-data`` bodies in memory, so that they can be retried."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx

from linkspan.errors import InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["encode_multipart"]


def encode_multipart(fields: Mapping[str, Any], file: tuple[str, bytes, str], provider: str) -> tuple[str, bytes]:
    """Return content type and body of a form: its fields and one file (name, content, media type).

    Raises:
        InvalidRequestError: A form cannot carry a field's value, such as an object or a lone surrogate.
    """
    try:
        request = httpx.Request("POST", "http://form", data=dict(fields), files={"file": file})
        return request.headers["content-type"], request.read()
    except (TypeError, ValueError) as error:
        raise InvalidRequestError(
            f"{provider}: the request cannot be written as a form: {type(error).__name__}. Its fields take texts, "
            "numbers, truth values, and lists of them.",
            provider=provider,
        ) from None
