"""Convert token counts to LangChain's ``usage_metadata``, and add those of several calls."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from langchain_core.messages.ai import UsageMetadata

    from linkspan.conversation import Usage

__all__ = ["combine_outputs", "partial_counts", "to_usage_metadata"]


def to_usage_metadata(usage: Usage | None) -> UsageMetadata | None:
    """Return LangChain's token counts; ``None`` unless the server sent both, because LangChain's cannot be unknown."""
    if usage is None or usage.input_tokens is None or usage.output_tokens is None:
        return None
    given, made = usage.input_tokens, usage.output_tokens
    total = usage.total_tokens if usage.total_tokens is not None else given + made
    metadata: UsageMetadata = {"input_tokens": given, "output_tokens": made, "total_tokens": total}
    if usage.cached_tokens is not None:
        metadata["input_token_details"] = {"cache_read": usage.cached_tokens}
    if usage.reasoning_tokens is not None:
        metadata["output_token_details"] = {"reasoning": usage.reasoning_tokens}
    return metadata


def partial_counts(usage: Usage | None) -> dict[str, int] | None:
    """Return the known counts if ``usage_metadata`` cannot hold them because one is unknown."""
    return usage.counts() or None if usage is not None and to_usage_metadata(usage) is None else None


def combine_outputs(outputs: Sequence[Mapping[str, Any] | None]) -> dict[str, Any]:
    """Merge the ``llm_output`` of several calls: sum token counts, keep the model's name.

    A count that one answer lacks is left out: the sum of the others would pass for that of all.
    """
    made = [output for output in outputs if output]
    names = ("model_provider", "model_name")
    combined = {name: output[name] for output in made for name in names if output.get(name) is not None}
    usage = _sum([output.get("token_usage") or {} for output in made])
    return {**combined, "token_usage": usage} if combined or usage else {}


def _sum(counts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    total: dict[str, Any] = {}
    for name in counts[0] if counts else ():
        values: list[Any] = [count.get(name) for count in counts]
        if all(isinstance(value, Mapping) for value in values):
            total[name] = _sum(values)
        elif all(type(value) is int for value in values):
            total[name] = sum(values)
    return total
