"""Connect to a host with several addresses, trying the next one in parallel (RFC 8305).

asyncio's own implementation (``happy_eyeballs_delay``) leaks a socket if cancelled in the loop iteration in which it
connected.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

__all__ = ["addresses_of", "first_connected"]

ResultT = TypeVar("ResultT")

#: Seconds before the next address is tried in parallel.
_DELAY = 0.25


async def addresses_of(host: str, port: int) -> list[str]:
    """Return the addresses of a host, alternating between IPv6 and IPv4.

    Raises:
        OSError: The host is unknown.
    """
    try:
        return [str(ipaddress.ip_address(host))]
    except ValueError:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    first = found[0][0]
    families = (
        [_text(address) for family, *_, address in found if (family == first) is chosen] for chosen in (True, False)
    )
    return [address for pair in zip_longest(*families) for address in pair if address is not None]


def _text(address: tuple[Any, ...]) -> str:
    """Return an address as text, with the network interface that a link-local one belongs to."""
    return f"{address[0]}%{address[3]}" if len(address) == 4 and address[3] else str(address[0])


async def first_connected(
    attempts: Sequence[Callable[[], Coroutine[Any, Any, ResultT]]], close: Callable[[ResultT], None]
) -> ResultT:
    """Return the first connection. Each attempt starts when the previous one failed or takes long.

    ``close`` closes a connection that is no longer needed.

    Raises:
        OSError: All failed; this is the first one's error.
    """
    tasks: list[asyncio.Task[ResultT]] = []
    running: set[asyncio.Task[ResultT]] = set()
    winner: asyncio.Task[ResultT] | None = None
    try:
        while winner is None and (running or len(tasks) < len(attempts)):
            if len(tasks) < len(attempts):
                tasks.append(asyncio.create_task(attempts[len(tasks)]()))
                running.add(tasks[-1])
            patience = _DELAY if len(tasks) < len(attempts) else None
            done, running = await asyncio.wait(running, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
            winner = next((task for task in done if task.exception() is None), None)
        return (winner or tasks[0]).result()
    finally:
        for task in tasks:
            if task is not winner:
                task.cancel()
                task.add_done_callback(lambda late: _close_late(late, close))


def _close_late(task: asyncio.Task[ResultT], close: Callable[[ResultT], None]) -> None:
    if not task.cancelled() and task.exception() is None:
        close(task.result())
