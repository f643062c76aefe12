"""Arguments of tool calls that a tool cannot change for the history."""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING, Any

from langchain_core.messages import AIMessage

if TYPE_CHECKING:
    from _collections_abc import dict_items

    from langchain_core.outputs import LLMResult

__all__ = ["CallArguments", "with_own_arguments"]


class CallArguments(dict[str, Any]):
    """Arguments of one call. What LangChain makes of them for a tool shares nothing with them.

    LangChain copies arguments by ``copy``, LangGraph by ``items``. Both copies would be shallow, and a tool that
    changes a nested list or dict would change the message that made the call, and with it what the model is told that
    it wrote. Everything else works as in a dict, changes in place included.
    """

    __slots__ = ()

    def copy(self) -> dict[str, Any]:
        """Return a plain dict that shares nothing with this one."""
        return deepcopy(dict(self))

    def items(self) -> dict_items[str, Any]:
        """Return the items of a copy that shares nothing with this one."""
        return self.copy().items()

    def __reduce__(self) -> tuple[Any, ...]:
        # Pickled, or copied by the standard library, as what it is to everybody else.
        return dict, (dict(self),)


def with_own_arguments(result: LLMResult) -> LLMResult:
    """Return the result with each call's arguments as ``CallArguments``."""
    for generations in result.generations:
        for generation in generations:
            message = getattr(generation, "message", None)
            if isinstance(message, AIMessage):
                for call in message.tool_calls:
                    call["args"] = CallArguments(call["args"])
    return result
