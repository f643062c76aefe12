"""One check of a conversation by Cygnal, at one endpoint."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from linkspan.providers.cygnal import MONITOR_PATH, Verdict, decode_verdict

if TYPE_CHECKING:
    from collections.abc import Mapping

    from linkspan.endpoint import Endpoint

__all__ = ["CygnalCheck"]


@dataclass(frozen=True)
class CygnalCheck:
    """A check that is ready to be sent.

    Args:
        endpoint: Where to ask.
        body: The request, see :func:`linkspan.providers.cygnal.encode_check`.
        threshold: The violation from which the conversation is flagged.
        injection_counts: Whether ``ipi`` and ``mutation`` flag it, too.
        timeout: Seconds of silence allowed; ``None``: the endpoint's.
    """

    endpoint: Endpoint[Any]
    body: Mapping[str, Any] = field(repr=False)
    threshold: float
    injection_counts: bool
    timeout: float | None = None

    def run(self) -> Verdict:
        """Ask for the verdict."""
        return self.endpoint.call(MONITOR_PATH, self.body, self._decode, timeout=self.timeout)

    async def arun(self) -> Verdict:
        """Ask for the verdict."""
        return await self.endpoint.acall(MONITOR_PATH, self.body, self._decode, timeout=self.timeout)

    def _decode(self, body: bytes, headers: Mapping[str, str]) -> Verdict:
        return decode_verdict(body, headers, threshold=self.threshold, injection_counts=self.injection_counts)
