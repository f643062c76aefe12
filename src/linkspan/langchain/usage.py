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
    combined: dict[str, Any] = {}
    usage: dict[str, Any] = {}
    made = [output for output in outputs if output]
    for output in made:
        _add_counts(usage, output.get("token_usage") or {})
        kept = {name: output.get(name) for name in ("model_provider", "model_name")}
        combined.update({name: fact for name, fact in kept.items() if fact is not None})
    counts = [output.get("token_usage") or {} for output in made]
    known = {name: total for name, total in usage.items() if all(name in count for count in counts)}
    return {**combined, "token_usage": known} if combined or known else {}


def _add_counts(total: dict[str, Any], counts: Mapping[str, Any]) -> None:
    for name, count in counts.items():
        before = total.get(name)
        if isinstance(count, Mapping) and isinstance(before, (dict, type(None))):
            _add_counts(total.setdefault(name, {}), count)
        elif type(count) is int and type(before) in {int, type(None)}:
            total[name] = (before or 0) + count
