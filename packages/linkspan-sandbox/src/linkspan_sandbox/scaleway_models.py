"""The models of the Scaleway dialect, and the limits that the sandbox enforces for each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["MODELS", "Model"]


@dataclass(frozen=True)
class Model:
    """The limits that the sandbox enforces for a model.

    Args:
        context_window: Limit of prompt and answer together, in tokens.
        max_output: Limit of the answer in tokens.
        efforts: The accepted values of ``reasoning_effort``, if the service is known to refuse others.
        redirects_to: The model that has answered since this one's end of life.
        responses: Whether it also supports the Responses API.
    """

    context_window: int
    max_output: int
    efforts: tuple[str, ...] | None = None
    redirects_to: str | None = None
    responses: bool = True


#: As of September 2026 (docs/apis/scaleway.md#models).
MODELS: Mapping[str, Model] = {
    "mistral-small-3.2-24b-instruct-2506": Model(128_000, 32_768),
    "llama-3.3-70b-instruct": Model(100_000, 16_384),
    "qwen3-235b-a22b-instruct-2507": Model(250_000, 16_384),
    "gemma-4-26b-a4b-it": Model(256_000, 32_768),
    "qwen3.6-35b-a3b": Model(262_144, 32_768),
    "qwen3.8-27b": Model(256_000, 32_768),
    "qwen3.5-397b-a17b": Model(250_000, 16_384),
    "deepseek-v4-flash-0731": Model(262_144, 32_768),
    "glm-5.2": Model(256_000, 16_384, responses=False),
    "mistral-medium-3.5-128b": Model(180_000, 16_384, efforts=("none", "high")),
    "gpt-oss-120b": Model(128_000, 32_768),
    "devstral-2-123b-instruct-2512": Model(250_000, 16_384, redirects_to="qwen3.5-397b-a17b"),
    "llama-3.1-8b-instruct": Model(128_000, 32_768, redirects_to="mistral-small-3.2-24b-instruct-2506"),
    "mistral-nemo-instruct-2407": Model(128_000, 32_768, redirects_to="mistral-small-3.2-24b-instruct-2506"),
    "deepseek-r1-distill-llama-70b": Model(100_000, 16_384, redirects_to="llama-3.3-70b-instruct"),
}
