"""Arguments as users write them: per-call keywords, near misses, and errors of pydantic that are really ours."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from linkspan.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pydantic import ValidationError

    from linkspan.langchain.language_model import LinkspanLanguageModel

__all__ = ["call_parameters", "configuration_error", "near_match"]


def call_parameters(model: LinkspanLanguageModel, kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Return the sampling parameters of one call: the instance's, over them the call's; nothing that is unset.

    Args:
        model: The model that is called.
        kwargs: The call's keywords, aliases resolved.

    Raises:
        ConfigurationError: For a keyword that belongs to the constructor, or nearly is one that is known.
    """
    parameters = {name: getattr(model, name) for name in model.sampling_parameters}
    for name, value in kwargs.items():
        if name not in model.call_fields and name not in model.bound_keywords:
            _check_keyword(type(model), name)
            parameters[name] = value
    return {name: value for name, value in parameters.items() if value is not None}


#: Words of other packages' classes for what is no part of a body; sent in one, a key might end up in a server's logs.
_OF_THE_REQUEST = frozenset({"extra_headers", "extra_query", "headers"})


def _check_keyword(cls: type[LinkspanLanguageModel], name: str) -> None:
    if name in cls.sampling_parameters:
        return
    if name in cls.model_fields:
        raise ConfigurationError(f"{name} is an argument of {cls.__name__}(...), not of a call.")
    if name in _OF_THE_REQUEST:
        raise ConfigurationError(
            f"{name} cannot be given for one call: headers go into {cls.__name__}(default_headers={{...}})."
        )
    known = [*cls.sampling_parameters, *cls.argument_aliases, *cls.call_fields, *cls.bound_keywords]
    hint = near_match(name, known, cutoff=0.85)
    if hint:
        raise ConfigurationError(
            f"The keyword {name!r} of the call is none that is known.{hint} To send it as it is, use extra_body."
        )


def near_match(name: str, known: Iterable[str], cutoff: float = 0.6) -> str:
    """Return a hint at the known name that is most like this one, ``""`` if none is."""
    close = get_close_matches(name, sorted(known), n=1, cutoff=cutoff)
    return f" Did you mean {close[0]!r}?" if close else ""


def configuration_error(error: ValidationError, name: str) -> ConfigurationError:
    """Return the ConfigurationError that a validator raised, else one that names each wrong argument of ``name``."""
    details = error.errors(include_url=False, include_input=False)
    for detail in details:
        inner = detail.get("ctx", {}).get("error")
        if isinstance(inner, ConfigurationError):
            return inner
    # Without the values: one may be a key in the wrong place.
    problems = (f"{'.'.join(map(str, detail['loc'])) or 'arguments'}: {detail['msg']}" for detail in details)
    return ConfigurationError(f"{name} cannot be made: {'; '.join(problems)}")
