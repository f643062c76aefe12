"""``needs``: what the API must have for a test to be collected."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["needs"]


def needs(has: str | Callable[[Any], bool]) -> pytest.MarkDecorator:
    """Collect a test, or a parameter of one, only where the suite has something.

    Args:
        has: Name of the suite's attribute that says so; ``None`` and ``False`` mean that it has not. Or a function of
            the suite.
    """
    # Not called: a mark that is called with one function decorates it.
    return pytest.mark.linkspan_needs.with_args(has)
