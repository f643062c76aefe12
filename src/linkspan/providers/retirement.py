"""A warning where a model is used whose end of life the catalogue knows of. It stops nothing."""

from __future__ import annotations

import sys
import warnings
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from linkspan.errors import ModelRetiredWarning
from linkspan.providers.catalog import models

if TYPE_CHECKING:
    from types import FrameType

    from linkspan.providers.catalog import ModelInfo
    from linkspan.providers.provider import Provider

__all__ = ["warn_if_retired"]

#: Packages between the user's line and the warning.
_BETWEEN = frozenset(
    {
        "asyncio",
        "concurrent",
        "contextlib",
        "copy",
        "functools",
        "langchain",
        "langchain_core",
        "langgraph",
        "linkspan",
        "llama_index",
        "llama_index_instrumentation",
        "pydantic",
        "threading",
        "workflows",
    }
)


def warn_if_retired(provider: Provider, model: str | None) -> None:
    """Warn of a model that is deprecated or retired; silent for all others, and for names that are not known.

    Only the public service's own names are looked up. A dedicated deployment's name, such as ``meta/NAME:fp8``, is
    not: there a model lives as long as its deployment (Scaleway reference, section 2.2).

    Args:
        provider: The API.
        model: The name as the user gave it; ``None`` where the API serves but one.
    """
    info = models(provider.name).get(model) if model is not None else None
    if info is not None and info.status in {"deprecated", "retired"}:
        warnings.warn(_message(provider, info), ModelRetiredWarning, stacklevel=_users_level())


def _message(provider: Provider, info: ModelInfo) -> str:
    way_out = (
        f"Use {info.successor!r} instead."
        if info.successor
        else "No successor is known: list_models() names what is served."
    )
    return (
        f"{provider.title}: the model {info.id!r} {_fate(info)}; the API may refuse it, or answer with another model. "
        f"{way_out}"
    )


def _fate(info: ModelInfo) -> str:
    if info.end_of_life is None:
        return "is at its end of life" if info.status == "retired" else "is deprecated or at its end of life"
    past = info.end_of_life <= datetime.now(timezone.utc).date()
    return f"{'reached' if past else 'reaches'} its end of life on {info.end_of_life.isoformat()}"


def _users_level() -> int:
    """The ``stacklevel`` of the first line, from here outwards, that is in none of the packages between."""
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001  # the only way to it that does not read source files
    level = 1
    while frame is not None:
        if frame.f_globals.get("__name__", "").partition(".")[0] not in _BETWEEN:
            return level
        frame, level = frame.f_back, level + 1
    return 2
