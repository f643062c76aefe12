"""Protect the arguments of tool calls in a history from changes that a tool makes."""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING, Any

from langchain_core.messages import AIMessage

if TYPE_CHECKING:
    from _collections_abc import dict_items

    from langchain_core.outputs import LLMResult

__all__ = ["CallArguments", "with_own_arguments"]


class CallArguments(dict[str, Any]):
    """Arguments of one call. The copy that LangChain gives to a tool shares nothing with them.

    LangChain copies arguments by ``copy``, LangGraph by ``items``. Both copies would be shallow, and a tool that
    changes a nested list or dict would also change the message of the call, which the model sees again later.
    Everything else works as in a dict, changes in place included.
    """

    __slots__ = ()

    def copy(self) -> dict[str, Any]:
        """Return a plain dict that shares nothing with this one."""
        return deepcopy(dict(self))

    def items(self) -> dict_items[str, Any]:
        """Return the items of a copy that shares nothing with this one."""
        return self.copy().items()

    def __reduce__(self) -> tuple[Any, ...]:
        # Pickles, and copies by the standard library, are plain dicts.
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
