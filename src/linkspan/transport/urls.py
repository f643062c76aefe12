"""Addresses: what a base URL may be, and how paths are put onto it."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import urlsplit

from linkspan.errors import ConfigurationError

__all__ = ["check_base_url", "join_url", "public_url"]

#: Ends of host names that no public resolver answers for: keys may go there over plain http.
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
    """Check a base URL and return it normalised: scheme and host in lower case, no slash at its end.

    Args:
        url: What the user gave.
        provider: The API's name, for the error.
        has_credentials: Whether a key will be sent there.
        allow_insecure_http: Allow sending the key over plain http to a public host. Loopback, private addresses and
            cluster-internal names need no permission.

    Raises:
        ConfigurationError: No scheme, not http(s), no host, a bad port, credentials, a query or a fragment in the URL,
            blanks in it, or a key that would travel unencrypted to a public host.
    """
    # The message never repeats more of the URL than public_url() shows: people do paste keys into URLs.
    url = url.strip()
    if not url:
        raise ConfigurationError("base_url is empty: give the API's address, such as https://host/v1", provider=provider)
    shown = public_url(url)

    def wrong(reason: str) -> ConfigurationError:
        return ConfigurationError(f"base_url {shown!r} {reason}", provider=provider)

    if re.search(r"[\x00-\x20\x7f\\]", url):
        raise wrong("holds a blank, a control character or a backslash: remove it")
    if "://" not in url:
        raise wrong(f"has no scheme: write 'https://{shown}', or 'http://{shown}' for a local server")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as exc:
        # Not chained: the text of urlsplit's error repeats parts of the URL.
        raise wrong("is not a valid URL: check the host and the port (1 to 65535)") from (None if "@" in url else exc)
    if parts.scheme not in {"http", "https"}:
        raise wrong(f"has the scheme {parts.scheme!r}: only https and http are spoken")
    if not host:
        raise wrong("names no host")
    if "@" in parts.netloc:
        raise wrong("holds a user name or password: remove it and pass the key as api_key")
    if parts.query or parts.fragment:
        raise wrong("holds a query or a fragment ('?...' or '#...'): paths are appended to it, so remove that part")
    if parts.scheme == "http" and has_credentials and not allow_insecure_http and not _is_internal(host):
        raise wrong(
            "would send the API key unencrypted to a public host: use https://, "
            "or pass allow_insecure_http=True if you accept that",
        )
    netloc = f"[{host}]" if ":" in host else host
    if port is not None:
        netloc = f"{netloc}:{port}"
    return f"{parts.scheme}://{netloc}{parts.path.rstrip('/')}"


def join_url(base: str, path: str) -> str:
    """Append a path to a base URL. No segment of either is lost, unlike with ``urllib.parse.urljoin``."""
    path = path.lstrip("/")
    base = base.rstrip("/")
    return f"{base}/{path}" if path else base


def public_url(url: str) -> str:
    """Return a URL as it may be shown and logged: without user info, query and fragment."""
    bare = re.split(r"[?#]", url, maxsplit=1)[0]
    scheme, separator, rest = bare.rpartition("://")
    authority, slash, path = rest.partition("/")
    return f"{scheme}{separator}{authority.rpartition('@')[2]}{slash}{path}"


def _is_internal(host: str) -> bool:
    """Tell whether a host is on this machine, on a private network or inside a cluster."""
    try:
        return not ipaddress.ip_address(host.partition("%")[0]).is_global
    except ValueError:
        name = host.rstrip(".").lower()
        return "." not in name or name.endswith(_INTERNAL_SUFFIXES)
