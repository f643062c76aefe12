"""The warning of a model that is deprecated or retired: what is known, since when, and what to use instead."""

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
    """Warn of a model that is deprecated or retired. Silent for all others, and for unknown names.

    Only the public service's own names are looked up. A dedicated deployment's name, such as ``meta/NAME:fp8``, is
    not: there a model lives as long as its deployment.

    Args:
        provider: The API.
        model: The name as the user gave it; ``None`` where the API serves one model only.
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
        return "is at its end of life" if info.status == "retired" else "is deprecated"
    if "end_of_life" not in info.uncertain:
        return f"{'reached' if end <= today else 'reaches'} its end of life on {end}"
    if info.status == "retired":
        return f"is at its end of life, most likely since {end}"
    return f"may have reached its end of life on {end}, which no document of the provider says"


def _way_out(provider: Provider, info: ModelInfo, today: date) -> str:
    successor = _successor(provider, info, today)
    if info.routed is False:
        fate = "Requests for it are refused."
    elif info.routed is None:
        fate = "The API may refuse it, or answer with another model."
    elif successor:
        fate = f"The API answers with {successor!r}."
    elif info.successor:
        fate = f"The API answered with {info.successor!r}, which has ended too."
    else:
        fate = "The API answers with a similar model, whose name is unknown."
    if successor:
        return f"{fate} Use {successor!r} instead."
    return f"{fate} list_models() names what is served."


def _successor(provider: Provider, info: ModelInfo, today: date) -> str | None:
    """Return the model that is served in its place: the last of a row of successors, unless that has ended too."""
    known = known_models(provider.name)
    while info.successor is not None:
        info = known[info.successor]
        if not info.has_ended(today):
            return info.id
    return None


def _callers_level() -> int:
    """Return the ``stacklevel``, for a warning of the calling function, of the first line outside installed packages.

    ``warnings.warn(skip_file_prefixes=...)`` does the same, but from Python 3.12 on only.
    """
    own = Path(__file__).parents[1]
    installed = (str(own), *(sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")))
    frame = inspect.currentframe()
    level = 0
    while frame is not None and frame.f_code.co_filename.startswith(installed):
        frame, level = frame.f_back, level + 1
    return level
