"""The base of all linkspan classes for LangChain: connection, LangChain's errors, serialization."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import ConfigDict

from linkspan.connection import Connected
from linkspan.langchain.errors import converted_errors

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AbstractContextManager

__all__ = ["LangChainComponent"]


class LangChainComponent(Connected):
    """Abstract base of the classes for LangChain."""

    model_config = ConfigDict(extra="forbid")

    def _errors(self) -> AbstractContextManager[None]:
        return converted_errors()

    @property
    def lc_secrets(self) -> dict[str, str]:
        """The environment variable that replaces the key in serialized objects."""
        return {"api_key": self._provider.api_key_env[0]}

    def _changed(self, update: Mapping[str, Any]) -> None:
        super()._changed(update)
        # Core computes the serialized form once and uses it as cache key.
        self.__dict__.pop("_serialized", None)

    def __getstate__(self) -> dict[Any, Any]:
        state = super().__getstate__()
        return {**state, "__dict__": {k: v for k, v in state["__dict__"].items() if k != "_serialized"}}
