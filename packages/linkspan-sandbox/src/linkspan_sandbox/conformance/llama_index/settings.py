"""Points 18 to 21: secrets, copies, arguments and metadata."""

from __future__ import annotations

import copy
import json
import logging
import pickle
from typing import TYPE_CHECKING, Any

import pytest

from linkspan_sandbox import HTTPError, Reply
from linkspan_sandbox.conformance.llama_index.base import KEY, LLMSuite, Script, ask, last, text_of
from linkspan_sandbox.conformance.needs import needs

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["SettingsTests"]


class SettingsTests(LLMSuite):
    """How the class treats its settings."""

    @pytest.mark.parametrize("shown_by", ["to_dict", "to_json", "to_payload", "repr", "str", "model_dump_json"])
    def test_the_key_is_not_shown(self, make: Callable[..., Any], shown_by: str) -> None:
        """Point 18: the key is in nothing printed, stored or sent to observers. A pickle may need it."""
        llm = make()
        shown = {"repr": llm.__repr__, "str": llm.__str__}.get(shown_by) or getattr(llm, shown_by)
        assert KEY not in str(shown())

    @pytest.mark.parametrize("way", ["chat", "astream_chat"])
    def test_the_key_is_not_logged(
        self, make: Callable[..., Any], script: Script, caplog: pytest.LogCaptureFixture, way: str
    ) -> None:
        """Point 18: nor is it in debug logs or errors."""
        script.reply(Reply(fault=HTTPError(401)), times=1)
        script.reply("ok")
        with caplog.at_level(logging.DEBUG):
            with pytest.raises(Exception) as caught:  # noqa: PT011  # each package has its own
                ask(make(), way)
            ask(make(), way)
        assert KEY not in caplog.text
        assert KEY not in str(caught.value) + repr(caught.value)

    @pytest.mark.parametrize(
        "copied_by", ["pickle", "deepcopy", pytest.param("from_dict", marks=needs("key_environment")), "model_copy"]
    )
    def test_a_copy_works(self, make: Callable[..., Any], script: Script, copied_by: str) -> None:
        """Point 19: pickle, deepcopy, ``from_dict`` and ``model_copy`` give an object that can be called."""
        script.reply("ok")
        llm = make(max_tokens=33)
        assert last(llm, "chat").message.content == "ok"
        twin = _copied(llm, copied_by)
        for way in ("chat", "astream_complete"):
            assert text_of(last(twin, way)) == "ok"
        assert [call.max_tokens for call in script.calls] == [33] * 3

    def test_to_dict_is_json_and_always_the_same(self, make: Callable[..., Any], script: Script) -> None:
        """Point 19: caches derive their keys from ``to_dict``."""
        script.reply("ok")
        llm = make(max_tokens=33)
        before = json.dumps(llm.to_dict(), sort_keys=True)
        ask(llm, "chat")
        assert (
            json.dumps(llm.to_dict(), sort_keys=True)
            == before
            == json.dumps(make(max_tokens=33).to_dict(), sort_keys=True)
        )

    def test_an_unknown_argument_is_refused(self, make: Callable[..., Any]) -> None:
        """Point 20: a misspelt argument raises an error that names it; it is not silently lost."""
        with pytest.raises(Exception, match="temprature"):
            make(temprature=0.5)

    def test_metadata_costs_nothing(self, make: Callable[..., Any], script: Script) -> None:
        """Point 21: creating an object and reading its metadata sends nothing, and no model name raises."""
        metadata = make().metadata
        assert metadata.context_window > 0
        unknown = make(model="a-model-nobody-has-heard-of").metadata
        assert unknown.model_name == "a-model-nobody-has-heard-of"
        assert script.requests == 0


def _copied(llm: Any, by: str) -> Any:
    if by == "pickle":
        return pickle.loads(pickle.dumps(llm))  # noqa: S301  # made here
    if by == "from_dict":
        return type(llm).from_dict(llm.to_dict())
    return copy.deepcopy(llm) if by == "deepcopy" else llm.model_copy()
