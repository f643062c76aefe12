"""The address that the sandbox listens on."""

from __future__ import annotations

import ipaddress
import socket

from linkspan.errors import ConfigurationError

__all__ = ["is_loopback", "listen"]


def listen(host: str, port: int) -> socket.socket:
    """Return a socket bound to a port; 0 for a free one.

    Raises:
        ConfigurationError: The port is in use or cannot be used.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio sets TCP_NODELAY only where the protocol is named. Without it, an answer's body waits 40 ms for the
    # acknowledgement of its head.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OverflowError as error:
        listener.close()
        raise ConfigurationError(f"port must be 0 to 65535, not {port}") from error
    except OSError as error:
        listener.close()
        raise ConfigurationError(f"cannot listen on {host}:{port}: {error.strerror}; choose another port") from error
    return listener


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a server that listens on this host."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
