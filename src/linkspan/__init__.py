"""Scaleway, Gray Swan, Scale LLM Engine and DataCrunch in LangChain and LlamaIndex.

This module imports neither framework. The classes are in ``linkspan.langchain`` and ``linkspan.llama_index``; every
error they raise is in ``linkspan.errors``. ``Cygnal``, Gray Swan's guard, works without either.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from linkspan.cygnal import Cygnal
    from linkspan.providers.cygnal_verdict import Verdict

__version__ = version("linkspan")

__all__ = ["Cygnal", "Verdict", "__version__"]


#: The module of each name, imported on first access, so that importing an error loads no client.
_MODULES = {"Cygnal": "linkspan.cygnal", "Verdict": "linkspan.providers.cygnal_verdict"}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_MODULES[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
