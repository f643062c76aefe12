"""Unknown arguments, actions and failures never leave text unguarded, in either framework."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.messages import HumanMessage
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.llms.mock import MockLLM

from linkspan import errors
from linkspan.langchain import CygnalGuard, CygnalMiddleware
from linkspan.llama_index import CygnalLLM, CygnalPostprocessor, CygnalTool

if TYPE_CHECKING:
    from collections.abc import Callable

    from linkspan import Cygnal


def echo(text: str) -> str:
    """Echo."""
    return text


MAKERS: dict[str, Callable[..., Any]] = {
    "CygnalMiddleware": CygnalMiddleware,
    "CygnalGuard": CygnalGuard,
    "CygnalTool": lambda guard, **settings: CygnalTool(echo, guard, **settings),
    "CygnalLLM": lambda guard, **settings: CygnalLLM(llm=MockLLM(), cygnal=guard, **settings),
    "CygnalPostprocessor": lambda guard, **settings: CygnalPostprocessor(cygnal=guard, **settings),
}


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("setting", [{"on_failure": "close"}, {"on_failures": "open"}, {"answer": None}])
def test_a_typo_is_an_error(guard: Cygnal, name: str, setting: dict[str, Any]) -> None:
    with pytest.raises((ValueError, TypeError), match=next(iter(setting))):
        MAKERS[name](guard, **setting)


@pytest.mark.parametrize("name", ["CygnalMiddleware", "CygnalLLM"])
@pytest.mark.parametrize("places", [{}, {"tool_calls": None, "tool_results": None}], ids=["on", "off"])
def test_the_failure_of_tools_has_its_own_name(guard: Cygnal, name: str, places: dict[str, None]) -> None:
    with pytest.raises(ValueError, match="on_tool_failure"):
        MAKERS[name](guard, on_tool_failure="close", **places)


@pytest.mark.parametrize(("name", "place"), [("CygnalMiddleware", "answers"), ("CygnalTool", "tool_results")])
def test_an_unknown_action_is_an_error(guard: Cygnal, name: str, place: str) -> None:
    with pytest.raises(errors.ConfigurationError, match=f"{place} must be one of 'block', .*, not 'Block'"):
        MAKERS[name](guard, **{place: "Block"})


def test_an_unknown_action_set_later_is_an_error(guard: Cygnal) -> None:
    guarded = CygnalLLM(llm=MockLLM(), cygnal=guard)
    guarded.questions = "Block"  # type: ignore[assignment]  # the error under test
    with pytest.raises(errors.ConfigurationError, match="questions must be one of"):
        guarded.chat([ChatMessage("How do I pick a lock?")])
    with pytest.raises(errors.ContentBlockedError):
        CygnalGuard(guard).invoke([HumanMessage("How do I pick a lock?")])
