"""Gray Swan Cygnal: the settings of its guard."""

from __future__ import annotations

from collections.abc import Mapping  # noqa: TC003  # pydantic reads the annotations at run time
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field, Strict

from linkspan.connection import Connected
from linkspan.providers.cygnal import CYGNAL, CygnalCodec, Injection, ReasoningMode, cygnal_base_url
from linkspan.providers.provider import first_set

if TYPE_CHECKING:
    from linkspan.providers.codec import Codec
    from linkspan.providers.provider import Provider

__all__ = ["CygnalSettings"]

_POLICY_ENV = ("GRAYSWAN_POLICY_ID",)


class CygnalSettings(Connected):
    """A guard. Environment: ``GRAYSWAN_API_KEY``; ``GRAYSWAN_API_BASE``, ``GRAY_SWAN_BASE_URL``."""

    _provider: ClassVar[Provider] = CYGNAL
    #: What a call may override.
    call_fields: ClassVar[frozenset[str]] = frozenset(
        {"extra_body", "injection", "metadata", "policy_id", "reasoning_mode", "rules", "threshold", "timeout"}
    )

    policy_id: str | list[str] | None = Field(
        default=None,
        description="The policy to judge by, or several: they are merged, and the first one wins. Default: the "
        "environment's `GRAYSWAN_POLICY_ID`; without one the service judges by its own rules of content safety.",
    )
    rules: dict[str, str] | None = Field(default=None, description="Further rules, name to text. Not sent unless set.")
    threshold: Annotated[float, Strict()] = Field(
        default=0.5,
        ge=0,
        le=1,
        description="The violation score, 0 to 1, from which a conversation is flagged; lower is stricter.",
    )
    injection: Injection = Field(
        default="untrusted",
        description="Where the findings `ipi` (indirect prompt injection) and `mutation` (disguised wording) flag a "
        "conversation: `untrusted`, where it ends with what a tool returned or other text from outside; `always`; "
        "`never`.",
    )
    reasoning_mode: ReasoningMode | None = Field(
        default=None,
        description="How much the service thinks before it judges: `off`, `hybrid` or `thinking`. Not sent unless set.",
    )
    metadata: dict[str, Any] | None = Field(
        default=None, description="Kept with each check in Gray Swan's log of activities. Not sent unless set."
    )

    @classmethod
    def _prepared(cls, settings: Mapping[str, Any]) -> dict[str, Any]:
        settings = super()._prepared(settings)
        return {"policy_id": first_set(_POLICY_ENV), **settings}

    def _resolved_base_url(self) -> str:
        return cygnal_base_url(self.base_url)

    def _create_codec(self) -> Codec[Any]:
        return CygnalCodec()
