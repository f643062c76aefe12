"""Shows the arguments of linkspan's classes, which are pydantic fields, inherited ones too. Used by mkdocstrings."""

from __future__ import annotations

import inspect
from importlib import import_module
from typing import Any

import griffe

from linkspan.connection import Connected


class FieldsInDocs(griffe.Extension):
    """Shows a class's docstring as ``help`` does."""

    def on_class(self, *, cls: griffe.Class, **_: Any) -> None:
        """Take the docstring that the class has at run time."""
        if not cls.path.startswith(("linkspan.langchain", "linkspan.llama_index")) or cls.docstring is None:
            return
        try:
            made = getattr(import_module(cls.module.path), cls.name, None)
        except ImportError:
            # It needs a newer langchain-core than is installed here; its docstring is shown as it is written.
            return
        if isinstance(made, type) and issubclass(made, Connected):
            cls.docstring.value = inspect.getdoc(made) or cls.docstring.value
