"""Drop parameters that request nothing. Frameworks send them to every API, even to those without the parameter."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["without_idle_demands"]

#: Values that every API follows anyway: one answer, without streaming (a stream is another call), without log
#: probabilities, the prompt, biases or penalties. The number of parallel calls means nothing without tools, and is
#: enforced on each answer.
_IDLE: Mapping[str, tuple[Any, ...]] = {
    "n": (1,),
    "stream": (False,),
    "best_of": (1,),
    "logprobs": (False,),
    "top_logprobs": (0,),
    "echo": (False,),
    "logit_bias": ({},),
    "frequency_penalty": (0, 0.0),
    "presence_penalty": (0, 0.0),
    "parallel_tool_calls": (True, False),
}


def without_idle_demands(parameters: Mapping[str, Any], *, has_tools: bool = False) -> dict[str, Any]:
    """Return the parameters that request something; ``None`` also requests nothing.

    ``has_tools``: the request has tools, and the API the parameter ``parallel_tool_calls``.
    """
    return {
        name: value
        for name, value in parameters.items()
        if value is not None
        and (
            (has_tools and name == "parallel_tool_calls")
            or not any(value == idle and type(value) is type(idle) for idle in _IDLE.get(name, ()))
        )
    }
