"""Settings of Gray Swan Cygnal's guard."""

from __future__ import annotations

from collections.abc import Mapping  # noqa: TC003  # pydantic reads the annotations at run time
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field, Strict

from linkspan.connection import Connected
from linkspan.fields import sent_if_set
from linkspan.providers.cygnal import CYGNAL, CygnalCodec, Injection, ReasoningMode, cygnal_base_url
from linkspan.providers.provider import first_set

if TYPE_CHECKING:
    from linkspan.providers.codec import Codec
    from linkspan.providers.provider import Provider

__all__ = ["CygnalSettings"]

_POLICY_ENV = ("GRAYSWAN_POLICY_ID",)


class CygnalSettings(Connected):
    """A Cygnal guard. Environment: ``GRAYSWAN_API_KEY``; ``GRAYSWAN_API_BASE``, ``GRAY_SWAN_BASE_URL``."""

    _provider: ClassVar[Provider] = CYGNAL
    #: Fields that a call may override.
    call_fields: ClassVar[frozenset[str]] = frozenset(
        {"extra_body", "injection", "metadata", "policy_id", "reasoning_mode", "rules", "threshold", "timeout"}
    )

    policy_id: str | list[str] | None = Field(
        default=None,
        description="ID of the policy to apply, or a list: policies are merged, the first wins conflicts. Default: "
        "`GRAYSWAN_POLICY_ID` from the environment; without it, the service's own content safety rules.",
    )
    rules: dict[str, str] | None = sent_if_set("Additional rules, name to text.")
    threshold: Annotated[float, Strict()] = Field(
        default=0.5,
        ge=0,
        le=1,
        description="Violation score, 0 to 1, from which a conversation is flagged. Lower is stricter.",
    )
    injection: Injection = Field(
        default="untrusted",
        description="When the findings `ipi` (indirect prompt injection) and `mutation` (disguised wording) flag a "
        "conversation: `untrusted`, if it ends with a tool result or other external text; `always`; or "
        "`never`.",
    )
    reasoning_mode: ReasoningMode | None = sent_if_set(
        "How much the service reasons before its verdict: `off`, `hybrid` or `thinking`."
    )
    metadata: dict[str, Any] | None = sent_if_set("Stored with each check in Gray Swan's activity log.")

    @classmethod
    def _prepared(cls, settings: Mapping[str, Any]) -> dict[str, Any]:
        settings = super()._prepared(settings)
        return {"policy_id": first_set(_POLICY_ENV), **settings}

    def _resolved_base_url(self) -> str:
        return cygnal_base_url(self.base_url)

    def _create_codec(self) -> Codec[Any]:
        return CygnalCodec()
