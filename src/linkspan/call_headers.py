"""Validate and merge the headers of one call."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from linkspan.errors import ConfigurationError
from linkspan.redaction import SHORTEST_SECRET, is_credential

if TYPE_CHECKING:
    from pydantic import SecretStr

__all__ = ["as_extra_headers", "merged_headers"]

#: Headers that the HTTP library sets for the body and the connection.
_NOT_THE_CALLERS = frozenset(
    {"connection", "content-encoding", "content-length", "content-type", "host", "te", "trailer", "transfer-encoding"}
)


def as_extra_headers(value: Any, api_key: SecretStr | None = None) -> dict[str, str]:
    """Check and return the additional headers of one call; none for ``None``.

    Raises:
        ConfigurationError: They are not a mapping of texts, or a header carries a credential or describes the body.
            Errors name headers, never their values.
    """
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise ConfigurationError(f"extra_headers must be a dict of texts, not {type(value).__name__}.")
    key = "" if api_key is None else api_key.get_secret_value()
    for name, text in value.items():
        if not isinstance(name, str) or not isinstance(text, str):
            raise ConfigurationError(f"extra_headers must map names to texts: the value of {name!r} is not a text.")
        if is_credential(name, text) or (len(key) >= SHORTEST_SECRET and key in text):
            raise ConfigurationError(
                f"The header {name!r} of extra_headers is a credential, which cannot be set for one call: set it at "
                "construction, in api_key or default_headers, where linkspan keeps it out of logs and traces."
            )
        if name.lower() in _NOT_THE_CALLERS:
            raise ConfigurationError(f"extra_headers holds {name!r}, which belongs to the connection: leave it out.")
    return dict(value)


def merged_headers(headers: Mapping[str, str], extra: Mapping[str, str]) -> Mapping[str, str]:
    """Return headers with others merged over them, ignoring the case of names."""
    if not extra:
        return headers
    replaced = {name.lower() for name in extra}
    return {**{name: value for name, value in headers.items() if name.lower() not in replaced}, **extra}
