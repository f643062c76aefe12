"""Check a conversation with Cygnal."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from linkspan.providers.cygnal import MONITOR_PATH
from linkspan.providers.cygnal_verdict import Verdict, decode_verdict

if TYPE_CHECKING:
    from collections.abc import Mapping

    from linkspan.endpoint import Endpoint

__all__ = ["CygnalCheck"]


@dataclass(frozen=True)
class CygnalCheck:
    """A check, ready to send.

    ``injection_counts``: the findings ``ipi`` and ``mutation`` flag the conversation, too.
    """

    endpoint: Endpoint[Any]
    body: Mapping[str, Any] = field(repr=False)
    threshold: float
    injection_counts: bool
    timeout: float | None = None

    def run(self) -> Verdict:
        """Send the check and return the verdict."""
        return self.endpoint.call(MONITOR_PATH, self.body, self._decode, timeout=self.timeout)

    async def arun(self) -> Verdict:
        """Send the check; see :meth:`run`."""
        return await self.endpoint.acall(MONITOR_PATH, self.body, self._decode, timeout=self.timeout)

    def _decode(self, body: bytes, headers: Mapping[str, str]) -> Verdict:
        return decode_verdict(body, headers, threshold=self.threshold, injection_counts=self.injection_counts)
