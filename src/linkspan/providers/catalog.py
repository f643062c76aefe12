"""What is known of each model: data with a date, never a gate. Unknown names work everywhere.

The data lies in ``catalog_<provider>.json`` beside this module; its ``as_of`` is the day it was checked.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["ModelInfo", "model_info", "models"]


@dataclass(frozen=True, kw_only=True)
class ModelInfo:
    """What is known of a model.

    Attributes:
        id: Its name on the wire.
        context_window: Tokens of prompt and answer together, ``None`` if unknown.
        max_output_tokens: The most tokens of an answer, ``None`` if unknown.
        vision: Whether it takes images.
        tools: Whether it calls tools.
        reasoning: Whether it thinks before it answers.
        structured_output: Whether the server can hold the answer to a JSON schema.
        status: ``"active"``, ``"preview"`` or ``"retired"``.
        successor: What to use instead of a retired model, if the provider says.
        reasoning_efforts: Values of ``reasoning_effort`` that it takes.
    """

    id: str
    context_window: int | None = None
    max_output_tokens: int | None = None
    vision: bool = False
    tools: bool = False
    reasoning: bool = False
    structured_output: bool = False
    status: str = "active"
    successor: str | None = None
    reasoning_efforts: tuple[str, ...] = ()


@cache
def models(provider: str) -> Mapping[str, ModelInfo]:
    """Return what is known of a provider's models, by name; empty for a provider without a list."""
    source = files("linkspan.providers") / f"catalog_{provider}.json"
    if not source.is_file():
        return {}
    rows = json.loads(source.read_text("utf-8"))["models"]
    return {
        name: ModelInfo(id=name, **{**row, "reasoning_efforts": tuple(row.get("reasoning_efforts", ()))})
        for name, row in rows.items()
    }


def model_info(provider: str, model: str) -> ModelInfo | None:
    """Return what is known of a model, ``None`` if nothing is: never an error.

    A dedicated deployment's name such as ``mistral/NAME:fp8`` is looked up as ``NAME``.
    """
    known = models(provider)
    return known.get(model) or known.get(model.rsplit("/", 1)[-1].split(":", 1)[0])
