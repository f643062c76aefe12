"""Read certificates and proxies from the environment; errors name the invalid variable."""

from __future__ import annotations

import functools
import importlib.util
import ipaddress
import os
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import unquote
from urllib.request import getproxies

import httpx

from linkspan.errors import ConfigurationError
from linkspan.locks import fork_waits
from linkspan.transport.urls import host_fault, public_url

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Proxies", "proxies_of_environment", "proxy_passwords", "shared_tls_context"]

_PROXY_SCHEMES = ("http", "https", "socks5", "socks5h")


def shared_tls_context() -> ssl.SSLContext:
    """Return this process's TLS context, which all clients share because creating one takes tens of milliseconds.

    Certificates are verified by httpx's defaults, including ``SSL_CERT_FILE`` and ``SSL_CERT_DIR``.

    Raises:
        ConfigurationError: A variable has an invalid value.
    """
    with fork_waits:  # a cache alone would let threads that start together create one each
        return _new_tls_context(
            os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR"), os.environ.get("SSLKEYLOGFILE")
        )


@functools.lru_cache(maxsize=4)
def _new_tls_context(cert_file: str | None, cert_dir: str | None, key_log: str | None) -> ssl.SSLContext:
    # One or more directories. OpenSSL would accept anything, and trust nobody.
    for place in cert_dir.split(os.pathsep) if cert_dir and not cert_file else ():
        if place and not os.path.isdir(place):  # noqa: PTH112  # unlike Path.is_dir, False for a name that cannot exist
            raise ConfigurationError(f"SSL_CERT_DIR names {place!r}, which is not a directory. Correct or unset it")
    try:
        return httpx.create_ssl_context()
    except (OSError, ValueError) as error:  # an ssl.SSLError is an OSError
        candidates = (("SSL_CERT_FILE", cert_file), ("SSL_CERT_DIR", cert_dir), ("SSLKEYLOGFILE", key_log))
        named = [(name, value) for name, value in candidates if value]
        if key_log and _can_be_loaded(cert_file, cert_dir):
            named = [("SSLKEYLOGFILE", key_log)]
        if not named:
            raise ConfigurationError(f"The trusted certificates cannot be loaded: {error}") from error
        name, value = named[0]
        raise ConfigurationError(
            f"{name} names {value!r}, which cannot be used: {error}. Correct or unset it"
        ) from error


def _can_be_loaded(cert_file: str | None, cert_dir: str | None) -> bool:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cert_file or None, cert_dir or None)
    except (OSError, ValueError, TypeError):
        return not (cert_file or cert_dir)
    return True


@dataclass(frozen=True)
class Proxies:
    """The proxies of the environment.

    Attributes:
        by_pattern: httpx's URL patterns (``"https://"``, ``"all://*.example.org"``), each with its proxy;
            ``None``: no proxy.
        direct_networks: Addresses in these networks are reached without a proxy.
    """

    by_pattern: dict[str, httpx.Proxy | None]
    direct_networks: tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...] = ()

    def is_direct(self, host: str) -> bool:
        """Return whether a host is an address in one of ``NO_PROXY``'s networks."""
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            return False
        return any(address in network for network in self.direct_networks)


def proxies_of_environment() -> Proxies:
    """Return the proxies of ``HTTP_PROXY``, ``HTTPS_PROXY``, ``ALL_PROXY`` and ``NO_PROXY``.

    They are read as by httpx, but ``NO_PROXY`` may also contain networks (``10.0.0.0/8``, ``fe80::/10``) and addresses
    in brackets (``[::1]``).

    Raises:
        ConfigurationError: A variable holds something that cannot be used.
    """
    # From the environment; on Windows and macOS also from the system.
    settings = {name: value.strip() for name, value in getproxies().items()}
    by_pattern: dict[str, httpx.Proxy | None] = {
        f"{scheme}://": _proxy(settings[scheme], _variable(scheme))
        for scheme in ("http", "https", "all")
        if settings.get(scheme)
    }
    if not by_pattern:
        return Proxies({})
    networks = []
    for entry in (part.strip() for part in settings.get("no", "").split(",")):
        if entry == "*":
            return Proxies({})
        if not entry:
            continue
        network = _network(entry)
        if network is not None:
            networks.append(network)
            continue
        pattern = _direct_pattern(entry)
        try:
            httpx.URL(pattern)
        except (httpx.InvalidURL, UnicodeError) as error:
            raise ConfigurationError(
                f"{_variable('no')} holds {entry!r}, which is neither a host nor an address nor a network. Correct it"
            ) from error
        by_pattern[pattern] = None
    return Proxies(by_pattern, tuple(networks))


def proxy_passwords() -> list[str]:
    """Return the passwords of the environment's proxies, which a proxy may repeat in errors.

    A user name without a password is a token.
    """
    users = [address.rpartition("@")[0].rpartition("//")[2] for address in getproxies().values()]
    return [unquote(user.partition(":")[2] or user) for user in users if user]


def _variable(scheme: str) -> str:
    """Return the name of the variable that the standard library read."""
    names = (f"{scheme}_proxy", f"{scheme}_proxy".upper())
    return next((name for name in names if os.environ.get(name)), f"The system's setting {names[1]}")


def _proxy(address: str, variable: str) -> httpx.Proxy:
    address = address if "://" in address else f"http://{address}"
    reason = next(_faults_of_proxy(address), None)
    if reason is not None:
        raise ConfigurationError(f"{variable} names the proxy {public_url(address)!r}, which {reason}")
    return httpx.Proxy(address)


def _faults_of_proxy(address: str) -> Iterator[str]:
    try:
        url = httpx.URL(address)
    except (httpx.InvalidURL, UnicodeError):  # an environment may hold bytes that are not UTF-8
        yield "is not a valid URL: check the host and the port (0 to 65535)"
        return
    if url.scheme not in _PROXY_SCHEMES:
        yield f"has an unknown scheme: use one of {', '.join(_PROXY_SCHEMES)}"
    fault = host_fault(url.raw_host.decode("ascii"))
    if fault is not None:
        yield fault
    if url.port is not None and not 0 < url.port <= 65535:
        yield "has a port that is not between 1 and 65535"
    if url.scheme.startswith("socks") and importlib.util.find_spec("socksio") is None:
        yield "is a SOCKS proxy: install socksio to use it (pip install 'httpx[socks]')"


def _network(entry: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    if "/" not in entry:
        return None
    try:
        return ipaddress.ip_network(entry.replace("[", "").replace("]", ""), strict=False)
    except ValueError:
        return None


def _direct_pattern(entry: str) -> str:
    """Return httpx's pattern for an entry of ``NO_PROXY``."""
    if "://" in entry:
        return entry
    bare = entry[1:-1] if entry[0] == "[" and entry[-1] == "]" else entry
    try:
        address = ipaddress.ip_address(bare)
    except ValueError:
        return f"all://{entry}" if entry.lower() == "localhost" else f"all://*{entry}"
    return f"all://[{bare}]" if address.version == 6 else f"all://{bare}"
