"""Scaleway, Gray Swan, Scale LLM Engine and DataCrunch in LangChain and LlamaIndex.

This module imports neither framework. The classes are in ``linkspan.langchain`` and ``linkspan.llama_index``; every
error they raise is in ``linkspan.errors``.
"""

from importlib.metadata import version

__version__ = version("linkspan")

__all__ = ["__version__"]
