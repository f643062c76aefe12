"""``needs``: collect a test only if the API has a feature."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["needs"]


def needs(has: str | Callable[[Any], bool]) -> pytest.MarkDecorator:
    """Collect a test, or one of its parameters, only if the suite has a feature.

    Args:
        has: The suite's attribute for the feature; ``None`` and ``False`` mean absent. Or a function of the suite.
    """
    # Not called: a mark called with one function decorates that function.
    return pytest.mark.linkspan_needs.with_args(has)
