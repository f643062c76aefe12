"""Build ``multipart/form-data`` bodies of fields and one file, in memory, so that they can be retried."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import httpx

from linkspan.errors import InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Form"]


@dataclass(frozen=True, slots=True)
class Form:
    """A form.

    Fields are texts, numbers, booleans, and lists of them. Servers recognize a file's format by the ending of its name.
    """

    fields: Mapping[str, Any]
    file_name: str
    content: bytes = field(repr=False)
    media_type: str = "application/octet-stream"

    def encode(self, provider: str) -> tuple[str, bytes]:
        """Return content type and body.

        Raises:
            InvalidRequestError: A form cannot carry a field's value, such as an object or a lone surrogate.
        """
        file = (self.file_name, self.content, self.media_type)
        try:
            request = httpx.Request("POST", "http://form", data=dict(self.fields), files={"file": file})
            return request.headers["content-type"], request.read()
        except (TypeError, ValueError) as error:
            raise InvalidRequestError(
                f"{provider}: the request cannot be written as a form: {type(error).__name__}. Its fields take texts, "
                "numbers, truth values, and lists of them.",
                provider=provider,
            ) from None
