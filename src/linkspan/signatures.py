"""Signatures that are worked out once: both frameworks inspect a model's methods anew with every call."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["keeps_signature"]

MethodT = TypeVar("MethodT", bound="Callable[..., Any]")


def keeps_signature(method: MethodT) -> MethodT:
    """Keep a method's signature with it, where ``inspect.signature`` looks first. It belongs outside other decorators.

    Without it LangChain (which looks for ``run_manager``) and LlamaIndex (for its spans) take 20 µs per call for it.
    """
    method.__signature__ = inspect.signature(method)  # type: ignore[attr-defined]  # as PEP 362 has it
    return method
