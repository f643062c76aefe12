"""Check base URLs, and append paths to them."""

from __future__ import annotations

import ipaddress
import re
import socket
import unicodedata
from urllib.parse import SplitResult, urlsplit

import httpx

from linkspan.errors import ConfigurationError
from linkspan.redaction import MASK

__all__ = ["check_base_url", "host_fault", "join_url", "public_url"]

#: Endings of host names that no public resolver knows: keys may be sent there over plain http.
_INTERNAL_SUFFIXES = (
    ".localhost",
    ".local",
    ".internal",
    ".intranet",
    ".lan",
    ".home.arpa",
    ".svc",
    ".test",
)


def check_base_url(url: str, *, provider: str, has_credentials: bool, allow_insecure_http: bool = False) -> str:
    """Check a base URL and return it normalized: scheme and host in lower case, no trailing slash.

    Args:
        url: The user's URL.
        provider: The API's name, for the error.
        has_credentials: Whether a key will be sent there.
        allow_insecure_http: Allow sending the key over plain http to a public host. Loopback, private addresses and
            cluster-internal names need no permission.

    Raises:
        ConfigurationError: The URL has no scheme, is not http(s), has no host, an invalid port, credentials, a query, a
            fragment or blanks; or a key would be sent unencrypted to a public host.
    """
    url = url.strip()
    if not url:
        raise ConfigurationError(
            "base_url is empty: set it to the API's URL, such as https://host/v1", provider=provider
        )
    reason, parts = _split(url)
    if parts is not None and reason is None:
        insecure = parts.scheme == "http" and has_credentials and not allow_insecure_http
        if not (insecure and not _is_internal(parts.hostname or "")):
            return _normalised(parts)
        reason = (
            "would send the API key unencrypted to a public host: use https://, "
            "or pass allow_insecure_http=True if you accept that"
        )
    # Shows no more of the URL than public_url(), and no cause, because people paste keys into URLs.
    raise ConfigurationError(f"base_url {public_url(url)!r} {reason}", provider=provider)


def join_url(base: str, path: str) -> str:
    """Append a path to a base URL. No segment of either is lost, unlike with ``urllib.parse.urljoin``."""
    path = path.lstrip("/")
    base = base.rstrip("/")
    return f"{base}/{path}" if path else base


def public_url(url: str) -> str:
    """Return a URL that may be shown and logged: without user info, query and fragment.

    A password may contain ``/``, ``?`` or ``#``, so everything before the last ``@`` counts as user info.
    """
    bare, *rest = re.split(r"[?#]", url, maxsplit=1)
    scheme, separator, address = bare.rpartition("://")
    secret, at, host = address.rpartition("@")
    if at:
        return f"{scheme}{separator}{host}"
    if rest and "@" in rest[0] and ":" in secret + address:
        return f"{scheme}{separator}{MASK}"
    return bare


def host_fault(host: str) -> str | None:
    """Return what is wrong with a host name; ``None`` if it may exist."""
    if ":" in host:  # an IPv6 address
        return None
    if "%" in host:  # a proxy could decode it, to another host than the one that was checked
        return "has a host with a percent sign"
    labels = host.rstrip(".").split(".")
    if not all(labels):
        return "has a host with an empty part"
    try:
        longest = max(map(len, labels if host.isascii() else host.encode("idna").split(b".")))
    except UnicodeError:
        longest = 64
    if longest > 63:
        return "has a host with a part that is too long"
    return "has a host with an invalid international part (xn--)" if _is_broken_punycode(host) else None


def _is_broken_punycode(host: str) -> bool:
    if "xn--" not in host.lower():
        return False
    try:
        _ = httpx.URL(f"//{host}").host  # reading it decodes it
    except (httpx.InvalidURL, UnicodeError):
        return True
    return False


def _is_internal(host: str) -> bool:
    """Return whether a host is on this machine, on a private network or inside a cluster."""
    # Resolvers treat full-width letters and other dots as the plain ones.
    name = re.sub("[\u3002\uff0e\uff61]", ".", unicodedata.normalize("NFKC", host)).rstrip(".").lower()
    try:
        return not ipaddress.ip_address(name.partition("%")[0]).is_global
    except ValueError:
        pass
    try:  # an address with fewer than four numbers, or in hexadecimal: 134744072 and 0x08080808 are 8.8.8.8
        return not ipaddress.ip_address(socket.inet_aton(name)).is_global
    except (OSError, UnicodeError):
        return "." not in name or name.endswith(_INTERNAL_SUFFIXES)


def _check_brackets(parts: SplitResult) -> None:
    """Check an address in brackets; urlsplit() checks only some of it, and nothing before Python 3.11.4.

    Raises:
        ValueError: It is not an IPv6 address, or there is something beside it.
    """
    host = parts.netloc.rpartition("@")[2]
    if "[" in host:
        if not re.fullmatch(r"\[[^\]]*\](:\d*)?", host):
            raise ValueError("text beside the brackets")
        ipaddress.IPv6Address(parts.hostname or "")


def _split(url: str) -> tuple[str | None, SplitResult | None]:
    """Return what is wrong with a URL, or its parts."""
    if re.search(r"[\x00-\x20\x7f\\\ud800-\udfff]", url):
        return "contains a blank, a control character, a backslash or a byte that is not UTF-8: remove it", None
    if "://" not in url:
        return "has no scheme: write https:// before it, or http:// for a local server", None
    try:
        parts = urlsplit(url)
        _ = parts.port  # reading it checks it
        _check_brackets(parts)
    except ValueError:
        return "is not a valid URL: check the host and the port (0 to 65535)", None
    fault = host_fault(parts.hostname or "")
    faults = (
        (parts.scheme not in {"http", "https"}, "has an unsupported scheme: use https or http"),
        (not parts.hostname, "names no host"),
        (fault is not None, fault),
        ("@" in parts.netloc, "contains a user name or password: remove it and pass the key as api_key"),
        (
            parts.query or parts.fragment,
            "contains a query or a fragment: remove it, because paths are appended to base_url",
        ),
    )
    return next((reason for wrong, reason in faults if wrong), None), parts


def _normalised(parts: SplitResult) -> str:
    host = parts.hostname or ""
    netloc = f"[{host}]" if ":" in host else host
    if parts.port is not None:
        netloc = f"{netloc}:{parts.port}"
    return f"{parts.scheme}://{netloc}{parts.path.rstrip('/')}"
