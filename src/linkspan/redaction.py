"""Recognize keys and other secrets by name, and mask every encoding of them in errors."""

from __future__ import annotations

import base64
import dataclasses
import re
from contextlib import suppress
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

__all__ = ["MASK", "MaskedHeaders", "Secrets", "is_credential", "is_secret_keyword", "mask_headers", "names_secret"]

MASK = "**********"

#: Shorter keys are placeholders ("x", "EMPTY") for servers without authentication, and occur in ordinary words.
SHORTEST_SECRET = 6

_SECRET_NAME = re.compile(
    r"authorization|authenticat|cookie|secret|token|passw|passphrase|(^|[-_])(pwd|pass|pin)$|credential|signature|jwt"
    r"|bearer|(^|[-_.])auth([-_.]|$)"
    r"|(^|[-_.])(api|auth|access|account|admin|client|license|master|private|service|signing|subscription)?[-_.]?key$"
)
#: A value that is a credential whatever its name is.
_CREDENTIAL = re.compile(r"\s*(?:bearer|basic)\s+\S", re.IGNORECASE)
#: Rate limit headers of answers count tokens; users need to see them.
_HARMLESS_NAME = re.compile(r"^(x-)?ratelimit-|tokens$")

#: Names that other packages' classes use for settings outside the body.
_HEADER_WORDS = frozenset({"default_headers", "extra_headers", "extra_query", "headers"})

#: Depth to which a value is searched; anything deeper is masked as a whole.
_DEEPEST = 100
#: Shorter pieces of base64 are not searched for, because they occur by chance.
_SHORTEST_BASE64 = 8
#: Characters of a secret that are searched for: the beginning tells it from other text, and a pattern for a token of
#: thousands of characters would take seconds to compile.
_SEARCHED = 48
#: A line break within a secret: plain, escaped or folded into blanks.
_BREAK = r"[ \t]|\r?\n|\\{1,8}[rn]"


def names_secret(name: str) -> bool:
    """Return whether the value of a header or argument of this name is a credential."""
    lowered = name.lower()
    return _SECRET_NAME.search(lowered) is not None and _HARMLESS_NAME.search(lowered) is None


def is_credential(name: str, value: str) -> bool:
    """Return whether a header is a credential: by its name, or by the scheme ``Bearer`` or ``Basic`` in its value."""
    return names_secret(name) or _CREDENTIAL.match(value) is not None


def is_secret_keyword(name: str, value: Any) -> bool:
    """Return whether an argument of a call is a credential or headers: neither belongs in a request's body.

    Numbers and lists (``stop_token_ids=[2]``) are not.
    """
    if name.lower().replace("-", "_") in _HEADER_WORDS:
        return True
    is_text = isinstance(value, (str, bytes, dict)) or hasattr(value, "get_secret_value")
    return is_text and names_secret(name.replace("_", "-"))


def mask_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Return the headers with asterisks for each value that looks like a credential."""
    return {name: MASK if is_credential(name, value) else value for name, value in headers.items()}


class MaskedHeaders(dict[str, str]):
    """Headers whose representation masks credentials."""

    def __repr__(self) -> str:
        return repr(mask_headers(self))

    __str__ = __repr__


class Secrets:
    r"""Secrets that no error may show; masks them.

    A secret is found as plain text and in the encodings that servers and proxies repeat: percent-encoded (in either
    case, several times), with JSON, HTML or ``\x`` escapes of all or some characters, inside base64, and with line
    breaks or blanks in it. Of a long secret, the beginning is found, and blanked with what follows it.

    Args:
        texts: The secrets. Those of fewer than six characters are placeholders and are ignored.
    """

    __slots__ = ("_texts",)

    def __init__(self, texts: Iterable[str] = ()) -> None:
        self._texts = tuple(dict.fromkeys(text for text in texts if len(text) >= SHORTEST_SECRET))

    @property
    def _patterns(self) -> tuple[re.Pattern[str], ...]:
        # Compiled by the first failure, not with the object: that takes 20 ms.
        return _compiled(self._texts)

    @classmethod
    def sent(cls, key: str | None, headers: Mapping[str, str], passwords: Iterable[str] = ()) -> Secrets:
        """Return a connection's secrets: its key, credentials in its headers, passwords of proxies."""
        return cls([*([key] if key else []), *passwords]).with_sent(headers)

    def with_sent(self, headers: Mapping[str, str]) -> Secrets:
        """Return these secrets together with the credentials in headers."""
        values = [str(value) for name, value in headers.items() if is_credential(name, str(value))]
        return Secrets([*self._texts, *(part for value in values for part in _credentials(value))])

    def found_in(self, text: str | bytes) -> bool:
        """Return whether a text contains a secret, in any encoding."""
        searched = text if isinstance(text, str) else text.decode("latin-1")
        return any(pattern.search(searched) for pattern in self._patterns)

    def blank(self, value: Any) -> Any:
        """Return a value with asterisks for each secret in it: in texts, bytes, and values and keys of containers."""
        return self._blank(value, 0) if self._texts else value

    def blank_error(self, error: BaseException) -> None:
        """Mask the secrets in an error, in place, and in all errors that it was raised from."""
        if not self._texts:
            return
        for one in _chain(error):
            one.args = self._blank(one.args, 0)
            for name, value in list(vars(one).items()):
                setattr(one, name, self._blank(value, 0))
            self._drop_request(one)
            # A UnicodeError keeps the whole text in ``object``, and its message shows only a part.
            hidden = getattr(one, "object", "") if isinstance(one, UnicodeError) else ""
            if self.found_in(f"{one}{one!r}") or self.found_in(hidden):
                _cut_off(error, one)  # an exception whose text does not come from its arguments

    def _drop_request(self, error: BaseException) -> None:
        """Remove an httpx request that contains a secret from its error: it has the headers as sent."""
        import httpx  # noqa: PLC0415  # loaded long since where an error has a request

        if isinstance(error, httpx.RequestError):
            with suppress(RuntimeError):  # it has no request
                if self.found_in(f"{error.request.url} {error.request.headers.raw}"):
                    error.request = None  # type: ignore[assignment]  # as in an error that httpx creates without one

    def _blank(self, value: Any, depth: int) -> Any:
        if isinstance(value, str):
            for pattern in self._patterns:
                value = pattern.sub(MASK, value)
            return value
        if isinstance(value, (bytes, bytearray)):
            return self._blank(value.decode("latin-1"), depth).encode("latin-1")
        if value is None or isinstance(value, (bool, int, float)):
            return value
        return self._blank_parts(value, depth + 1) if depth < _DEEPEST else MASK

    def _blank_parts(self, value: Any, depth: int) -> Any:
        if isinstance(value, dict):
            return {self._blank(name, depth): self._blank(item, depth) for name, item in value.items()}
        if isinstance(value, (list, set, frozenset)):
            return type(value)(self._blank(item, depth) for item in value)
        if isinstance(value, tuple):
            items = [self._blank(item, depth) for item in value]
            return type(value)(*items) if hasattr(value, "_fields") else tuple(items)
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value) if field.init}
            return dataclasses.replace(value, **{name: self._blank(item, depth) for name, item in fields.items()})
        return value


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Return an error and all errors that it was raised from or while handling, each once."""
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        one = waiting.pop()
        if one is not None and id(one) not in seen:
            seen.add(id(one))
            yield one
            waiting += [one.__cause__, one.__context__, *getattr(one, "exceptions", ())]


def _cut_off(error: BaseException, unclean: BaseException) -> None:
    for one in _chain(error):
        if one.__cause__ is unclean:
            one.__cause__ = None
        if one.__context__ is unclean:
            one.__context__ = None


def _credentials(value: str) -> Iterator[str]:
    """Return the secret parts of a header's value: all of it or what follows a scheme, parameters, a password."""
    scheme, *rest = value.split(None, 1)
    credential = rest[0].strip() if rest else scheme
    yield credential.strip("\"'")
    for part in re.split(r"[;,\s]+", credential if "=" not in scheme else value):
        name, equals, text = part.partition("=")
        if equals and name and text.strip("="):
            yield text.strip("\"'")
        else:
            yield part.partition(":")[2] or part
    if scheme.lower() == "basic":
        padded = credential + "=" * (-len(credential) % 4)
        try:
            user, _, password = base64.b64decode(padded, validate=True).decode().partition(":")
        except ValueError:
            return
        yield from (user, password)


@lru_cache(maxsize=64)
def _compiled(secrets: tuple[str, ...]) -> tuple[re.Pattern[str], ...]:
    # One pattern per encoding: each starts with one of a few characters, which re finds at the speed of C.
    heads = [(secret[:_SEARCHED], secret[_SEARCHED:]) for secret in sorted(secrets, key=len, reverse=True)]
    writings = [f"{_loosely(head)}{_tail(rest)}" for head, rest in heads]
    for head, rest in heads:
        end = f"(?:[A-Za-z0-9+/_-]|%2[BbFf]{f'|{_BREAK}' if rest else ''})*(?:=|%3[Dd])*"
        writings.extend(f"{_loosely(encoded)}{end}" for encoded in _base64(head))
    return tuple(map(re.compile, writings))


def _loosely(text: str) -> str:
    """Return a pattern for a text in which each character may be escaped in one of the usual ways."""
    return f"(?:{_BREAK}){{0,8}}".join(map(_character, text))


def _tail(rest: str) -> str:
    """Return a pattern for the rest of a long secret, in any writing."""
    return f"(?:[A-Za-z0-9%&#;+/{re.escape(''.join(sorted(set(rest))))}]|{_BREAK}){{0,{6 * len(rest)}}}" if rest else ""


def _character(character: str) -> str:
    escaped = re.escape(character)
    if ord(character) > 0x7F:
        percent = "".join(f"%(?:25){{0,9}}{_hex(byte)}" for byte in character.encode("utf-8", "replace"))
        return f"(?:{escaped}|{percent})"
    code = _hex(ord(character))
    # More layers of JSON, or ``repr``, double backslashes. Each alternative starts with a different character.
    more = "" if character == "\\" else r"\\{0,15}"
    ways = [escaped, f"%(?:25){{0,9}}{code}", rf"\\{more}(?:u00{code}|x{code}|{escaped})"]
    names = "".join(f"|{name}" for name in _entities().get(character, ()))
    ways.append(f"&(?:amp;){{0,9}}(?:#0{{0,5}}{ord(character)}|#[xX]0{{0,5}}{code}{names});?")
    if character in "+/-_":  # the two alphabets of base64
        ways.append(re.escape("-_+/"["+/-_".index(character)]))
    if character == "+":  # a form's blank
        ways.append(" ")
    if character == " ":
        ways.append(r"\+")
    return f"(?:{'|'.join(ways)})"


@lru_cache(maxsize=1)
def _entities() -> dict[str, list[str]]:
    """Return HTML's names of each ASCII character that has some."""
    from html.entities import html5  # noqa: PLC0415  # for the first failure only

    found: dict[str, list[str]] = {}
    for name, text in html5.items():
        if text.isascii() and name.endswith(";"):
            found.setdefault(text, []).append(name[:-1])
    return found


def _hex(byte: int) -> str:
    return "".join(f"[{digit}{digit.upper()}]" if digit.isalpha() else digit for digit in f"{byte:02x}")


def _base64(secret: str) -> list[str]:
    """Return a secret's base64 at each of the three offsets within a group, as far as its own bytes determine it."""
    data = secret.encode("utf-8", "replace")
    found = []
    for before in range(3):
        bits = before * 8
        encoded = base64.b64encode(b"\0" * before + data).decode()
        first = -(-bits // 6)
        certain = encoded[first : (bits + len(data) * 8) // 6]
        if len(certain) >= _SHORTEST_BASE64:
            found.append(certain)
    return found
