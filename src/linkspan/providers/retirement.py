"""Warn of deprecated and retired models, with dates and the successor."""

from __future__ import annotations

import inspect
import sysconfig
import warnings
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from linkspan.errors import ModelRetiredWarning
from linkspan.providers.catalog import known_models

if TYPE_CHECKING:
    from datetime import date

    from linkspan.providers.catalog import ModelInfo
    from linkspan.providers.provider import Provider

__all__ = ["warn_if_retired"]


def warn_if_retired(provider: Provider, model: str | None) -> None:
    """Warn if a model is deprecated or retired; unknown names never warn.

    Only names of the public service are looked up, not those of dedicated deployments, such as ``meta/NAME:fp8``,
    where a model lasts as long as its deployment.
    """
    info = known_models(provider.name).get(model) if model is not None else None
    if info is None:
        return
    today = datetime.now(timezone.utc).date()
    if info.status == "deprecated" or info.has_ended(today):
        message = f"{provider.title}: the model {info.id!r} {_end_of(info, today)}. {_way_out(provider, info, today)}"
        warnings.warn(f"{message} (Known as of {info.as_of}.)", ModelRetiredWarning, stacklevel=_callers_level())


def _end_of(info: ModelInfo, today: date) -> str:
    end = info.end_of_life
    if end is None:
        return "reached its end of life" if info.status == "retired" else "is deprecated"
    if "end_of_life" not in info.uncertain:
        return f"{'reached' if end <= today else 'reaches'} its end of life on {end}"
    if info.status == "retired":
        return f"reached its end of life, probably on {end}"
    return f"may have reached its end of life on {end} (no document of the provider confirms this)"


def _way_out(provider: Provider, info: ModelInfo, today: date) -> str:
    successor = _successor(provider, info, today)
    if info.routed is False:
        fate = "Requests for it are refused."
    elif info.routed is None:
        fate = "The API may refuse it, or answer with another model."
    elif successor:
        fate = f"The API answers with {successor!r}."
    elif info.successor:
        fate = f"The API answered with {info.successor!r}, which is retired too."
    else:
        fate = "The API answers with a similar model of unknown name."
    if successor:
        return f"{fate} Use {successor!r} instead."
    return f"{fate} list_models() returns the models that are served."


def _successor(provider: Provider, info: ModelInfo, today: date) -> str | None:
    """Return the last of the chain of successors; ``None`` if that is retired too."""
    known = known_models(provider.name)
    while info.successor is not None:
        info = known[info.successor]
        if not info.has_ended(today):
            return info.id
    return None


def _callers_level() -> int:
    """Return the ``stacklevel`` that makes the caller's warning name the first line outside installed packages.

    ``warnings.warn(skip_file_prefixes=...)`` does the same, but needs Python 3.12.
    """
    own = Path(__file__).parents[1]
    installed = (str(own), *(sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")))
    frame = inspect.currentframe()
    level = 0
    while frame is not None and frame.f_code.co_filename.startswith(installed):
        frame, level = frame.f_back, level + 1
    return level
