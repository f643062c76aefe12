"""Headers that cannot be sent."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from linkspan.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["check_headers"]

_NAME = re.compile(r"authorization|cookie|secret|token|passw|credential|signature|(^|[-_])(api|auth|access)?[-_]?key$")
#: Answers' rate limits count tokens; they are facts that a user needs.
_HARMLESS_NAME = re.compile(r"^(x-)?ratelimit-|tokens$")
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"(?:[\x21-\x7e](?:[\t\x20-\x7e]*[\x21-\x7e])?)?")


def check_headers(headers: Mapping[str, str], *, provider: str) -> None:
    """Refuse headers that cannot be sent, without repeating their values.

    The HTTP library would refuse them too, but with the whole value, a key perhaps, in its message.

    Raises:
        ConfigurationError: A name that is no token, or a value with a line break, a blank at either end, a control
            character or one outside ASCII: mostly a key that was copied or read from a file with something around it.
    """
    for name, value in headers.items():
        if not _NAME.fullmatch(name):
            raise ConfigurationError(f"{name!r} cannot be the name of a header", provider=provider)
        if not isinstance(value, str):
            raise ConfigurationError(
                f"the value of header {name!r} must be a str, not {type(value).__name__}",
                provider=provider,
            )
        if not _VALUE.fullmatch(value):
            raise ConfigurationError(
                f"the value of header {name!r} cannot be sent: it holds a line break, a blank at its start or end, "
                "a control character or a character outside ASCII. If it is made from an API key, remove what "
                "surrounds the key",
                provider=provider,
            )
