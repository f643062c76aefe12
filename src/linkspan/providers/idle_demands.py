"""Parameters that ask for nothing: frameworks send them to every API, and none needs to be told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["without_idle_demands"]

#: What every API does unasked: one answer, in one piece (a stream is another call), without log probabilities. How many
#: tools may be called at once says nothing to an API without tools; one that has them reads it before.
_IDLE: Mapping[str, tuple[Any, ...]] = {
    "n": (1,),
    "stream": (False,),
    "logprobs": (False,),
    "parallel_tool_calls": (True, False),
}


def without_idle_demands(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters that ask for something; ``None`` asks for nothing either."""
    return {
        name: value
        for name, value in parameters.items()
        if value is not None and not any(value == idle and type(value) is type(idle) for idle in _IDLE.get(name, ()))
    }
